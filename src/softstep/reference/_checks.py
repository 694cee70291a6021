"""Argument checks the reference functions share. They mirror the checks of the kernels."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
REDUCTIONS = ("mean", "sum", "none")


def as_array(value: object, name: str) -> Array:
    """``value`` as an array, through ``__array__`` or, where that is missing, DLPack."""
    if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        return np.asarray(np.from_dlpack(value))
    try:
        return np.asarray(value)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name}: expected an array: {error}") from None


def as_floats(value: object, name: str, dtype: np.dtype[Any] | None = None) -> Array:
    """``value`` in native float32 or float64 (in ``dtype`` if given).

    Integers are converted, and so are lists, which have no dtype of their own.
    """
    array = as_array(value, name)
    if array.dtype.kind in "iu" or (array.dtype == np.float64 and not hasattr(value, "dtype")):
        return array.astype(dtype or np.float64)
    native = array.dtype.newbyteorder("=")
    accepted = FLOATS if dtype is None else (dtype,)
    if native not in accepted:
        names = " or ".join(str(one) for one in accepted)
        raise TypeError(f"{name}: expected {names} or integers, got dtype {array.dtype}")
    return array.astype(native, copy=False)


def as_logits(value: object, ndim: int | None = None) -> Array:
    """Logits with at least one axis (with ``ndim`` axes if given)."""
    logits = as_floats(value, "logits")
    if logits.ndim == 0 or (ndim is not None and logits.ndim != ndim):
        expected = "at least 1" if ndim is None else str(ndim)
        raise ValueError(f"logits: expected {expected} dimensions, got shape {logits.shape}")
    return logits


def class_axis(logits: Array, axis: int, name: str = "logits") -> int:
    """``axis`` counted from the front; it must hold at least one class."""
    axis = index(axis)
    if not -logits.ndim <= axis < logits.ndim:
        raise ValueError(f"axis: {axis} is out of range for {name} of shape {logits.shape}")
    if logits.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {logits.shape}")
    return axis % logits.ndim


def as_labels(target: object, rows: int, classes: int, ignore_index: int | None) -> Array:
    """Labels as int64, (rows,): each in 0 .. classes - 1 or equal to ``ignore_index``."""
    labels = as_array(target, "target")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"target: expected integers, got dtype {labels.dtype}")
    if labels.shape != (rows,):
        raise ValueError(f"target: expected shape {(rows,)}, got {labels.shape}")
    wrong = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        wrong &= labels != index(ignore_index)
    if wrong.any():
        row = int(wrong.argmax())
        raise IndexError(
            f"target: row {row} holds {labels[row]}, expected 0 to {classes - 1}"
            + ("" if ignore_index is None else f" or ignore_index ({ignore_index})")
        )
    return labels.astype(np.int64)


def check_shape(array: Array, name: str, shape: tuple[int, ...]) -> Array:
    """``array``, which must have this shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    return array


def check_reduction(reduction: object) -> None:
    """Raise unless ``reduction`` is one of the three names."""
    if not (isinstance(reduction, str) and reduction in REDUCTIONS):
        raise ValueError(f"reduction: expected one of {REDUCTIONS}, got {reduction!r}")


def check_writable(
    array: object,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    in_place: object = None,
    apart: tuple[object, ...] = (),
) -> Array:
    """Return an array to write into: this dtype and shape, C order, aligned, writable.

    It may be ``in_place`` itself but not overlap it otherwise, nor overlap those in ``apart``.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(array).__name__}")
    if array.dtype != dtype or not array.dtype.isnative:
        raise TypeError(f"{name}: expected dtype {dtype}, got {array.dtype.str}")
    check_shape(array, name, shape)
    if not (array.flags.c_contiguous and array.flags.aligned and array.flags.writeable):
        raise ValueError(f"{name}: expected a writable, aligned array in C order")
    if not _is_the_same(array, in_place):
        apart = (in_place, *apart)
    if any(isinstance(o, np.ndarray) and np.may_share_memory(array, o) for o in apart):
        raise ValueError(f"{name}: overlaps another argument")
    return array


def _is_the_same(array: Array, other: object) -> bool:
    """Whether ``other`` is the same array or another view of exactly the same numbers."""
    return isinstance(other, np.ndarray) and (
        (array.ctypes.data, array.shape, array.strides, array.dtype)
        == (other.ctypes.data, other.shape, other.strides, other.dtype)
    )


def rounded(result: Any, dtype: np.dtype[Any]) -> Any:
    """Return a float64 result in ``dtype``; what is too large becomes inf without a warning."""
    with np.errstate(over="ignore", invalid="ignore"):
        return result.astype(dtype)


def finish(
    wide: Array,
    dtype: np.dtype[Any],
    out: object,
    in_place: object,
    apart: tuple[object, ...] = (),
) -> Any:
    """Round to ``dtype``; return an array, a NumPy scalar (no axes left) or the filled ``out``."""
    result = rounded(wide, dtype)
    if out is None:
        return result[()] if result.ndim == 0 else result
    array = check_writable(out, "out", dtype, result.shape, in_place=in_place, apart=apart)
    array[...] = result
    return array
