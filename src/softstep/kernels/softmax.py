"""softmax, log-softmax, their gradients, and log-sum-exp along any axis."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import Array, as_flag, as_float, as_real, check_apart
from softstep.runtime import resolve_threads


def softmax(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Softmax along an axis, :math:`\exp(z_j) / \sum_k \exp(z_k)` with z = logits / temperature.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
        Lists and integer arrays become float64. Read in place with any strides as long as either
        the elements along the last axis lie side by side, or those along `axis` if it is the last;
        and as what stands before and after `axis` could each be reshaped to one axis without a
        copy (``x[::2]``, ``x[:, :k]``, columns of a C-contiguous matrix). Else, and if not aligned
        or of another byte order, copied.
    axis : int, default -1
        The axis that sums to 1.
    temperature : float, default 1
        Positive and finite: what logits are divided by. Above 1 it evens out the result.
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
        The axis has no elements or does not exist, the temperature is not a positive finite
        number, or `out` does not fit.

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
    native = _native.module.softmax
    if (
        type(logits) is np.ndarray
        and (out is None or type(out) is np.ndarray)
        and type(axis) is int
        and -64 <= axis < 64  # NumPy has no more axes
        and type(temperature) is float
    ):
        result = np.empty(logits.shape, logits.dtype) if out is None else out
        if native(result, logits, axis, temperature, resolve_threads(threads)):
            return result
    return _forward(native, logits, axis, temperature, out, threads)


def log_softmax(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Logarithm of the softmax along an axis, :math:`z_j - \log \sum_k \exp(z_k)`.

    Here z = logits / temperature.

    Parameters, errors and copies are those of `softmax`.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
    axis : int, default -1
    temperature : float, default 1
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
    native = _native.module.log_softmax
    if (
        type(logits) is np.ndarray
        and (out is None or type(out) is np.ndarray)
        and type(axis) is int
        and -64 <= axis < 64  # NumPy has no more axes
        and type(temperature) is float
    ):
        result = np.empty(logits.shape, logits.dtype) if out is None else out
        if native(result, logits, axis, temperature, resolve_threads(threads)):
            return result
    return _forward(native, logits, axis, temperature, out, threads)


def logsumexp(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    keepdims: bool = False,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Log-sum-exp along an axis, :math:`\log \sum_k \exp(z_k)` with z = logits / temperature.

    Parameters
    ----------
    logits : array_like, float32 or float64, at least one axis
        Copies are made as in `softmax`.
    axis : int, default -1
        The axis that is summed over (SciPy's default is the whole array).
    temperature : float, default 1
        Positive and finite: what logits are divided by.
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
    array = as_float("logits", logits, contiguous=False)
    temperature, keepdims = as_real("temperature", temperature), as_flag("keepdims", keepdims)
    count = resolve_threads(threads)
    array, where = _readable(array, axis, "logits")
    if out is not None:
        check_apart(out, "logits", logits, array)
    where %= array.ndim
    shape = (*array.shape[:where], *((1,) if keepdims else ()), *array.shape[where + 1 :])
    result = np.empty(shape, array.dtype) if out is None else out
    _native.module.logsumexp(result, array, where, keepdims, temperature, count)
    return result[()] if out is None else result


def softmax_backward(
    dout: ArrayLike,
    softmax: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Gradient with respect to the logits of a loss, from that with respect to their softmax.

    With :math:`g` for `dout`, :math:`p` for `softmax` and :math:`t` for `temperature`:
    :math:`(g_j - \sum_k g_k p_k) \, p_j / t`.

    Parameters
    ----------
    dout : array_like, float32 or float64, at least one axis
        The gradient with respect to ``softmax(logits, axis, temperature=temperature)``. Copied
        under the conditions of `softmax`.
    softmax : array_like, shape and dtype of `dout`
        What `softmax` returned.
    axis : int, default -1
    temperature : float, default 1
        Those that `softmax` was given.
    out : ndarray, optional
        Shape and dtype of `dout`, C-contiguous, aligned, writable; may be `dout` or `softmax`.
    threads : int, optional

    Returns
    -------
    ndarray
        Shape and dtype of `dout`.

    Raises
    ------
    TypeError, ValueError
        As `softmax`; or `softmax` has another shape or dtype than `dout`.

    References
    ----------
    Martins, Astudillo, *From softmax to sparsemax*, ICML (2016), section 2.5.

    Examples
    --------
    >>> from softstep.kernels import softmax_backward
    >>> softmax_backward([1.0, 0.0], [0.5, 0.5])
    array([ 0.25, -0.25])
    """
    native = _native.module.softmax_backward
    return _gradient(native, dout, softmax, "softmax", axis, temperature, out, threads)


