"""Checks of probabilities and distributions, for information measures and losses."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.kernels._arrays import as_array

__all__ = [
    "Float64",
    "as_axis",
    "as_distributions",
    "as_float64",
    "as_probabilities",
    "check_sums",
    "place",
    "tolerance",
]

Float64 = NDArray[np.float64]


def as_float64(name: str, value: ArrayLike) -> tuple[Float64, np.dtype[Any]]:
    """Return numbers as float64, and the dtype that they came in; TypeError for anything else."""
    array = as_array(name, value)
    dtype = array.dtype
    if dtype.kind not in "biuf" and dtype.name != "bfloat16":
        raise TypeError(f"{name} has dtype {dtype}; accepted: floats, integers, bool")
    return array.astype(np.float64, copy=False), dtype


def tolerance(dtype: np.dtype[Any]) -> float:
    """How far a sum of probabilities of this dtype may be off 1: the root of its eps."""
    if dtype.name == "bfloat16":
        return math.sqrt(2.0**-7)
    return math.sqrt(np.finfo(dtype if dtype.kind == "f" else np.float64).eps)


def as_axis(name: str, array: NDArray[Any], axis: int, argument: str = "axis") -> int:
    """Return an axis of `array`, counted from the front."""
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"{argument} is {axis!r}; accepted: an integer") from None
    if array.ndim == 0:
        raise ValueError(f"{name} is a single number; accepted: an array with at least one axis")
    if not -array.ndim <= number < array.ndim:
        raise ValueError(
            f"{argument} is {number}; accepted: {-array.ndim} to {array.ndim - 1}, since {name} "
            f"has shape {array.shape}"
        )
    return number % array.ndim


def place(name: str, where: NDArray[np.bool_], axes: tuple[int, ...] = ()) -> str:
    """Name the first place that is marked, as ``p[2, :]``; `axes` are those that a colon takes."""
    found = [str(i) for i in np.unravel_index(int(np.argmax(where)), where.shape)]
    for axis in sorted(axes):
        found.insert(axis, ":")
    return f"{name}[{', '.join(found)}]" if any(part != ":" for part in found) else name


def as_probabilities(name: str, value: ArrayLike) -> Float64:
    """Return numbers from 0 to 1 as float64; ValueError names the first that is none."""
    array, _ = as_float64(name, value)
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        found = array[np.unravel_index(int(np.argmax(wrong)), wrong.shape)]
        raise ValueError(f"{place(name, wrong)} is {found}; accepted: a probability, 0 to 1")
    return array


def check_sums(name: str, array: Float64, axes: tuple[int, ...], bound: float) -> None:
    """Raise ValueError unless no number is negative or NaN and all sums over `axes` are 1."""
    wrong = ~(array >= 0)
    if wrong.any():
        found = array[np.unravel_index(int(np.argmax(wrong)), wrong.shape)]
        raise ValueError(
            f"{place(name, wrong)} is {found}; accepted: probabilities, which are not negative"
        )
    sums = np.asarray(array.sum(axis=axes))
    wrong = ~(np.abs(sums - 1) <= bound)
    if wrong.any():
        found = sums.flat[int(np.argmax(wrong))]
        raise ValueError(
            f"{place(name, wrong, axes)} sums to {found:.9g}; accepted: a distribution, which sums "
            f"to 1 within {bound:.2g}"
        )


def as_distributions(name: str, value: ArrayLike, axis: int) -> Float64:
    """Return distributions along `axis` as float64, the last axis of the result."""
    array, dtype = as_float64(name, value)
    number = as_axis(name, array, axis)
    check_sums(name, array, (number,), tolerance(dtype))
    return np.moveaxis(array, number, -1)
