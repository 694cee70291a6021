"""What the tests of arguments share: fixed numbers, and the same numbers in every memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from kernel_cases import Array, misaligned, read_only

Call = Callable[..., Any]
LABELS = np.array([1, 0, 3, -100, 2, 4])


def wide(like: Any, shape: tuple[int, ...]) -> Array:
    """The other arguments: fixed numbers in the argument's dtype (float64 if it has none)."""
    dtype = getattr(like, "dtype", np.dtype(np.float64))
    dtype = dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else np.dtype(np.float64)
    size = int(np.prod(shape))
    values = (np.arange(size) * 7 % 11 - 4.5).reshape(shape)
    return values.astype(dtype if dtype in (np.float32, np.float64) else np.float64)


def layouts(array: Array) -> dict[str, Array]:
    """The same numbers laid out in every way."""
    rows, columns = array.shape
    spaced = np.full((2 * rows, 3 * columns), 77, array.dtype)
    spaced[::2, ::3] = array
    padded = np.full((rows, columns + 4), 77, array.dtype)
    padded[:, 1 : columns + 1] = array
    backwards = np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    record = np.zeros((rows, columns), [("pad", "u1"), ("value", array.dtype)])
    record["value"] = array
    cases = {
        "C": array.copy(),
        "fortran": np.asfortranarray(array),
        "strided": spaced[::2, ::3],
        "padded rows": padded[:, 1 : columns + 1],
        "backwards": backwards,
        "misaligned": misaligned(array),
        "field of a record": record["value"],
        "read-only": read_only(array.copy()),
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "big-endian fortran": np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))),
        "subclass": array.copy().view(Subclass),
    }
    for case, given in cases.items():
        np.testing.assert_array_equal(np.asarray(given), array, err_msg=case)
    return cases


class Subclass(np.ndarray):
    """A subclass of ndarray, as np.memmap is one."""
