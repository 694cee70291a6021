"""More than 2^31 elements (RELIABILITY.md, line 10): zero-filled virtual arrays of 8 GiB.

Memory that was never written reads as zero without being there, so the array costs page tables
only; a kernel that copied it, or made a result as large, would show in the resident size.
"""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import Array, eps

from softstep import kernels

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/status"),
    pytest.mark.usefixtures("level"),
]

COUNT = 2**31 + 2**20


def zeros(count: int, dtype: type) -> Array:
    """A read-only array of zeros that takes no memory."""
    size = count * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    return np.frombuffer(memory, dtype, count)


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def test_long_row() -> None:
    x = zeros(COUNT, np.float32)
    before = resident()
    got = kernels.logsumexp(x)
    # (8 + D / 2) eps with D = 0 of the logarithm, which is the whole result.
    assert abs(got / np.log(COUNT) - 1) <= 8 * eps(np.float32)
    assert resident() - before < 200 * 2**20


def test_loss_of_a_long_row() -> None:
    x, label = zeros(COUNT, np.float32).reshape(1, COUNT), np.array([COUNT - 1])
    before = resident()
    got, found = kernels.cross_entropy(x, label, byproducts=("logsumexp", "predicted"))
    assert abs(got / np.log(COUNT) - 1) <= 8 * eps(np.float32)
    assert abs(found.logsumexp[0] / np.log(COUNT) - 1) <= 8 * eps(np.float32)
    assert found.predicted[0] == 0
    assert resident() - before < 200 * 2**20


def test_many_rows() -> None:
    rows = COUNT // 64
    x, target = zeros(COUNT, np.float32).reshape(rows, 64), zeros(rows, np.int64)
    before = resident()
    total = kernels.cross_entropy(x, target, reduction="sum")
    mean = kernels.cross_entropy(x, target)
    # Each loss is log(64) to 8 eps; their sum loses no more than a pairwise one, 19 + log2(rows).
    bound = (8 + 19 + np.log2(rows)) * eps(np.float32)
    assert abs(mean / np.log(64) - 1) <= bound
    assert abs(total / (rows * np.log(64)) - 1) <= bound
    assert resident() - before < 200 * 2**20


def test_the_last_row_counts() -> None:
    """Rows beyond 2^31 elements are read where they are: a matrix product finds the last one."""
    rows = COUNT // 64
    x, weight = zeros(COUNT, np.uint8).reshape(rows, 64), np.zeros((2, 64), np.float32)
    bias = np.array([0, 1], np.float32)
    for label, right in ((1, 3), (0, 0)):
        target = np.full(rows, label, np.uint8) if label else zeros(rows, np.uint8)
        order = np.array([0, rows // 2, rows - 1])
        run = kernels.evaluate_softmax_regression(x, target, weight, bias, order=order)
        assert run.correct == right
        assert run.rows == 3
