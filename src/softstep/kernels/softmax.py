"""softmax, log-softmax and log-sum-exp along any axis."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep import _native
from softstep.kernels._arrays import Array, as_float, check_apart
from softstep.runtime import resolve_threads


def softmax(
    logits: ArrayLike, axis: int = -1, *, out: Array | None = None, threads: int | None = None
) -> Array:
    r"""Softmax along an axis, :math:`\exp(x_j) / \sum_k \exp(x_k)`, computed without overflow.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order, or if `axis` is not the last.
    axis : int, default -1
        The axis that sums to 1.
    out : ndarray, optional
        Where the result goes: shape and dtype of `logits`, C-contiguous, aligned, writable. May be
        `logits` itself; may not overlap it otherwise.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    ndarray
        Shape and dtype of `logits`. A row with NaN or +inf, or of -inf alone, is NaN.

    Raises
    ------
    TypeError
        `logits` is not float32, float64 or integer, or `out` has another dtype.
    ValueError
        The axis has no elements or does not exist, or `out` does not fit.

    References
    ----------
    Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 4.1.

    Examples
    --------
    >>> from softstep.kernels import softmax
    >>> softmax([[0.0, 0.0], [1000.0, 0.0]])
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _along_axis("softmax", logits, axis, out, threads)


def log_softmax(
    logits: ArrayLike, axis: int = -1, *, out: Array | None = None, threads: int | None = None
) -> Array:
    r"""Logarithm of the softmax along an axis, :math:`x_j - \log \sum_k \exp(x_k)`.

    Parameters, errors and copies are those of `softmax`.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
    axis : int, default -1
    out : ndarray, optional
        Shape and dtype of `logits`; may be `logits` itself.
    threads : int, optional

    Returns
    -------
    ndarray
        Shape and dtype of `logits`.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    References
    ----------
    Blanchard, Higham, Higham, *Accurately computing the log-sum-exp and softmax functions*, IMA J.
    Numer. Anal. (2021).

    Examples
    --------
    >>> from softstep.kernels import log_softmax
    >>> log_softmax([0.0, 0.0]).round(4)
    array([-0.6931, -0.6931])
    """
    return _along_axis("log_softmax", logits, axis, out, threads)


def logsumexp(
    logits: ArrayLike,
    axis: int = -1,
    *,
    keepdims: bool = False,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Log-sum-exp along an axis, :math:`\log \sum_k \exp(x_k)`, computed without overflow.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
        Copies are made as in `softmax`.
    axis : int, default -1
        The axis that is summed over (SciPy's default is the whole array).
    keepdims : bool, default False
        Keep the axis with length 1.
    out : ndarray, optional
        Shape of the result, dtype of `logits`, C-contiguous, aligned, writable, no overlap with
        `logits`.
    threads : int, optional

    Returns
    -------
    ndarray or scalar
        A NumPy scalar for one-dimensional `logits` without `keepdims` and `out`. A row of -inf
        gives -inf, one with +inf gives +inf, one with NaN gives NaN.

    Raises
    ------
    TypeError, ValueError
        As `softmax`.

    References
    ----------
    Blanchard, Higham, Higham, *Accurately computing the log-sum-exp and softmax functions*, IMA J.
    Numer. Anal. (2021).

    Examples
    --------
    >>> from softstep.kernels import logsumexp
    >>> float(logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    """
    array = _with_axis_last(as_float("logits", logits), axis)
    if out is not None:
        check_apart(out, "logits", logits, array)
    shape = array.shape[:-1]
    if keepdims and array.ndim:
        where = axis % array.ndim
        shape = (*shape[:where], 1, *shape[where:])
    result = np.empty(shape, array.dtype) if out is None else out
    flat = result
    if (
        keepdims
        and isinstance(result, np.ndarray)
        and result.shape == shape
        and result.flags.c_contiguous
    ):
        flat = result.reshape(array.shape[:-1])  # a view
    _native.module.logsumexp(flat, array, resolve_threads(threads))
    return result[()] if out is None else result


def _along_axis(
    name: str, logits: ArrayLike, axis: int, out: Array | None, threads: int | None
) -> Array:
    array = as_float("logits", logits)
    kernel = getattr(_native.module, name)
    count = resolve_threads(threads)
    if out is not None:
        check_apart(out, "logits", logits, array)
    if axis == -1 or axis == array.ndim - 1:
        result = np.empty(array.shape, array.dtype) if out is None else out
        kernel(result, array, count)
        return result
    moved = _with_axis_last(array, axis)
    if out is not None:
        _native.module.check_out(out, array)
    kernel(moved, moved, count)
    result = np.empty(array.shape, array.dtype) if out is None else out
    np.copyto(result, np.moveaxis(moved, -1, axis))
    return result


def _with_axis_last(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the array with the axis last, contiguous; a copy unless it is last already."""
    if array.ndim == 0:
        raise ValueError("logits has shape (); accepted: at least one axis")
    try:
        where = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}; accepted: an integer") from None
    if not -array.ndim <= where < array.ndim:
        raise ValueError(
            f"axis is {where}; accepted: {-array.ndim} to {array.ndim - 1} for shape {array.shape}"
        )
    if where % array.ndim == array.ndim - 1:
        return array
    return np.array(np.moveaxis(array, where, -1), order="C")
