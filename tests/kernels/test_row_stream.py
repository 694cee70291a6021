"""Results larger than the caches, written past them, equal the same rows in small calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, Array, random_labels, random_logits, same_bytes

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

LARGE = 8 << 20  # bytes from which on a result is written so
FEW = 7  # rows of a call whose result is small
WIDTHS = (129, 1_000, 1_003, 30_000, 65_536 + 1)
OFFSETS = (0, 1, 5)  # elements from a cache line
CANARY = -7.0


def logits_of(rng: np.random.Generator, classes: int, dtype: Any) -> Array:
    rows = LARGE // (classes * np.dtype(dtype).itemsize) + 3
    return random_logits(rng, (rows, classes), dtype)


class Framed:
    """An output at an offset from a cache line, and elements around it that must stay."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, offset: int) -> None:
        size = int(np.prod(shape))
        line = 64 // np.dtype(dtype).itemsize
        self.whole = np.full(size + 4 * line, CANARY, dtype)
        first = -self.whole.ctypes.data // self.whole.itemsize % line + line + offset
        self.out = self.whole[first : first + size].reshape(shape)
        self.around = (self.whole[:first], self.whole[first + size :])

    def check(self, wanted: Array, what: str) -> None:
        assert same_bytes(self.out, wanted), what
        assert all((part == CANARY).all() for part in self.around), f"beyond the result, {what}"


def in_small_calls(call: Callable[..., Array], *arrays: Array) -> Array:
    rows = len(arrays[0])
    return np.concatenate(
        [call(*(a[i : i + FEW] for a in arrays), threads=1) for i in range(0, rows, FEW)]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", WIDTHS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(dtype: Any, classes: int, name: str, rng: np.random.Generator) -> None:
    function = getattr(kernels, name)
    x = logits_of(rng, classes, dtype)
    x[3, 5], x[7], x[8, 0] = np.nan, -np.inf, np.inf
    wanted = in_small_calls(function, x)
    for offset, threads in zip(OFFSETS, (1, 2, 3), strict=True):
        framed = Framed(x.shape, dtype, offset)
        function(x, out=framed.out, threads=threads)
        framed.check(wanted, f"offset {offset}, {threads} threads")
    framed = Framed(x.shape, dtype, 1)
    framed.out[...] = x
    function(framed.out, out=framed.out, threads=2)
    framed.check(wanted, "in place")
    if classes == WIDTHS[0]:
        wanted = in_small_calls(lambda x, **o: function(x, temperature=0.7, **o), x)
        assert same_bytes(function(x, temperature=0.7, threads=2), wanted)
        assert same_bytes(function(x[:, ::-1], threads=2), in_small_calls(function, x[:, ::-1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", WIDTHS)
def test_cross_entropy(dtype: Any, classes: int, rng: np.random.Generator) -> None:
    x = logits_of(rng, classes, dtype)
    x[3, 5], x[7], x[8, 0] = np.nan, -np.inf, np.inf
    labels = random_labels(rng, *x.shape)
    labels[::5] = -100
    weight = rng.uniform(0.5, 2, len(x)).astype(dtype)

    def gradient(x: Array, labels: Array, weight: Array, **options: Any) -> Array:
        return kernels.cross_entropy_with_grad(
            x, labels, sample_weight=weight, reduction="sum", **options
        )[1]

    wanted = in_small_calls(gradient, x, labels, weight)
    for offset, threads in zip(OFFSETS, (1, 2, 3), strict=True):
        framed = Framed(x.shape, dtype, offset)
        gradient(x, labels, weight, out=framed.out, threads=threads)
        framed.check(wanted, f"offset {offset}, {threads} threads")
    framed = Framed(x.shape, dtype, 1)
    framed.out[...] = x
    gradient(framed.out, labels, weight, out=framed.out, threads=2)
    framed.check(wanted, "in place")
