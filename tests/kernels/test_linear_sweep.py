"""linear and linear_backward over all sizes together, and sums and infinities on every path."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from feature_cases import SHAPES, check_layer, random_rest
from kernel_cases import DTYPES, LongDouble, assert_close, eps, linear_bound, same_bytes

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

SIZES = (1, 2, 7, 10, 16, 64, 100, 256)
LARGEST = 2**20  # products, so that the sweep stays quick


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_sizes(dtype: Any, rng: np.random.Generator) -> None:
    for n, k, c in itertools.product(SIZES, repeat=3):
        if n * k * c <= LARGEST:
            check_layer(rng.normal(0, 3, (n, k)).astype(dtype), random_rest(rng, n, k, c, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_at_which_the_way_changes(dtype: Any, rng: np.random.Generator) -> None:
    """Few features side by side and apart, outputs that fill vectors and not, sums in parts."""
    for k in (0, 1, 2, 3, 4, 5, 6, 7, 8, 32, 33, 128, 129, 200, 201, 401):
        for n, c in ((1, 8), (3, 7), (4, 8), (17, 1), (19, 5), (21, 48), (65, 64), (37, 65)):
            x = rng.normal(0, 3, (n, k + 1)).astype(dtype)
            check_layer(x[:, :k], random_rest(rng, n, k, c, dtype))
            check_layer(x[:, :k].copy(), random_rest(rng, n, k, c, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_few_by_few(dtype: Any, rng: np.random.Generator) -> None:
    """Both operands read as they lie: sums in parts, rows that share cache sets, and the limits."""
    for k in (33, 130, 257, 784, 1_024, 4_096, 8_192, 8_193):
        for n, c in ((1, 1), (2, 2), (3, 5), (7, 7), (4, 32), (8, 16), (11, 11), (128, 2)):
            x = rng.normal(0, 3, (n, k + 64)).astype(dtype)
            check_layer(x[:, :k], random_rest(rng, n, k, c, dtype))
            check_layer(x[:, :k].copy(), random_rest(rng, n, k, c, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_short_rows_by_one(dtype: Any, rng: np.random.Generator) -> None:
    """Every number of vectors and of elements after them, in blocks of rows and a rest."""
    for k in range(33, 150):
        for n, c in ((37, 1), (1, 37)):
            x = rng.normal(0, 3, (n, k + 2)).astype(dtype)[:, :k]
            check_layer(x, random_rest(rng, n, k, c, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_sums_do_not_lose_to_pairwise_sum(dtype: Any, rng: np.random.Generator) -> None:
    """Positive terms, few rows and many: NumPy's pairwise bound, (19 + log2(K / 128)) * eps."""
    k = 2**17 + 5
    bound = (19 + np.log2(k / 128)) * eps(dtype)
    for n in (3, 33):
        x = rng.uniform(0.5, 1.5, (n, k)).astype(dtype)
        exact = x.astype(LongDouble).sum(1)[:, None]
        for c in (16, 34):
            got = kernels.linear(x, np.ones((c, k), dtype))
            assert_close(got, np.tile(exact, c), bound * exact, f"linear, {n} rows, {c} outputs")
        got, _, _ = kernels.linear_backward(
            np.ones((34, 1), dtype), np.ones((k, 1), dtype), np.tile(x[:1], (34, 1)), wanted="dx"
        )
        assert_close(got, np.tile(exact[:1], (34, 1)), bound * exact[0], "dx")
        _, dweight, dbias = kernels.linear_backward(
            np.ones((k, n), dtype),
            np.ones((34, n), dtype),
            np.ascontiguousarray(np.resize(x, (34, k)).T),
            wanted=("dweight", "dbias"),
        )
        column = np.resize(exact, 34)
        assert_close(dweight, np.tile(column[:, None], n), bound * column[:, None], "dweight")
        assert_close(dbias, column, bound * column, "dbias")


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_independent(dtype: Any, rng: np.random.Generator) -> None:
    """NaN touches no other row; a row alone is within twice the bound of it in a batch."""
    for n, k, c in SHAPES:
        x = rng.normal(1, 3, (n, k)).astype(dtype)
        weight, bias, _ = random_rest(rng, n, k, c, dtype)
        batch = kernels.linear(x, weight, bias)
        bound = 2 * linear_bound(x, weight, bias, dtype)
        for row in {0, n // 2, n - 1}:
            one = slice(row, row + 1)
            assert_close(
                kernels.linear(x[one], weight, bias), batch[one].astype(LongDouble), bound[one]
            )
            bad = x.copy()
            bad[row, k // 2] = np.nan
            got = kernels.linear(bad, weight, bias)
            keep = np.arange(n) != row
            assert np.isnan(got[row]).all()
            assert same_bytes(got[keep], batch[keep]), f"row {row} of {(n, k, c)}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinities_stay_where_they_belong(dtype: Any, rng: np.random.Generator) -> None:
    """An infinity of x, weight or dlogits gives what IEEE arithmetic in any order gives."""
    for n, k, c in SHAPES:
        x = rng.choice([-1.0, 1.0, 2.0], (n, k)).astype(dtype)
        weight, bias, dlogits = (array.copy() for array in random_rest(rng, n, k, c, dtype))
        weight[weight == 0] = 1
        dlogits[dlogits == 0] = 1
        for array in (x, weight, dlogits):
            at = tuple(rng.integers(size) for size in array.shape)
            before = array[at]
            array[at] = rng.choice([np.inf, -np.inf])
            given = (x, weight, bias, dlogits)
            wide = [one.astype(np.float64) for one in given]
            got = kernels.linear(*given[:3]), *kernels.linear_backward(x, weight, dlogits)
            exact = (
                reference.linear(*wide[:3]),
                *reference.linear_backward(wide[0], wide[1], wide[3]),
            )
            for one, wanted in zip(got, exact, strict=True):
                finite = np.isfinite(wanted)
                assert np.array_equal(np.isfinite(one), finite), f"{(n, k, c)}"
                np.testing.assert_array_equal(one[~finite], wanted[~finite])
            array[at] = before
