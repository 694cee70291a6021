"""softmax, log_softmax and logsumexp against extended precision, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    FEW_SIZES,
    SIZES,
    Exact,
    assert_close,
    eps,
    random_logits,
    read_only,
    same_bytes,
    tiny,
)

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

KINDS = ("normal", "large", "negative", "spread", "one maximum", "ties")
FUNCTIONS = ("softmax", "log_softmax", "logsumexp")


def check_all(x: Any, what: str, **options: Any) -> None:
    dtype = x.dtype
    exact = Exact(x)
    got = kernels.softmax(x, **options)
    assert got.dtype == dtype
    assert_close(got, exact.softmax, exact.softmax_bound(dtype), f"softmax, {what}")

    relative = exact.relative_loss_bound(dtype)[..., None]
    got = kernels.log_softmax(x, **options)
    assert got.dtype == dtype
    bound = relative * np.abs(exact.log_softmax) + tiny(dtype)
    assert_close(got, exact.log_softmax, bound, f"log_softmax, {what}")

    got = kernels.logsumexp(x, **options)
    assert got.dtype == dtype
    # The logarithm's bound, and one rounding when the maximum is added to it.
    bound = (relative * exact.log_rest)[..., 0] + eps(dtype) * np.abs(exact.logsumexp)
    assert_close(got, exact.logsumexp, bound, f"logsumexp, {what}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_width(dtype: Any, kind: str, rng: np.random.Generator) -> None:
    for classes in SIZES:
        for rows in (1, 3, 18):
            x = read_only(random_logits(rng, (rows, classes), dtype, kind))
            check_all(x, f"{x.shape}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_height(dtype: Any, rng: np.random.Generator) -> None:
    for rows in SIZES:
        for classes in (1, 2, 3, 10, 17):
            check_all(random_logits(rng, (rows, classes), dtype), f"{(rows, classes)}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    for shape in ((20_011, 10), (2_003, 130), (7, 30_011), (1, 100_003)):
        check_all(random_logits(rng, shape, dtype), f"{shape}", threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_axis(dtype: Any, name: str, rng: np.random.Generator) -> None:
    """An axis that is not the last equals the same numbers moved to the last axis."""
    function, plain = getattr(kernels, name), getattr(reference, name)
    for shape in ((5,), (3, 7), (17, 33), (2, 3, 4), (4, 130, 3), (2, 5, 3, 9), (1, 64, 1)):
        x = random_logits(rng, shape, dtype)
        for axis in range(-x.ndim, x.ndim):
            got = function(x, axis)
            wanted = plain(x.astype(np.float64), axis)
            # Up to distance 60 and D 30: softmax's bound is 49 eps relative, the others' 23 and
            # one rounding of the maximum, to which log-sum-exp adds at most log(C).
            size = np.abs(wanted) + (np.log(x.shape[axis]) if name == "logsumexp" else 0)
            bound = 49 * eps(dtype) * size + tiny(dtype)
            assert_close(got, wanted, bound, f"{shape}, axis {axis}")
            moved = function(np.ascontiguousarray(np.moveaxis(x, axis, -1)))
            if name != "logsumexp":
                moved = np.moveaxis(moved, -1, axis)
            assert_close(got, moved, 2 * bound, f"{shape}, axis {axis}, moved")


@pytest.mark.parametrize("dtype", DTYPES)
def test_logsumexp_shapes(dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (2, 3, 4), dtype)
    for axis in (-3, -2, -1, 0, 1, 2):
        plain = kernels.logsumexp(x, axis)
        kept = kernels.logsumexp(x, axis, keepdims=True)
        assert plain.shape == tuple(np.delete(x.shape, axis))
        assert same_bytes(kept, np.expand_dims(plain, axis))
    scalar = kernels.logsumexp(x[0, 0])
    assert isinstance(scalar, np.generic)
    assert scalar.dtype == dtype
    assert kernels.logsumexp(x[0, 0], keepdims=True).shape == (1,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_row_alone_equals_row_in_batch(dtype: Any, name: str, rng: np.random.Generator) -> None:
    """To the bit, wherever the row stands."""
    function = getattr(kernels, name)
    for classes in SIZES:
        x = random_logits(rng, (19, classes), dtype)
        batch = function(x)
        for row in (0, 1, 7, 17, 18):
            assert same_bytes(function(x[row]), batch[row]), f"{classes} classes, row {row}"
            assert same_bytes(function(x[row : row + 1]), batch[row : row + 1])
            assert same_bytes(function(x[row:]), batch[row:]), f"{classes} classes, from {row}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_row_changes_no_other(
    dtype: Any, name: str, poison: float, rng: np.random.Generator
) -> None:
    function = getattr(kernels, name)
    for classes in FEW_SIZES:
        x = random_logits(rng, (21, classes), dtype)
        clean = function(x)
        for row in (0, 5, 16, 20):
            bad = x.copy()
            bad[row, classes // 2] = poison
            got = function(bad)
            keep = np.arange(21) != row
            assert same_bytes(got[keep], clean[keep]), f"{classes} classes, row {row}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_out_and_in_place(dtype: Any, name: str, rng: np.random.Generator) -> None:
    function = getattr(kernels, name)
    for shape in ((3, 5), (18, 64), (1, 1), (7,), (2, 3, 4)):
        x = random_logits(rng, shape, dtype)
        for axis in (-1, 0):
            wanted = np.asarray(function(x, axis))
            out = np.full(wanted.shape, 7, dtype)
            result = function(x, axis, out=out)
            assert result is out
            assert same_bytes(out, wanted), f"{shape}, axis {axis}"
            if name != "logsumexp":
                in_place = x.copy()
                assert function(in_place, axis, out=in_place) is in_place
                assert same_bytes(in_place, wanted), f"{shape}, axis {axis}, in place"


@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_not_changed(dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (33, 17), dtype)
    before = x.copy()
    for name in FUNCTIONS:
        getattr(kernels, name)(x)
        assert same_bytes(x, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_sum_to_one(dtype: Any, rng: np.random.Generator) -> None:
    for kind in KINDS:
        for classes in SIZES:
            x = random_logits(rng, (9, classes), dtype, kind)
            sums = kernels.softmax(x).astype(np.longdouble).sum(-1)
            assert np.abs(sums - 1).max() <= 8 * eps(dtype), f"{kind}, {classes} classes"


@pytest.mark.parametrize("dtype", DTYPES)
def test_unchanged_by_a_common_shift(dtype: Any, rng: np.random.Generator) -> None:
    """Integers and integer shifts are exact, so the shifted result has the same bits."""
    x = rng.integers(-20, 20, (13, 33)).astype(dtype)
    assert same_bytes(kernels.softmax(x), kernels.softmax(x + dtype(1024)))
    assert same_bytes(kernels.log_softmax(x), kernels.log_softmax(x - dtype(512)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_logits(dtype: Any) -> None:
    """The largest finite numbers: differences overflow, results do not."""
    big = np.finfo(dtype).max
    x = np.array([[big, -big, 0], [-big, -big, -big], [big, big, -big]], dtype)
    wanted = np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]], dtype)
    assert_close(kernels.softmax(x), wanted, 4 * eps(dtype), "softmax")
    assert_close(kernels.logsumexp(x), x.max(1), 0, "logsumexp")
    got = kernels.log_softmax(x)
    assert got[0, 0] == 0
    assert got[0, 1] in (-np.inf, -big)  # the difference itself is not representable
    assert_close(got[1], np.full(3, -np.log(3)), 8 * eps(dtype), "log_softmax")


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_results(dtype: Any) -> None:
    """Results below the smallest normal number are within it, and never negative or NaN."""
    limit = -np.log(np.finfo(dtype).tiny)
    x = np.zeros((64, 5), dtype)
    x[:, 1] = -np.linspace(limit - 4, limit + 50, 64)
    got = kernels.softmax(x)
    exact = Exact(x)
    assert_close(got, exact.softmax, exact.softmax_bound(dtype), "softmax")
    assert (got >= 0).all()