def log_softmax_backward(
    dout: ArrayLike,
    log_softmax: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Gradient with respect to the logits of a loss, from that with respect to their log-softmax.

    With :math:`g` for `dout`, :math:`q` for `log_softmax` and :math:`t` for `temperature`:
    :math:`(g_j - e^{q_j} \sum_k g_k) / t`.

    Parameters
    ----------
    dout : array_like, float32 or float64, at least one axis
        The gradient with respect to ``log_softmax(logits, axis, temperature=temperature)``.
    log_softmax : array_like, shape and dtype of `dout`
        What `log_softmax` returned.
    axis : int, default -1
    temperature : float, default 1
        Those that `log_softmax` was given.
    out : ndarray, optional
        As in `softmax_backward`.
    threads : int, optional

    Returns
    -------
    ndarray
        Shape and dtype of `dout`.

    Raises
    ------
    TypeError, ValueError
        As `softmax_backward`.

    References
    ----------
    Martins, Astudillo, *From softmax to sparsemax*, ICML (2016), section 2.5.

    Examples
    --------
    >>> from softstep.kernels import log_softmax, log_softmax_backward
    >>> log_softmax_backward([1.0, 0.0], log_softmax([0.0, 0.0])).round(4)
    array([ 0.5, -0.5])
    """
    native = _native.module.log_softmax_backward
    return _gradient(native, dout, log_softmax, "log_softmax", axis, temperature, out, threads)


def _forward(
    native: Callable[..., bool],
    logits: ArrayLike,
    axis: int,
    temperature: float,
    out: Array | None,
    threads: int | None,
) -> Array:
    """Do what softmax and log_softmax do where the short way at their beginning is not open."""
    array = as_float("logits", logits, contiguous=False)
    temperature = as_real("temperature", temperature)
    count = resolve_threads(threads)
    array, axis = _readable(array, axis, "logits")
    if out is not None:
        check_apart(out, "logits", logits, array)
    result = np.empty(array.shape, array.dtype) if out is None else out
    native(result, array, axis, temperature, count)
    return result


def _gradient(
    native: Callable[..., None],
    dout: ArrayLike,
    given: ArrayLike,
    name: str,
    axis: int,
    temperature: float,
    out: Array | None,
    threads: int | None,
) -> Array:
    g = as_float("dout", dout, contiguous=False)
    r = as_float(name, given, g, "dout", contiguous=False)
    temperature, count = as_real("temperature", temperature), resolve_threads(threads)
    if r.shape != g.shape:
        raise ValueError(f"{name} has shape {r.shape}; accepted: {g.shape}, as dout")
    g, where = _readable(g, axis, "dout")
    r, _ = _readable(r, axis, name)
    if out is not None:
        check_apart(out, "dout", dout, g)
        check_apart(out, name, given, r)
    result = np.empty(g.shape, g.dtype) if out is None else out
    native(result, g, r, where, temperature, count)
    return result


def _readable(array: Array, axis: int, name: str) -> tuple[Array, int]:
    """Return an array that kernels can read along this axis, a copy if need be, and the axis."""
    if array.ndim == 0:
        raise ValueError(f"{name} has shape (); accepted: at least one axis")
    try:
        where = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}; accepted: an integer") from None
    if not -array.ndim <= where < array.ndim:
        raise ValueError(
            f"axis is {where}; accepted: {-array.ndim} to {array.ndim - 1} for shape {array.shape}"
        )
    if array.shape[where] and not _native.module.readable(array, where):
        array = np.array(array, order="C")
    return array, where
