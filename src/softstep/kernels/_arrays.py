"""Normalising what callers pass: the arrays that native functions take are made here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
Reduction = Literal["none", "mean", "sum"]

_INT64 = np.dtype(np.int64)
_FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}
_LARGEST = float(np.finfo(np.float32).max)


def as_array(name: str, value: ArrayLike) -> Array:
    """Return any array-like, `__array__` or DLPack object on the CPU as an ndarray."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; accepted: an array without a mask")
    try:
        if not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)  # type: ignore[arg-type]
        return np.asarray(value)
    except (ValueError, RuntimeError, TypeError, BufferError) as error:
        # ragged lists; tensors that require gradients, elsewhere or of a dtype that NumPy lacks
        raise TypeError(
            f"{name} cannot be made an array: {error}; accepted: numbers in a regular shape"
        ) from error


def cast(name: str, array: Array, dtype: Any) -> Array:
    """Return the array in another dtype; ValueError for what is finite, but too large for that."""
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype, copy=False)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            lost = np.isinf(array.astype(dtype)) & np.isfinite(array)
        at = np.unravel_index(lost.argmax(), lost.shape)
        place = "".join(f"[{i}]" for i in at)
        raise ValueError(
            f"{name}{place} is {array[at]!s}; accepted: numbers that are finite in {dtype}"
        ) from None


def as_float(
    name: str,
    value: ArrayLike,
    like: Array | None = None,
    like_name: str = "",
    *,
    contiguous: bool = True,
) -> Array:
    """Return `value` as float32 or float64: C-contiguous, aligned, native; copied if it is not.

    With `contiguous` false strides are kept, and so is what is not aligned.
    Lists and integer arrays become float64, or the dtype of `like` where one is given, which floats
    must already have.
    """
    array = value if type(value) is np.ndarray else as_array(name, value)
    dtype = array.dtype
    if (
        dtype in _FLOATS
        and (like is None or dtype is like.dtype)
        and (not contiguous or array.flags.carray)
    ):
        return array
    if dtype not in _FLOATS:
        if dtype.kind in "iu":
            array = array.astype(np.float64 if like is None else like.dtype)
        elif dtype.newbyteorder("=") in _FLOATS:
            array = array.astype(dtype.newbyteorder("="))
        else:
            raise TypeError(f"{name} has dtype {dtype}; accepted: float32, float64, integers")
    if like is not None and array.dtype != like.dtype:
        if isinstance(value, np.ndarray) or hasattr(value, "dtype"):
            raise TypeError(
                f"{name} has dtype {array.dtype}; accepted: {like.dtype}, as {like_name}"
            )
        array = cast(name, array, like.dtype)
    if contiguous:
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            array = np.array(array, order="C")
    return array


_NARROW = {np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.float16)}
_NARROW_OR_BITS = _NARROW | {np.dtype(np.uint16)}
_FEATURES = _NARROW | _FLOATS


def as_features(name: str, value: ArrayLike) -> Array:
    """Rows of features as the native functions read them: each row contiguous, in any stride.

    uint8, int8, float16, float32 and float64 stay what they are, bfloat16 (of ml_dtypes) is passed
    as its bits in uint16, and other integers become float64. Copied only where a row is not
    contiguous, aligned or of native byte order.
    """
    array = value if type(value) is np.ndarray else as_array(name, value)
    dtype = array.dtype
    if dtype in _FEATURES:
        if array.flags.carray:
            return array
    else:
        if dtype.kind == "V" and dtype.name == "bfloat16":
            array = array.astype(dtype.newbyteorder("="), copy=False).view(np.uint16)
        elif dtype.kind == "f" and dtype.newbyteorder("=") in _FEATURES:
            array = array.astype(dtype.newbyteorder("="))
        elif dtype.kind in "iu":
            array = array.astype(np.float64)
        else:
            raise TypeError(
                f"{name} has dtype {dtype}; accepted: uint8, int8, float16, bfloat16, float32, "
                "float64, integers"
            )
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    whole = array.itemsize
    if (
        array.ndim == 2
        and array.size
        and (
            not flags.aligned
            or (array.shape[1] > 1 and array.strides[1] != whole)
            or array.strides[0] % whole
        )
    ):
        array = np.array(array, order="C")
    return array


def is_narrow(features: Array) -> bool:
    """Tell whether these are of a type that only features have (bfloat16 as uint16)."""
    return features.dtype in _NARROW_OR_BITS


def as_affine(
    scale: ArrayLike | None, shift: ArrayLike | None, features: Array, dtype: Any
) -> tuple[Array | None, Array | None]:
    """Scale and shift of features as two arrays (columns,), or neither."""
    if shift is None and scale is None:
        return None, None
    columns = features.shape[-1] if features.ndim else 0
    return (
        _per_feature("scale", 1.0 if scale is None else scale, columns, dtype),
        _per_feature("shift", 0.0 if shift is None else shift, columns, dtype),
    )


