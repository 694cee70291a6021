"""linear and linear_backward against float64 and, in float64, against long double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    LongDouble,
    assert_close,
    eps,
    linear_bound,
    read_only,
    same_bytes,
    tiny,
)

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

SHAPES = (
    *((n, k, c) for n in (1, 2, 17, 65) for k in (1, 3, 8, 31, 64, 130) for c in (1, 2, 5, 10, 33)),
    *((33, k, 10) for k in range(1, 34)),
    *((n, 17, 3) for n in range(1, 34)),
    *((9, 20, c) for c in range(1, 34)),
    (128, 784, 10), (129, 127, 130), (5, 1000, 65), (64, 129, 128), (257, 33, 2),
)  # fmt: skip


def random_layer(rng: np.random.Generator, n: int, k: int, c: int, dtype: Any) -> tuple[Any, ...]:
    """x, weight, bias and dlogits of different magnitudes."""
    x = rng.normal(1, 3, (n, k)) * np.exp(rng.normal(0, 2, (1, k)))
    weight = rng.normal(0, 0.5, (c, k))
    bias, dlogits = rng.normal(0, 10, c), rng.normal(0, 0.1, (n, c))
    return tuple(array.astype(dtype) for array in (x, weight, bias, dlogits))


def check_all(x: Any, weight: Any, bias: Any, dlogits: Any, **options: Any) -> None:
    dtype, what = x.dtype, f"{x.shape} x {weight.shape}"
    wide = [array.astype(LongDouble) for array in (x, weight, bias, dlogits)]
    logits = wide[0] @ wide[1].T
    got = kernels.linear(x, weight, **options)
    assert got.dtype == dtype
    assert_close(got, logits, linear_bound(x, weight, None, dtype), f"linear, {what}")
    got = kernels.linear(x, weight, bias, **options)
    assert_close(
        got, logits + wide[2], linear_bound(x, weight, bias, dtype), f"linear with bias, {what}"
    )

    dx, dweight, dbias = kernels.linear_backward(x, weight, dlogits, **options)
    assert dx.dtype == dweight.dtype == dbias.dtype == dtype
    # linear_bound's count is that of the summed terms: C for dx, N for dweight and dbias.
    assert_close(dx, wide[3] @ wide[1], linear_bound(dlogits, weight.T, None, dtype), f"dx, {what}")
    assert_close(
        dweight, wide[3].T @ wide[0], linear_bound(dlogits.T, x.T, None, dtype), f"dweight, {what}"
    )
    ones = np.ones((1, len(x)), dtype)
    bound = linear_bound(dlogits.T, ones, None, dtype)[:, 0]
    assert_close(dbias, wide[3].sum(0), bound, f"dbias, {what}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(dtype: Any, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        check_all(*map(read_only, random_layer(rng, *shape, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    for shape in ((4_001, 129, 10), (1_000, 65, 33), (3, 20_001, 5), (500, 784, 1)):
        check_all(*random_layer(rng, *shape, dtype), threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows_and_no_columns(dtype: Any) -> None:
    weight, bias = np.ones((3, 4), dtype), np.arange(3, dtype=dtype)
    assert same_bytes(
        kernels.linear(np.zeros((0, 4), dtype), weight, bias), np.zeros((0, 3), dtype)
    )
    dx, dweight, dbias = kernels.linear_backward(
        np.zeros((0, 4), dtype), weight, np.zeros((0, 3), dtype)
    )
    assert dx.shape == (0, 4)
    assert same_bytes((dweight, dbias), (np.zeros((3, 4), dtype), np.zeros(3, dtype)))

    x, weight = np.zeros((2, 0), dtype), np.zeros((3, 0), dtype)
    assert same_bytes(kernels.linear(x, weight, bias), np.stack([bias, bias]))
    assert same_bytes(kernels.linear(x, weight), np.zeros((2, 3), dtype))
    dx, dweight, dbias = kernels.linear_backward(x, weight, np.ones((2, 3), dtype))
    assert (dx.shape, dweight.shape) == ((2, 0), (3, 0))
    assert same_bytes(dbias, np.full(3, 2, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(dtype: Any, rng: np.random.Generator) -> None:
    x, weight, bias, _ = random_layer(rng, 18, 9, 5, dtype)
    out = np.full((18, 5), 7, dtype)
    assert kernels.linear(x, weight, bias, out=out) is out
    assert same_bytes(out, kernels.linear(x, weight, bias))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_independent(dtype: Any, rng: np.random.Generator) -> None:
    """A row alone is within twice the bound of the same row in a batch; NaN touches no other."""
    for n, k, c in ((19, 33, 7), (40, 130, 10), (70, 8, 1)):
        x, weight, bias, _ = random_layer(rng, n, k, c, dtype)
        batch = kernels.linear(x, weight, bias)
        bound = 2 * linear_bound(x, weight, bias, dtype)
        for row in (0, 7, n - 1):
            one = slice(row, row + 1)
            assert_close(kernels.linear(x[one], weight, bias), batch[one], bound[one])
            bad = x.copy()
            bad[row, k // 2] = np.nan
            got = kernels.linear(bad, weight, bias)
            keep = np.arange(n) != row
            assert np.isnan(got[row]).all()
            assert same_bytes(got[keep], batch[keep]), f"row {row} of {n}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bad_column_of_dlogits_changes_no_other(dtype: Any, rng: np.random.Generator) -> None:
    x, weight, _, dlogits = random_layer(rng, 37, 21, 10, dtype)
    _, dweight, dbias = kernels.linear_backward(x, weight, dlogits)
    dlogits[5, 3] = np.nan
    _, bad_dweight, bad_dbias = kernels.linear_backward(x, weight, dlogits)
    keep = np.arange(10) != 3
    assert np.isnan(bad_dweight[3]).all()
    assert np.isnan(bad_dbias[3])
    assert same_bytes((bad_dweight[keep], bad_dbias[keep]), (dweight[keep], dbias[keep]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_follow_ieee(dtype: Any) -> None:
    x = np.array([[np.inf, 1], [1, 1], [-np.inf, 2]], dtype)
    weight = np.array([[1, 1], [0, 1], [-1, 0]], dtype)
    wanted = np.array([[np.inf, np.nan, -np.inf], [2, 1, -1], [-np.inf, np.nan, np.inf]], dtype)
    np.testing.assert_array_equal(kernels.linear(x, weight), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows_do_not_lose_to_pairwise_sum(dtype: Any, rng: np.random.Generator) -> None:
    """A million positive terms: NumPy's pairwise bound, (19 + log2(K / 128)) * eps, is kept."""
    k = 2**20 + 5
    x = rng.uniform(0.5, 1.5, (2, k)).astype(dtype)
    ones = np.ones((1, k), dtype)
    exact = x.astype(LongDouble).sum(1, keepdims=True)
    bound = (19 + np.log2(k / 128)) * eps(dtype) * exact
    assert_close(kernels.linear(x, ones), exact, bound, "linear")
    column = np.ascontiguousarray(x.T)
    _, dweight, dbias = kernels.linear_backward(ones.T.copy(), np.ones((2, 1), dtype), column)
    assert_close(dweight, exact, bound, "dweight")
    assert_close(dbias, exact[:, 0], bound[:, 0], "dbias")


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_the_forward_pass(dtype: Any, rng: np.random.Generator) -> None:
    """``sum(dlogits * linear(x, weight, bias))`` is linear in each: differences are exact."""
    x, weight, bias, dlogits = random_layer(rng, 5, 6, 3, dtype)
    dx, dweight, dbias = kernels.linear_backward(x, weight, dlogits)

    def value(x: Any, weight: Any, bias: Any) -> float:
        logits = kernels.linear(x.astype(np.float64), weight.astype(np.float64), bias.astype(float))
        return float((dlogits.astype(np.float64) * logits).sum())

    base = value(x, weight, bias)
    for which, gradient in ((0, dx), (1, dweight), (2, dbias)):
        for at in np.ndindex(gradient.shape):
            moved = [array.astype(np.float64) for array in (x, weight, bias)]
            moved[which][at] += 1
            # The difference of two sums of magnitude |base|, and float32's rounding in gradient.
            bound = 1e-10 * (1 + abs(base)) + 16 * eps(dtype) * (
                abs(gradient[at]) + np.abs(dlogits).max() * max(np.abs(x).max(), 10)
            )
            assert abs(value(*moved) - base - gradient[at]) <= bound + tiny(dtype)
