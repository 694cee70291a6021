"""Integer-valued matrix products are exact (RELIABILITY.md, line 1), on every level."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

EDGES = (63, 64, 65, 127, 128, 129)


def check_exact(rng: np.random.Generator, n: int, k: int, c: int, dtype: Any) -> None:
    """|a| <= 64, |b| <= 128: sums of up to 2048 products stay below 2^24, exact in float32."""
    assert max(n, k, c) * 64 * 128 + 128 < 2**24
    # Integers held in float64, whose sums are exact to 2^53: NumPy multiplies int64 slowly.
    x, weight = rng.integers(-64, 65, (n, k)) * 1.0, rng.integers(-128, 129, (c, k)) * 1.0
    bias, dlogits = rng.integers(-128, 129, c) * 1.0, rng.integers(-64, 65, (n, c)) * 1.0
    given = [array.astype(dtype) for array in (x, weight, bias, dlogits)]
    logits = x @ weight.T
    dx, dweight, dbias = kernels.linear_backward(given[0], given[1], given[3])
    for name, got, exact in (
        ("linear", kernels.linear(*given[:2]), logits),
        ("linear with bias", kernels.linear(*given[:3]), logits + bias),
        ("dx", dx, dlogits @ weight),
        ("dweight", dweight, dlogits.T @ x),
        ("dbias", dbias, dlogits.sum(0)),
    ):
        assert np.array_equal(got, exact), f"{name}, n={n}, k={k}, c={c}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size(dtype: Any, rng: np.random.Generator) -> None:
    """Each of n, k, c takes every size 1..33 against a few of the others, and the edges mix."""
    few = (1, 5, 16, 33)
    for size in (*range(1, 34), *EDGES):
        for a, b in itertools.product(few, few):
            check_exact(rng, size, a, b, dtype)
            check_exact(rng, a, size, b, dtype)
            check_exact(rng, a, b, size, dtype)
    for n, k, c in itertools.product(EDGES, EDGES, EDGES[1::2]):
        check_exact(rng, n, k, c, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_image_layer(dtype: Any, rng: np.random.Generator) -> None:
    for n in (1, 64, 256, 300):
        check_exact(rng, n, 784, 10, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_sizes(dtype: Any, rng: np.random.Generator) -> None:
    """Any n, k, c in 1..33 together: 36,000 triples, 500 of them a session."""
    for _ in range(500):
        check_exact(rng, *rng.integers(1, 34, 3).tolist(), dtype)
