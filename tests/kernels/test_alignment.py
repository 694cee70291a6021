"""Where an array lies in memory changes no bits: vectors then start elsewhere, sums do not."""

from __future__ import annotations

import numpy as np
import pytest

from softstep import kernels


def at_offset(values: np.ndarray, offset: int) -> np.ndarray:
    """A copy that begins `offset` items after a cache line."""
    raw = np.empty(values.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset * values.itemsize
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("computed", ["float32", "float64"])
@pytest.mark.parametrize("features", [16, 64, 784])
@pytest.mark.parametrize("max_norm", [None, 0.1], ids=["free", "clipped"])
def test_training(
    level: str,
    rng: np.random.Generator,
    dtype: str,
    computed: str,
    features: int,
    max_norm: float | None,
) -> None:
    x = rng.integers(0, 256, (130, features)).astype(dtype)
    target = rng.integers(0, 7, 130)
    start = rng.normal(size=(7, features)).astype(computed)
    order = rng.permutation(130)
    results = set()
    for offset in range(0, 64 // x.itemsize, 1 if x.itemsize > 1 else 5):
        weight, bias = start.copy(), np.zeros(7, computed)
        run = kernels.train_softmax_regression(
            at_offset(x, offset), target, order, weight, bias,
            batch_size=10, lr=0.1, scale=1 / 255, shift=-0.25, max_norm=max_norm,
        )  # fmt: skip
        results.add((weight.tobytes(), bias.tobytes(), run))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [16, 48, 784, 8192])
def test_linear(level: str, rng: np.random.Generator, dtype: str, features: int) -> None:
    x = rng.normal(size=(40, features)).astype(dtype)
    weight = rng.normal(size=(6, features)).astype(dtype)
    dlogits = rng.normal(size=(40, 6)).astype(dtype)
    results = {
        (
            kernels.linear(moved, weight).tobytes(),
            kernels.linear_backward(moved, weight, dlogits)[1].tobytes(),
        )
        for moved in (at_offset(x, offset) for offset in range(64 // x.itemsize))
    }
    assert len(results) == 1
