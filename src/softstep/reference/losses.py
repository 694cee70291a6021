"""Mean squared error and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, check_reduction, check_shape, finish, rounded


def mse_loss_with_grad(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    out: Any = None,
    threads: Any = None,
) -> tuple[Any, Any]:
    """``(prediction - target)^2`` and ``dprediction``; the mean divides by every element.

    See :func:`softstep.kernels.mse_loss_with_grad`.

    Examples
    --------
    >>> loss, dprediction = mse_loss_with_grad([1.0, 2.0], [0.0, 0.0])
    >>> float(loss), dprediction
    (2.5, array([1., 2.]))
    """
    array = as_floats(prediction, "prediction")
    wanted = check_shape(as_floats(target, "target", array.dtype), "target", array.shape)
    check_reduction(reduction)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = array.astype(np.float64) - wanted.astype(np.float64)
        losses, gradient = difference**2, 2 * difference
        total = losses.sum()
    loss: Any = losses
    if reduction == "sum":
        loss = total
    elif reduction == "mean":
        loss = total / losses.size if losses.size else np.float64(np.nan)
        gradient = gradient / max(losses.size, 1)
    return rounded(loss, array.dtype), finish(gradient, array.dtype, out, prediction, (target,))


def mse_loss(
    prediction: ArrayLike, target: ArrayLike, *, reduction: str = "mean", threads: Any = None
) -> Any:
    """``(prediction - target)^2``, reduced. See :func:`softstep.kernels.mse_loss`.

    Examples
    --------
    >>> float(mse_loss([1.0, 2.0], [0.0, 0.0]))
    2.5
    """
    return mse_loss_with_grad(prediction, target, reduction=reduction)[0]
