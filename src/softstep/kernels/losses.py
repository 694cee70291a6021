"""Mean squared error and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import Array, Reduction, as_float, check_apart, check_reduction
from softstep.runtime import resolve_threads


def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    threads: int | None = None,
) -> Any:
    r"""Mean squared error, :math:`(p - t)^2` averaged over all elements.

    Parameters
    ----------
    prediction : array_like of any shape, float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order.
    target : array_like, shape and dtype of `prediction`
    reduction : {"mean", "sum", "none"}
        The mean over all elements, their sum, or each element's squared error.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `prediction`. The mean over no elements is NaN, their sum 0.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Different shapes (nothing is broadcast), an unknown reduction.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), section 3.1.

    Examples
    --------
    >>> from softstep.kernels import mse_loss
    >>> float(mse_loss([1.0, 3.0], [1.0, 1.0]))
    2.0
    """
    p = as_float("prediction", prediction)
    t = as_float("target", target, p, "prediction")
    elements = np.empty(p.shape, p.dtype) if check_reduction(reduction) == "none" else None
    total = _native.module.squared_error(elements, None, p, t, False, resolve_threads(threads))
    return _reduce(total, p, reduction) if elements is None else elements


def mse_loss_with_grad(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    out: Array | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    r"""Mean squared error and its gradient in one pass, :math:`2 (p - t) / n`.

    Parameters
    ----------
    prediction : array_like of any shape, float32 or float64
    target : array_like, shape and dtype of `prediction`
    reduction : {"mean", "sum", "none"}
        As `mse_loss`; with "none" the gradient is that of the sum.
    out : ndarray, optional
        Where the gradient goes: shape and dtype of `prediction`, C-contiguous, aligned, writable.
        May be `prediction` itself; may not overlap the inputs otherwise.
    threads : int, optional

    Returns
    -------
    loss : scalar or ndarray
    dprediction : ndarray, shape of `prediction`

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`, before anything is written.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), section 3.1.

    Examples
    --------
    >>> from softstep.kernels import mse_loss_with_grad
    >>> loss, dprediction = mse_loss_with_grad([1.0, 3.0], [1.0, 1.0])
    >>> float(loss), dprediction
    (2.0, array([0., 2.]))
    """
    p = as_float("prediction", prediction)
    t = as_float("target", target, p, "prediction")
    elements = np.empty(p.shape, p.dtype) if check_reduction(reduction) == "none" else None
    check_apart(out, "prediction", prediction, p)
    check_apart(out, "target", target, t)
    dprediction = np.empty(p.shape, p.dtype) if out is None else out
    total = _native.module.squared_error(
        elements, dprediction, p, t, reduction == "mean", resolve_threads(threads)
    )
    return (_reduce(total, p, reduction) if elements is None else elements), dprediction


def _reduce(total: float, like: Array, reduction: str) -> Any:
    if reduction == "mean":
        total = total / like.size if like.size else float("nan")
    return like.dtype.type(total)
