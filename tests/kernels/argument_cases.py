"""What the tests of arguments share: fixed numbers, and the same numbers in every memory layout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
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


# How rows x columns may lie in memory: the shape of what holds them, and the part that they are.
ORDERS: dict[str, Callable[[int, int], tuple[tuple[int, int], Callable[[Array], Array]]]] = {
    "C": lambda rows, columns: ((rows, columns), lambda memory: memory),
    "fortran": lambda rows, columns: ((columns, rows), lambda memory: memory.T),
    "strided": lambda rows, columns: ((2 * rows, 3 * columns), lambda memory: memory[::2, ::3]),
    "padded": lambda rows, columns: ((rows, columns + 4), lambda memory: memory[:, 1:-3]),
    "backwards": lambda rows, columns: ((rows, columns), lambda memory: memory[::-1, ::-1]),
}


def layouts(array: Array) -> dict[str, Array]:
    """The same numbers laid out in every way: order x alignment x byte order x writability."""
    record = np.zeros(array.shape, [("pad", "u1"), ("value", array.dtype)])
    record["value"] = array
    cases = {"field of a record": record["value"], "subclass": array.copy().view(Subclass)}
    for (order, lay), aligned, native, writable in itertools.product(
        ORDERS.items(), (True, False), (True, False), (True, False)
    ):
        shape, part = lay(*array.shape)
        dtype = array.dtype if native else array.dtype.newbyteorder("S")
        memory = np.full(shape, 77, dtype)
        given = part(memory if aligned else misaligned(memory))
        given[...] = array
        assert given.flags.aligned is aligned
        assert given.dtype.isnative is native
        what = ["misaligned"] * (not aligned) + ["swapped"] * (not native)
        what += ["read-only"] * (not writable)
        cases[" ".join([order, *what])] = given if writable else read_only(given)
    for case, given in cases.items():
        np.testing.assert_array_equal(np.asarray(given), array, err_msg=case)
    return cases


def repeated(array: Array) -> dict[str, Array]:
    """Its first row, its first column and its first number, each repeated with strides of 0."""
    return {
        what: np.broadcast_to(part, array.shape)
        for what, part in (
            ("row", array[:1].copy()),
            ("column", array[:, :1].copy()),
            ("number", array[:1, :1].copy()),
        )
    }


def arrangements(
    rng: np.random.Generator, sizes: tuple[int, ...], dtype: Any, ways: tuple[str, ...]
) -> Iterator[tuple[str, Array]]:
    """Views of these sizes: every axis in each of these ways, in every order in memory."""
    takes = {
        "whole": (lambda size: size, slice(None)),
        "backwards": (lambda size: size, slice(None, None, -1)),
        "spaced": (lambda size: 2 * size, slice(None, None, 2)),
        "part": (lambda size: size + 3, slice(1, -2)),
        "repeated": (lambda size: 1, slice(None)),
    }
    axes = range(len(sizes))
    for order, way in itertools.product(
        itertools.permutations(axes), itertools.product(ways, repeat=len(sizes))
    ):
        held = [takes[way[axis]][0](sizes[axis]) for axis in order]
        memory = rng.normal(0, 5, held).astype(dtype).transpose(np.argsort(order))
        view = memory[tuple(takes[name][1] for name in way)]
        yield f"{way} in order {order}", np.broadcast_to(view, sizes)


class Subclass(np.ndarray):
    """A subclass of ndarray, as np.memmap is one."""