def _per_feature(name: str, value: ArrayLike, columns: int, dtype: Any) -> Array:
    array = as_array(name, value)
    _check_numbers(name, array)
    array = cast(name, array, dtype)
    return np.full(columns, array) if array.ndim == 0 else np.require(array, None, ["C", "A"])


def as_targets(name: str, value: ArrayLike, ignored: int | None = None) -> NDArray[np.int64]:
    """Class indices of any integer dtype as contiguous int64, what is larger as the largest.

    IndexError where that is `ignored`, and would pass for it.
    """
    array = value if type(value) is np.ndarray else as_array(name, value)
    if array.dtype is _INT64 and array.flags.c_contiguous and array.flags.aligned:
        return array
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name} has dtype {array.dtype}; accepted: an integer dtype")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        most = np.uint64(np.iinfo(np.int64).max)
        if ignored == most and (larger := array > most).any():
            at = int(larger.argmax())
            raise IndexError(
                f"{name}[{at}] is {array.flat[at]}; accepted: a class, or ignore_index ({ignored})"
            )
        array = np.minimum(array, most)  # more would turn negative
    return np.require(array, np.int64, ["C", "A"])


def exactly(error: IndexError, **given: Any) -> IndexError:
    """Return the error with the number that came, where `as_targets` has made it smaller."""
    text, most = str(error), f"{np.iinfo(np.int64).max} or more"
    for name, value in given.items():
        found = re.match(rf"{name}\[(\d+)\] is {most}", text)
        if found:
            return IndexError(text.replace(most, str(np.asarray(value).flat[int(found[1])])))
    return error


def _check_numbers(name: str, array: Array) -> None:
    dtype = array.dtype
    # ml_dtypes has floats that are none of NumPy's
    if not (dtype.kind in "iu" or issubclass(dtype.type, np.floating) or dtype.name == "bfloat16"):
        raise TypeError(f"{name} has dtype {dtype}; accepted: NumPy's floats, bfloat16, integers")


def as_numbers(name: str, value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """Floats of any kind or integers as a C-contiguous, aligned array of `dtype`.

    Copied if it is none. ValueError for what is finite, but too large for `dtype`.
    """
    array = value if type(value) is np.ndarray else as_array(name, value)
    if array.dtype != dtype:
        _check_numbers(name, array)
        array = cast(name, array, dtype)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        array = np.array(array, order="C")
    return array


def as_dtype(value: DTypeLike) -> Any:
    """Return the dtype that NumPy understands, or the value itself where it understands none."""
    try:
        return np.dtype(value)
    except (TypeError, ValueError, SyntaxError):  # it reads a text with a comma as code
        return value


def check_in_place(name: str, value: object) -> None:
    """Raise TypeError unless `value` is an ndarray: what is changed in place is never converted."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a {type(value).__name__}; accepted: an ndarray, which is written in place"
        )


def check_reduction(reduction: str) -> str:
    """Return a valid name of a reduction, or raise ValueError."""
    if not (isinstance(reduction, str) and reduction in ("mean", "sum", "none")):
        raise ValueError(f"reduction is {reduction!r}; accepted: 'mean', 'sum', 'none'")
    return reduction


def check_apart(
    out: object, name: str, value: object, array: Array | None, out_name: str = "out"
) -> None:
    """Raise ValueError if `out` overlaps an input that the kernel gets a copy of."""
    if out is None:
        return
    if type(out) is not np.ndarray:  # the usual case without a call
        check_in_place(out_name, out)
    if array is value or not isinstance(value, np.ndarray):
        return
    assert isinstance(out, np.ndarray)
    same = out.__array_interface__ == value.__array_interface__  # address, shape and strides
    if np.may_share_memory(out, value) and not same:
        raise ValueError(f"{out_name} shares memory with {name}; accepted: an array of its own")


def check_all_apart(
    out: object, inputs: Iterable[tuple[str, object, Array | None]], out_name: str = "out"
) -> None:
    """Raise ValueError if `out` overlaps an input (name, what was given, what is read of it)."""
    if out is not None:
        for name, value, array in inputs:
            check_apart(out, name, value, array, out_name)


def reduced(total: float, divisor: float, reduction: str, dtype: np.dtype[Any]) -> Any:
    """Return a sum of losses, or their mean, as a scalar of `dtype`; a mean of nothing is NaN."""
    if reduction == "mean":
        total = total / divisor if divisor else float("nan")
    if not abs(total) > _LARGEST:
        return dtype.type(total)
    with np.errstate(over="ignore"):  # infinity in float32
        return dtype.type(total)


def as_real(name: str, value: Any) -> float:
    """Return `value` as a float, or raise TypeError."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {value!r}; accepted: a number") from None


def as_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool, or raise TypeError."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name} is {value!r}; accepted: True or False")


def as_pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return the two that `value` holds, or raise TypeError."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; accepted: a pair of numbers") from None
    return first, second
