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
    x, weight = rng.integers(-64, 65, (n, k)), rng.integers(-128, 129, (c, k))
    bias, dlogits = rng.integers(-128, 129, c), rng.integers(-64, 65, (n, c))
    given = [array.astype(dtype) for array in (x, weight, bias, dlogits)]
    what = f"n={n}, k={k}, c={c}"
    logits = x @ weight.T
    np.testing.assert_array_equal(kernels.linear(*given[:2]), logits, what)
    np.testing.assert_array_equal(kernels.linear(*given[:3]), logits + bias, what)
    dx, dweight, dbias = kernels.linear_backward(given[0], given[1], given[3])
    np.testing.assert_array_equal(dx, dlogits @ weight, what)
    np.testing.assert_array_equal(dweight, dlogits.T @ x, what)
    np.testing.assert_array_equal(dbias, dlogits.sum(0), what)


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
