"""The loops that measure the machine: they do what they are said to do, and check their arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softstep import _native

pytestmark = pytest.mark.usefixtures("level")

SIZES = [0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 262_143, 262_145, 700_001]


@pytest.mark.parametrize("size", SIZES)
def test_read_stream(size: int, threads: int) -> None:
    """Small integers: any order of additions gives their exact sum."""
    whole = np.ones(size + 3, np.float32)
    for start in (0, 1, 3):
        x = whole[start : start + size]
        x[::3] = 2
        for repeats in (1, 4):
            got = _native.module.read_stream(x, repeats, threads)
            assert got == repeats * x.sum(dtype=np.float64)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_copy_stream(size: int, streaming: bool, threads: int) -> None:
    """Nothing but the output is written, wherever it begins and ends."""
    x = np.arange(size + 3, dtype=np.float32)
    for source, target in ((0, 0), (1, 0), (0, 1), (2, 3)):
        out = np.full(size + 8, -1, np.float32)
        part = out[target : target + size]
        _native.module.copy_stream(part, x[source : source + size], streaming, 2, threads)
        assert (part == x[source : source + size]).all()
        assert (out[:target] == -1).all()
        assert (out[target + size :] == -1).all()


def test_multiply_add_loop(threads: int) -> None:
    """Every chain x <- x / 2 + 1 ends at 2; each of its steps is two operations."""
    steps = 100_000
    total, operations = _native.module.multiply_add_loop(steps, threads)
    assert total == operations / steps
    once, one = _native.module.multiply_add_loop(1, 1)
    assert operations == one * steps * threads
    lanes = _native.module.build()["vector_bytes"] // 4
    chains = one / (2 * lanes)
    assert once == lanes * (chains * (chains - 1) / 4 + chains)  # they begin at 0, 1, 2, ...


def test_wrong_arguments() -> None:
    x = np.zeros(8, np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    native: Any = _native.module
    for call, error, text in (
        (lambda: native.read_stream(np.zeros(8), 1, 1), TypeError, "x has dtype float64"),
        (lambda: native.read_stream(x[::2], 1, 1), ValueError, "x is not C-contiguous"),
        (lambda: native.read_stream(x, 0, 1), ValueError, "repeats is 0"),
        (lambda: native.copy_stream(x[:4], x, False, 1, 1), ValueError, "out has shape"),
        (lambda: native.copy_stream(x, x, False, 1, 1), ValueError, "out shares memory with x"),
        (lambda: native.copy_stream(read_only, x, False, 1, 1), ValueError, "out is read-only"),
        (lambda: native.multiply_add_loop(0, 1), ValueError, "steps is 0"),
    ):
        with pytest.raises(error, match=text):
            call()
