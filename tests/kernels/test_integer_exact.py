"""Integer-valued matrix products are exact (RELIABILITY.md, line 1), on every level."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from feature_cases import NARROW, feature_dtype
from kernel_cases import DTYPES

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

EDGES = (63, 64, 65, 127, 128, 129)


def check_exact(
    rng: np.random.Generator,
    n: int,
    k: int,
    c: int,
    dtype: Any,
    features: Any = None,
    scale: float = 1,
    shift: float = 0,
    largest: int = 64,
) -> None:
    """|a| <= 64, |b| <= 128: sums of up to 2048 products stay below 2^24, exact in float32."""
    a, b = largest, 2 * largest
    assert max(n, k, c) * a * b + b < 2**24
    # Integers held in float64, whose sums are exact to 2^53: NumPy multiplies int64 slowly.
    x, weight = rng.integers(-a, a + 1, (n, k)) * 1.0, rng.integers(-b, b + 1, (c, k)) * 1.0
    bias, dlogits = rng.integers(-b, b + 1, c) * 1.0, rng.integers(-a, a + 1, (n, c)) * 1.0
    affine = {}
    if scale != 1 or shift:
        x, affine = np.rint((x - shift) / scale), {"scale": scale, "shift": shift}
    if features is not None and np.dtype(features).kind == "u":
        x = np.abs(x)
    given = [x.astype(features or dtype), *(a.astype(dtype) for a in (weight, bias, dlogits))]
    x = x * scale + shift
    logits = x @ weight.T
    dx, dweight, dbias = kernels.linear_backward(given[0], given[1], given[3], **affine)
    for name, got, exact in (
        ("linear", kernels.linear(*given[:2], **affine), logits),
        ("linear with bias", kernels.linear(*given[:3], **affine), logits + bias),
        ("dx", dx, dlogits @ weight),
        ("dweight", dweight, dlogits.T @ x),
        ("dbias", dbias, dlogits.sum(0)),
    ):
        assert np.array_equal(got, exact), f"{name}, n={n}, k={k}, c={c}, {features}, {affine}"


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows(dtype: Any, rng: np.random.Generator) -> None:
    """Up to 33 rows and more than 32 outputs, which have a path of their own."""
    for n in range(1, 34):
        for k, c in ((1, 33), (16, 40), (33, 65), (n, 129), (65, 32 + n)):
            check_exact(rng, n, k, c, dtype)
    for n in (1, 8, 32):
        check_exact(rng, n, 784, 130, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_rows_and_outputs(dtype: Any, rng: np.random.Generator) -> None:
    """More than 32 of both: every size of the edges of tiles and panels, and several blocks."""
    for size in range(33, 67):
        check_exact(rng, size, size - 32, 99 - size, dtype)
        check_exact(rng, 99 - size, 40, size, dtype)
    for k in (*range(1, 34), *EDGES):
        check_exact(rng, 37, k, 51, dtype)
    for n, k, c in ((130, 600, 200), (300, 1_100, 70), (50, 40, 1_500), (1_300, 33, 49)):
        check_exact(rng, n, k, c, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_blocks(dtype: Any, rng: np.random.Generator) -> None:
    """Several blocks of rows, of columns and of what is summed over, at once."""
    check_exact(rng, 4_203, 520, 2_100, dtype, largest=16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", NARROW)
def test_narrow_features(features: str, dtype: Any, rng: np.random.Generator) -> None:
    """Converted exactly on every path; a scale and shift of small integers are exact too."""
    kind = feature_dtype(features)
    for size in (*range(1, 34), *EDGES):
        for a, b in ((5, 10), (33, 33), (9, 40)):
            check_exact(rng, size, a, b, dtype, kind)
            check_exact(rng, a, size, b, dtype, kind)
            check_exact(rng, a, b, size, dtype, kind)
    for n, k, c in ((256, 784, 10), (7, 784, 60), (100, 784, 60)):
        check_exact(rng, n, k, c, dtype, kind)
        for scale, shift in ((2, 0), (1, -3), (4, 5)):
            if features == "uint8":
                shift = abs(shift)
            check_exact(rng, n, k, c, dtype, kind, scale, shift)
