"""Rows of features brought together in an order, and converted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    as_affine,
    as_dtype,
    as_features,
    as_targets,
    check_all_apart,
    check_in_place,
    exactly,
    is_narrow,
)
from softstep.runtime import resolve_threads

_FLOATS: tuple[np.dtype[Any], ...] = (np.dtype(np.float32), np.dtype(np.float64))


def gather_rows(
    x: ArrayLike,
    order: ArrayLike | None = None,
    *,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    """Copy of some rows, ``x[order] * scale + shift``, to the bit as NumPy computes it.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16 (ml_dtypes), float32 or float64
        Lists and other integers become float64. Rows may lie in any stride and be memory-mapped;
        copied as a whole only if a row is not contiguous, aligned and of native byte order.
    order : array_like of int, (N,), optional
        Row numbers, in any order and as often as wanted; all rows in their order when None. Copied
        if not int64 and contiguous.
    scale, shift : float or array_like (K,), optional
        Rounded to the result's dtype first; the product is rounded, and then the sum.
    dtype : {float32, float64}, optional
        Of the result; by default that of `out`, or else of `x` if it is one of these, or float32.
    out : ndarray, (N, K), optional
        Where the result goes: of `dtype` if that is given, C-contiguous, aligned, writable, no
        overlap with the inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    ndarray, (N, K)

    Raises
    ------
    TypeError, ValueError
        A dtype that is not accepted, shapes that do not fit, an `out` that does not fit.
    IndexError
        `order` names a row that `x` does not have.

    References
    ----------
    As ``numpy.take`` with ``axis=0``; scale and shift as in Dive into Deep Learning, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import gather_rows
    >>> x = np.array([[0, 255], [51, 102], [255, 0]], dtype=np.uint8)
    >>> gather_rows(x, [2, 0], scale=1 / 255)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    features = as_features("x", x)
    rows = None if order is None else as_targets("order", order)
    wanted = _result_dtype(dtype, features, out)
    scales, shifts = as_affine(scale, shift, features, wanted)
    if shift is None:
        shifts = None  # adding 0 would make -0 of 0
    if out is None:
        shape = (features if rows is None else rows).shape[:1] + features.shape[1:]
        out = np.empty(shape, wanted)  # for ill-shaped inputs the native checks name them first
    else:
        inputs = (
            ("x", x, features), ("order", order, rows), ("scale", scale, scales),
            ("shift", shift, shifts),
        )  # fmt: skip
        check_all_apart(out, inputs)
    try:
        gather_into(out, features, rows, scales, shifts, threads)
    except IndexError as error:
        raise exactly(error, order=order) from None
    return out


def gather_into(
    out: Array,
    x: Array,
    order: Array | None,
    scale: Array | None,
    shift: Array | None,
    threads: int | None = None,
) -> None:
    """Compute `gather_rows` for arrays that need no conversion.

    Without scale and shift `out` may also be of the dtype of `x`, whatever that is.
    """
    _native.module.gather_rows(out, x, order, scale, shift, resolve_threads(threads))


def _result_dtype(dtype: DTypeLike | None, features: Array, out: Array | None) -> np.dtype[Any]:
    """Return the dtype that is asked for, by name or by `out`, or else that of the features."""
    accepted = _FLOATS
    if dtype is not None:
        accepted = (as_dtype(dtype),)
        if accepted[0] not in _FLOATS:
            raise TypeError(f"dtype is {dtype!r}; accepted: float32, float64")
    if out is not None:
        check_in_place("out", out)
        if out.dtype not in accepted:
            names = ", ".join(map(str, accepted))
            raise TypeError(f"out has dtype {out.dtype}; accepted: {names}")
        return out.dtype
    if dtype is not None:
        return accepted[0]
    return np.dtype(np.float32) if is_narrow(features) else features.dtype
