"""Rows brought together in an order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._checks import FLOATS, Array, as_array, as_floats, check_writable
from .linear import NARROW


def gather_rows(
    x: ArrayLike,
    order: ArrayLike | None = None,
    *,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
    threads: Any = None,
) -> Array:
    """Copy of ``x[order] * scale + shift``. See :func:`softstep.kernels.gather_rows`.

    Parameters
    ----------
    x, order, scale, shift, dtype, out, threads
        As in :func:`softstep.kernels.gather_rows`.

    Examples
    --------
    >>> gather_rows([[1.0, 2.0], [3.0, 4.0]], [1, 1, 0], shift=0.5)
    array([[3.5, 4.5],
           [3.5, 4.5],
           [1.5, 2.5]])
    """
    features = as_array(x, "x")
    if features.dtype.newbyteorder("=").name not in NARROW:
        features = as_floats(features, "x")
    if features.ndim != 2:
        raise ValueError(f"x: expected shape (n, K), got {features.shape}")
    if dtype is None and out is not None:
        dtype = out.dtype
    wanted = np.dtype(dtype or (features.dtype if features.dtype in FLOATS else np.float32))
    if wanted not in FLOATS:
        raise TypeError(f"dtype: expected float32 or float64, got {wanted}")
    rows = np.arange(len(features)) if order is None else as_array(order, "order")
    if rows.size and (rows.dtype.kind not in "iu" or rows.ndim != 1):
        raise TypeError(f"order: expected integers (N,), got {rows.dtype} {rows.shape}")
    if rows.size and not (rows.min() >= 0 and rows.max() < len(features)):
        raise IndexError(f"order: expected rows from 0 to {len(features) - 1}")
    with np.errstate(all="ignore"):
        result = features[rows.astype(np.int64)].astype(wanted)
        if scale is not None:
            result = result * np.asarray(scale, wanted)
        if shift is not None:
            result = result + np.asarray(shift, wanted)
    if out is None:
        return result
    check_writable(out, "out", wanted, result.shape)
    out[...] = result
    return out
