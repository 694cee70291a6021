"""Cross-entropy of logits with class labels, and its gradient.

The loss of a row is ``logsumexp(x) - x_target``; its gradient is ``softmax(x) - one_hot(target)``.
The target's own entry, ``p - 1``, is written as minus the sum of the others, which keeps its
digits when ``p`` is close to 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, as_labels, as_logits, check_reduction, class_axis, finish, rounded
from .softmax import shifted_and_rest


def _losses_and_gradients(logits: Array, labels: Array, counted: Array) -> tuple[Array, Array]:
    """Each row's loss (N,) and gradient (N, C) in float64; both are 0 in rows that do not count."""
    shifted, _, rest = shifted_and_rest(logits, axis=1)
    column = np.where(counted, labels, 0)[:, None]
    losses = (np.log1p(rest) - np.take_along_axis(shifted, column, 1))[:, 0]

    gradients = np.exp(shifted) / (1 + rest)
    # Times 0, not 0: the NaN of an undefined row stays.
    np.put_along_axis(gradients, column, 0 * np.take_along_axis(gradients, column, 1), 1)
    np.put_along_axis(gradients, column, -gradients.sum(1, keepdims=True), 1)
    return np.where(counted, losses, 0.0), np.where(counted[:, None], gradients, 0.0)


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    out: Any = None,
    threads: Any = None,
) -> tuple[Any, Any]:
    """Loss and ``dlogits``. See :func:`softstep.kernels.cross_entropy_with_grad`.

    Examples
    --------
    >>> loss, dlogits = cross_entropy_with_grad([[0.0, 0.0]], [1])
    >>> dlogits
    array([[ 0.5, -0.5]])
    """
    array = as_logits(logits, ndim=2)
    class_axis(array, 1)
    check_reduction(reduction)
    labels = as_labels(target, array.shape[0], array.shape[1], ignore_index)
    counted = labels != ignore_index
    losses, gradients = _losses_and_gradients(array, labels, counted)
    loss: Any = losses
    if reduction == "sum":
        loss = losses.sum()
    elif reduction == "mean":
        count = counted.sum()
        loss = losses.sum() / count if count else np.float64(np.nan)
        gradients = gradients / max(count, 1)
    return rounded(loss, array.dtype), finish(gradients, array.dtype, out, logits, (target,))


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """Loss of logits (N, C) for labels (N,). See :func:`softstep.kernels.cross_entropy`.

    Examples
    --------
    >>> float(cross_entropy([[0.0, 0.0]], [1]))
    0.6931471805599453
    """
    if out is not None and reduction != "none":
        raise ValueError("out: expected with reduction='none' only")
    loss, _ = cross_entropy_with_grad(
        logits, target, reduction=reduction, ignore_index=ignore_index
    )
    return (
        loss if out is None else finish(np.asarray(loss), loss.dtype, out, None, (logits, target))
    )
