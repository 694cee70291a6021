"""No access outside the arrays (RELIABILITY.md, line 7), on every level.

Arrays end at an inaccessible page or start right after one, so that a byte too many is a
segmentation fault, and bytes around them are canaries. All lengths mod 16, and all offsets from
the page that the dtype's alignment allows.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from feature_cases import NARROW, random_features, random_rest
from guard_cases import Case, axis_cases, cases, cross_entropy_cases, many_outputs
from kernel_cases import DTYPES, Array, random_labels, random_logits, same_bytes

from softstep import _native, kernels

pytestmark = [
    pytest.mark.usefixtures("level"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: mprotect through ctypes"),
]

CANARY = 0xA5
PAGE = mmap.PAGESIZE
LENGTHS = (*range(1, 18), *range(31, 50))
# From the last narrow rows to every length mod 16 of wide ones, and more than a block of a sum.
WIDE = (*range(126, 146), 160, 191, 193, 511, 513, 1000, 1023, 1025)


class Guarded:
    """Pages between two inaccessible ones, to place an array at either end of."""

    def __init__(self, pages: int = 8) -> None:
        self.size = pages * PAGE
        self.memory = mmap.mmap(-1, self.size + 2 * PAGE)
        everything = np.frombuffer(self.memory, np.uint8)
        start = everything.ctypes.data
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for guard in (start, start + PAGE + self.size):
            assert protect(guard, PAGE, 0) == 0, ctypes.get_errno()
        self.inside = everything[PAGE : PAGE + self.size]
        self.inside[:] = CANARY

    def place(self, values: Array, *, at_end: bool, offset: int = 0) -> Array:
        """``values`` so many bytes from the last or the first page; the rest are canaries."""
        assert values.nbytes + offset <= self.size
        self.begin = self.size - values.nbytes - offset if at_end else offset
        self.end = self.begin + values.nbytes
        self.inside[:] = CANARY
        array = self.inside[self.begin : self.end].view(values.dtype).reshape(values.shape)
        array[...] = values
        return array

    def intact(self) -> bool:
        around = (self.inside[: self.begin], self.inside[self.end :])
        return all((part == CANARY).all() for part in around)


@pytest.fixture(scope="module")
def regions() -> list[Guarded]:
    return [Guarded(16) for _ in range(11)]


def check_at_pages(
    case: Case, what: str, regions: list[Guarded], places: Iterable[tuple[bool, int]]
) -> None:
    """The call gives what it gives elsewhere, at the end or the start and so many bytes from it."""
    function, arguments, changed = case
    plain = [argument.copy() for argument in arguments]
    wanted = function(*plain)
    for at_end, moved in places:
        placed = [
            region.place(
                argument, at_end=at_end, offset=moved // argument.itemsize * argument.itemsize
            )
            for region, argument in zip(regions, arguments, strict=False)
        ]
        got = function(*placed)
        where = f"{what}, {moved} bytes from the page"
        if got is not None:
            assert same_bytes(got, wanted), where
        for number, (array, copy) in enumerate(zip(placed, plain, strict=True)):
            assert same_bytes(array, copy), f"{where}: argument {number}"
            if number >= changed:
                assert same_bytes(array, arguments[number]), f"{where}: input changed"
            assert regions[number].intact(), f"{where}: wrote outside"


def check_all(
    several: dict[str, Case], what: str, regions: list[Guarded], *, at_end: bool, offset: int
) -> None:
    """Each of them, right at a page and so many bytes from it."""
    for name, case in several.items():
        check_at_pages(case, f"{name}, {what}", regions, ((at_end, 0), (at_end, offset)))


at_both_ends = pytest.mark.parametrize(
    "at_end", [True, False], ids=["before a page", "after a page"]
)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    for length in LENGTHS:
        offset = length % 16 * np.dtype(dtype).itemsize
        several, what = cases(rng, length, dtype), f"{length} columns"
        check_all(several, what, regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_wide_rows(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    """More columns than a block of rows in the lanes takes, along rows and across them."""
    for length in WIDE:
        offset = length % 16 * np.dtype(dtype).itemsize
        rows, inner = (1 + int(rng.integers(min(most, 3900 // length))) for most in (5, 17))
        for several in (
            axis_cases(rng, (rows, length), -1, dtype),
            axis_cases(rng, (length, inner), 0, dtype),
            cross_entropy_cases(rng, rows, length, dtype),
        ):
            check_all(several, f"{length} columns", regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_past_the_caches(
    dtype: Any, at_end: bool, rng: np.random.Generator
) -> None:
    """Results of more than 8 MiB, which are written past the caches."""
    columns, size = int(rng.integers(520, 600)), np.dtype(dtype).itemsize
    rows = (8 << 20) // (columns * size) + 1
    x, labels = random_logits(rng, (rows, columns), dtype), random_labels(rng, rows, columns)
    order = rng.permutation(rows)
    calls: dict[str, Callable[[Array, Array], Any]] = {
        "softmax": lambda out, x: kernels.softmax(x, out=out),
        "log_softmax": lambda out, x: kernels.log_softmax(x, out=out),
        "cross_entropy_with_grad": lambda out, x: kernels.cross_entropy_with_grad(
            x, labels, out=out
        ),
        "gather_rows": lambda out, x: kernels.gather_rows(x, order, out=out),
        "gather_rows in order": lambda out, x: kernels.gather_rows(x, out=out),
    }
    regions = [Guarded((8 << 20) // PAGE + 4) for _ in range(2)]
    offset = int(rng.integers(1, 16)) * size
    several: dict[str, Case] = {
        name: (function, [np.zeros_like(x), x], 1) for name, function in calls.items()
    }
    check_all(several, f"{rows} rows of {columns}", regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_with_many_outputs(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    for outputs, columns in (
        *((33 + length % 16, length) for length in (*LENGTHS, *WIDE) if length < 146),
        *((length, int(rng.integers(1, 7))) for length in WIDE),
    ):
        offset = outputs % 16 * np.dtype(dtype).itemsize
        several, what = many_outputs(rng, outputs, columns, dtype), f"{outputs} x {columns}"
        check_all(several, what, regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_offset(dtype: Any, regions: list[Guarded], rng: np.random.Generator) -> None:
    """Every offset within a cache line that the alignment allows, for every length mod 16."""
    for length in range(16, 32):
        x = random_logits(rng, (3, length), dtype)
        labels = random_labels(rng, 3, length)
        wanted = kernels.cross_entropy_with_grad(x, labels)
        soft = kernels.softmax(x)
        for offset in range(0, 64, np.dtype(dtype).itemsize):
            for at_end in (True, False):
                given = regions[0].place(x, at_end=at_end, offset=offset)
                assert same_bytes(kernels.cross_entropy_with_grad(given, labels), wanted)
                out = regions[1].place(x, at_end=at_end, offset=64 - offset)
                kernels.softmax(given, out=out)
                assert same_bytes(out, soft)
                assert regions[0].intact()
                assert regions[1].intact()


def test_byte_rows_at_every_offset(regions: list[Guarded], rng: np.random.Generator) -> None:
    """Rows of uint8 have no alignment: every length and offset, at both ends of the pages."""
    for length in range(1, 50):
        pixels = rng.integers(0, 256, (2, length), np.uint8)
        weight, bias = rng.normal(0, 1, (3, length)).astype(np.float32), np.zeros(3, np.float32)
        target = [0, 2]
        wanted = kernels.evaluate_softmax_regression(pixels, target, weight, bias, scale=0.01)
        for offset in range(0, 64, 3):
            for at_end in (True, False):
                given = regions[0].place(pixels, at_end=at_end, offset=offset)
                got = kernels.evaluate_softmax_regression(given, target, weight, bias, scale=0.01)
                assert got == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [*NARROW, "of the weight's type"])
def test_linear_of_every_type_and_path(
    features: str, dtype: Any, regions: list[Guarded], rng: np.random.Generator
) -> None:
    """All that linear reads and writes stands at a page, as rows, columns and outputs end."""
    name = features if features in NARROW else np.dtype(dtype).name
    native = _native.module

    def forward(out: Array, x: Array, weight: Array, bias: Array, scale: Array) -> None:
        native.linear(out, bits(x), weight, bias, None, scale, scale, "tanh", 1)

    def plain(out: Array, x: Array, weight: Array, bias: Array) -> None:
        native.linear(out, bits(x), weight, bias, None, None, None, "none", 1)

    def ordered(out: Array, x: Array, weight: Array, bias: Array, order: Array) -> None:
        native.linear(out, bits(x), weight, bias, order, None, None, "none", 1)

    def backward(
        dx: Array, dweight: Array, dbias: Array, x: Array, weight: Array, g: Array
    ) -> None:
        activation = "relu" if x.dtype == weight.dtype else "none"
        native.linear_backward(
            dx, dweight, dbias, bits(x), weight, g, None, None, None, activation, 1
        )

    for length in LENGTHS:
        other = int(rng.integers(1, 18))
        # few outputs, few rows, large, and outputs in the lanes, in all three sizes
        for n, k, c in (
            (other, length, 5), (length, other, 32), (other, length, 35), (7, other, 32 + length),
            (34, length, 37), (32 + length, other, 33), (33, other, 32 + length),
            (length, 3, 1), (9, 32 + length, 8), (3 + length, 40, 16), (5, 33, 8 + length),
        ):  # fmt: skip
            x = random_features(rng, (n, k), name)
            weight, bias, dlogits = random_rest(rng, n, k, c, dtype)
            out, scale = np.zeros((n, c), dtype), np.full(k, 0.5, dtype)
            gradients = [np.zeros(shape, dtype) for shape in ((n, k), (c, k), c)]
            order = rng.integers(0, n, n)
            for function, changed, arguments in (
                (plain, 1, [out, x, weight, bias]),
                (forward, 1, [out, x, weight, bias, scale]),
                (ordered, 1, [out, x, weight, bias, order]),
                (backward, 3, [*gradients, x, weight, dlogits]),
            ):
                offset = int(rng.integers(0, 128))
                places = ((True, 0), (False, 0), (bool(length % 2), offset))
                what = f"{function.__name__}, {(n, k, c)}"
                check_at_pages((function, arguments, changed), what, regions, places)


def bits(x: Array) -> Array:
    """bfloat16 as native functions take it."""
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x
