"""Matrix product plus bias, and its backward pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import Array, as_float, check_apart
from softstep.runtime import resolve_threads


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Matrix product plus bias, :math:`x W^\top + b`.

    Parameters
    ----------
    x : array_like, (N, K), float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order; so are the other inputs.
    weight : array_like, (C, K), dtype of `x`
        One row per output, as in ``torch.nn.Linear``.
    bias : array_like, (C,), dtype of `x`, optional
    out : ndarray, (N, C), optional
        Where the result goes: dtype of `x`, C-contiguous, aligned, writable, no overlap with the
        inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    ndarray, (N, C)

    Raises
    ------
    TypeError
        A dtype that is not accepted, or arrays of different dtypes.
    ValueError
        Shapes that do not fit, no outputs, an `out` that does not fit.

    References
    ----------
    Goto, van de Geijn, *Anatomy of high-performance matrix multiplication*, ACM TOMS 34 (2008).

    Examples
    --------
    >>> from softstep.kernels import linear
    >>> linear([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [0.5, 0.0])
    array([[11.5, 17. ]])
    """
    xa = as_float("x", x)
    w = as_float("weight", weight, xa, "x")
    b = None if bias is None else as_float("bias", bias, xa, "x")
    for name, value, array in (("x", x, xa), ("weight", weight, w), ("bias", bias, b)):
        check_apart(out, name, value, array)
    if out is None:
        # ill-shaped inputs get an output of some shape: the native checks name the input first
        out = np.empty((*xa.shape[:1], *w.shape[:1]), xa.dtype)
    _native.module.linear(out, xa, w, b, resolve_threads(threads))
    return out


def linear_backward(
    x: ArrayLike, weight: ArrayLike, dlogits: ArrayLike, *, threads: int | None = None
) -> tuple[Array, Array, Array]:
    r"""Gradients of :math:`x W^\top + b`, given the gradient of its result.

    Parameters
    ----------
    x : array_like, (N, K), float32 or float64
    weight : array_like, (C, K), dtype of `x`
    dlogits : array_like, (N, C), dtype of `x`
        The gradient with respect to the result.
    threads : int, optional

    Returns
    -------
    dx : ndarray, (N, K)
        ``dlogits @ weight``.
    dweight : ndarray, (C, K)
        ``dlogits.T @ x``.
    dbias : ndarray, (C,)
        ``dlogits.sum(axis=0)``.

    Raises
    ------
    TypeError, ValueError
        As `linear`.

    References
    ----------
    Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.6.

    Examples
    --------
    >>> from softstep.kernels import linear_backward
    >>> dx, dweight, dbias = linear_backward([[1.0, 2.0]], [[3.0, 4.0]], [[10.0]])
    >>> dx, dweight, dbias
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    xa = as_float("x", x)
    w = as_float("weight", weight, xa, "x")
    g = as_float("dlogits", dlogits, xa, "x")
    dx, dweight = np.empty(xa.shape, xa.dtype), np.empty(w.shape, xa.dtype)
    dbias = np.empty(w.shape[:1], xa.dtype)
    _native.module.linear_backward(dx, dweight, dbias, xa, w, g, resolve_threads(threads))
    return dx, dweight, dbias
