"""Cross-entropy of logits with class indices, and its gradient in the same pass."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    Reduction,
    as_float,
    as_targets,
    check_apart,
    check_reduction,
)
from softstep.runtime import resolve_threads


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of logits with class indices.

    For each row, :math:`\log \sum_j \exp(x_{ij}) - x_{it_i}`.

    Parameters
    ----------
    logits : array_like, (N, C), float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order.
    target : array_like of any integer dtype, (N,)
        The class of each row, 0 to C - 1, or `ignore_index`.
    reduction : {"mean", "sum", "none"}
        The mean over the rows that count, their sum, or the loss of each row.
    ignore_index : int, default -100
        Rows with this target have loss 0 and do not count.
    out : ndarray, (N,), optional
        Where the row losses go; with ``reduction="none"`` only. The dtype of `logits`, no overlap
        with the inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray (N,)
        Of the dtype of `logits`. The mean over no rows is NaN, their sum 0.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Shapes that do not fit, no classes, an unknown reduction.
    IndexError
        A label that is neither a class nor `ignore_index`; the first such row is named.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.108.

    Examples
    --------
    >>> from softstep.kernels import cross_entropy
    >>> print(f"{cross_entropy([[20.0, 0.0]], [0]):.8e}")
    2.06115362e-09
    """
    x, t = as_float("logits", logits), as_targets("target", target)
    if check_reduction(reduction) == "none":
        losses = np.empty(x.shape[:1], x.dtype) if out is None else out
        check_apart(out, "logits", logits, x)
        check_apart(out, "target", target, t)
    elif out is not None:
        raise ValueError(f"out is given with reduction={reduction!r}; accepted with 'none' only")
    else:
        losses = None
    total, counted = _native.module.cross_entropy(
        losses, None, x, t, _index(ignore_index), False, resolve_threads(threads)
    )
    return losses if losses is not None else _reduce(total, counted, reduction, x)


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
    out: Array | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    r"""Cross-entropy and its gradient with respect to the logits, in one pass.

    The gradient of a row is :math:`\mathrm{softmax}(x_i)_j - [j = t_i]`.

    Parameters
    ----------
    logits : array_like, (N, C), float32 or float64
    target : array_like of any integer dtype, (N,)
    reduction : {"mean", "sum", "none"}
        As `cross_entropy`; with "none" the gradient is that of the sum.
    ignore_index : int, default -100
        Rows with this target have loss 0 and a gradient of exactly 0, whatever their logits.
    out : ndarray, (N, C), optional
        Where the gradient goes: dtype of `logits`, C-contiguous, aligned, writable. May be `logits`
        itself, which is then overwritten; may not overlap the inputs otherwise.
    threads : int, optional

    Returns
    -------
    loss : scalar or ndarray (N,)
    dlogits : ndarray (N, C)

    Raises
    ------
    TypeError, ValueError, IndexError
        As `cross_entropy`, before anything is written.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.109.

    Examples
    --------
    >>> from softstep.kernels import cross_entropy_with_grad
    >>> loss, dlogits = cross_entropy_with_grad([[0.0, 0.0], [0.0, 0.0]], [0, 1])
    >>> dlogits
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """
    x, t = as_float("logits", logits), as_targets("target", target)
    losses = np.empty(x.shape[:1], x.dtype) if check_reduction(reduction) == "none" else None
    check_apart(out, "logits", logits, x)
    check_apart(out, "target", target, t)
    dlogits = np.empty(x.shape, x.dtype) if out is None else out
    total, counted = _native.module.cross_entropy(
        losses, dlogits, x, t, _index(ignore_index), reduction == "mean", resolve_threads(threads)
    )
    return (losses if losses is not None else _reduce(total, counted, reduction, x)), dlogits


def _index(ignore_index: int) -> int:
    try:
        return operator.index(ignore_index)
    except TypeError:
        raise TypeError(f"ignore_index is {ignore_index!r}; accepted: an integer") from None


def _reduce(total: float, count: int, reduction: str, like: Array) -> Any:
    if reduction == "mean":
        total = total / count if count else float("nan")
    return like.dtype.type(total)
