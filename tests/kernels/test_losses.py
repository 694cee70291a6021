"""mse_loss and mse_loss_with_grad against long double, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    SIZES,
    LongDouble,
    assert_close,
    eps,
    read_only,
    same_bytes,
    sum_bound,
    tiny,
)

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

SHAPES = (*((n,) for n in SIZES), (3, 5), (18, 64), (2, 3, 4), (1, 1), (130, 7), ())


def check_all(prediction: Any, target: Any, **options: Any) -> None:
    dtype, size = prediction.dtype, max(prediction.size, 1)
    difference = prediction.astype(LongDouble) - target.astype(LongDouble)
    squares, slopes = difference**2, 2 * difference
    # The difference is one rounding, squared it counts twice, the product one more, all of eps / 2.
    square_bound = 1.6 * eps(dtype) * squares + tiny(dtype)
    total_bound = square_bound.sum() + sum_bound(size, dtype) * squares.sum()
    for reduction, loss, bound, divisor in (
        ("none", squares, square_bound, 1),
        ("sum", squares.sum(), total_bound, 1),
        ("mean", squares.sum() / size, total_bound / size + tiny(dtype), size),
    ):
        what = f"{reduction}, {prediction.shape}"
        alone = kernels.mse_loss(prediction, target, reduction=reduction, **options)
        both, slope = kernels.mse_loss_with_grad(prediction, target, reduction=reduction, **options)
        assert alone.dtype == both.dtype == slope.dtype == dtype, what
        assert_close(alone, loss, bound, f"loss, {what}")
        assert_close(both, loss, bound, f"loss with gradient, {what}")
        # One rounding of the difference, at most two of 2 / size and the product.
        slope_bound = 1.6 * eps(dtype) * np.abs(slopes) / divisor + tiny(dtype)
        assert_close(slope, slopes / divisor, slope_bound, f"gradient, {what}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_shape(dtype: Any, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        prediction = np.asarray(rng.normal(3, 5, shape)).astype(dtype)
        target = np.asarray(rng.normal(2, 5, shape)).astype(dtype)
        check_all(read_only(prediction), read_only(target))


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    for shape in ((200_003,), (30_001, 7)):
        prediction, target = rng.normal(0, 3, (2, *shape)).astype(dtype)
        check_all(prediction, target, threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_out_and_in_place(dtype: Any, reduction: str, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(0, 3, (2, 18, 5)).astype(dtype)
    wanted = kernels.mse_loss_with_grad(prediction, target, reduction=reduction)
    out = np.full((18, 5), 7, dtype)
    loss, slope = kernels.mse_loss_with_grad(prediction, target, reduction=reduction, out=out)
    assert slope is out
    assert same_bytes((loss, out), wanted)
    loss, slope = kernels.mse_loss_with_grad(
        prediction, target, reduction=reduction, out=prediction
    )
    assert slope is prediction
    assert same_bytes((loss, prediction), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_average(dtype: Any) -> None:
    empty = np.zeros((0, 3), dtype)
    assert np.isnan(kernels.mse_loss(empty, empty))
    assert kernels.mse_loss(empty, empty, reduction="sum") == 0
    assert kernels.mse_loss(empty, empty, reduction="none").shape == (0, 3)
    assert kernels.mse_loss_with_grad(empty, empty)[1].shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_stay_in_their_element(dtype: Any, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(0, 3, (2, 37)).astype(dtype)
    clean = kernels.mse_loss_with_grad(prediction, target, reduction="none")
    prediction[5], target[20], prediction[30] = np.nan, np.inf, -np.inf
    got = kernels.mse_loss_with_grad(prediction, target, reduction="none")
    keep = ~np.isin(np.arange(37), (5, 20, 30))
    assert same_bytes((got[0][keep], got[1][keep]), (clean[0][keep], clean[1][keep]))
    np.testing.assert_array_equal(got[0][~keep], np.array([np.nan, np.inf, np.inf], dtype))
    np.testing.assert_array_equal(got[1][~keep], np.array([np.nan, -np.inf, -np.inf], dtype))
    assert np.isnan(kernels.mse_loss(prediction, target))


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_elements_with_weights(dtype: Any) -> None:
    """Weights that vary along another axis than the one of length 0."""
    for function in (kernels.mse_loss, kernels.binary_cross_entropy_with_logits):
        for shape, weights in (((3, 0), (3, 1)), ((0, 4), (4,)), ((2, 0, 4), (2, 1, 1))):
            empty, weight = np.ones(shape, dtype), np.ones(weights, dtype)
            assert function(empty, empty, weight=weight, reduction="sum") == 0
            assert function(empty, empty, weight=weight, reduction="none").shape == shape
            assert np.isnan(function(empty, empty, weight=weight))


def test_weights_by_whose_sum_float32_cannot_divide() -> None:
    tiny_weight = np.full(1, 1e-40, np.float32)
    prediction, target = np.full(1, 3, np.float32), np.ones(1, np.float32)
    assert kernels.mse_loss(prediction, target, weight=tiny_weight) == 4
    out = np.full(1, 5, np.float32)
    with pytest.raises(ValueError, match="weight sums to"):
        kernels.mse_loss_with_grad(prediction, target, weight=tiny_weight, out=out)
    assert out == 5
    wide = tiny_weight.astype(np.float64)
    loss, gradient = kernels.mse_loss_with_grad(
        prediction.astype(np.float64), target.astype(np.float64), weight=wide
    )
    assert (loss, gradient) == (4, 4)
