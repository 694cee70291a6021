"""Rows read through an order, and the slope of the activation that has made the features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_cases import SHAPES, affine_bounds, random_features, random_rest
from kernel_cases import DTYPES, Array, assert_close, eps, same_bytes

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

# Beside SHAPES those with outputs, or rows, in the lanes.
ALL_SHAPES = (*SHAPES, (40, 2, 1), (40, 7, 3), (37, 20, 9), (70, 100, 20), (50, 300, 32))


def check_ordered(x: Array, order: Array, rest: tuple[Array, ...], **affine: Any) -> None:
    """linear and linear_backward of ``x[order]`` against float64, the same for any threads."""
    weight, bias, dlogits = rest
    bounds = affine_bounds(x[order], rest, **affine)
    wide = [array.astype(np.float64) for array in (x, *rest)]
    exact = (
        reference.linear(*wide[:3], order=order, **affine),
        *reference.linear_backward(*wide[:2], wide[3], order=order, **affine),
    )
    first: tuple[Array, ...] = ()
    for threads in (1, 2, 3):
        options = {"order": order, "threads": threads, **affine}
        got = (
            kernels.linear(x, weight, bias, **options),
            *kernels.linear_backward(x, weight, dlogits, **options),
        )
        first = first or got
        for name, one, wanted, bound in zip(
            ("linear", "dx", "dweight", "dbias"), got, exact, bounds, strict=True
        ):
            assert_close(one, wanted, bound, f"{name}, {x.dtype} {x.shape} x {weight.shape}")
        assert all(same_bytes(a, b) for a, b in zip(first, got, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_in_any_order(dtype: Any, rng: np.random.Generator) -> None:
    for n, k, c in ALL_SHAPES:
        rest = random_rest(rng, n, k, c, dtype)
        scale = rng.uniform(0.5, 2, k).astype(dtype)
        for name in (np.dtype(dtype).name, "uint8", "float16"):
            x = random_features(rng, (n + 13, k), name)
            order = rng.integers(0, len(x), n)  # some of them more than once
            check_ordered(x, order, rest)
            check_ordered(x, order[::-1].astype(np.uint16), rest, scale=scale)
        strided = random_features(rng, (2 * n + 5, k + 3), np.dtype(dtype).name)[::2, 1 : k + 1]
        check_ordered(strided, rng.permutation(len(strided))[:n], rest)


@pytest.mark.parametrize("module", [kernels, reference])
def test_no_row_is_outside(module: Any, rng: np.random.Generator) -> None:
    x, weight = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    out = np.full((2, 4), 7.0)
    for order in ([0, 5], [-1, 0], [2**62, 0]):
        with pytest.raises(IndexError, match="order"):
            module.linear(x, weight, order=order, out=out)
        with pytest.raises(IndexError, match="order"):
            module.linear_backward(x, weight, np.ones((2, 4)), order=order)
    for wrong in ([[0, 1]], [0.5, 1.0]):
        with pytest.raises((TypeError, ValueError), match="order"):
            module.linear(x, weight, order=wrong, out=out)
    with pytest.raises((TypeError, ValueError), match="dlogits"):
        module.linear_backward(x, weight, np.ones((5, 4)), order=[0, 1])
    assert (out == 7).all()
    assert module.linear(x, weight, order=[]).shape == (0, 4)
    dx, dweight, dbias = module.linear_backward(x, weight, np.ones((0, 4)), order=[])
    assert dx.shape == (0, 3)
    assert not dweight.any()
    assert not dbias.any()


def test_the_order_is_not_written_over() -> None:
    shared = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="out shares memory with order"):
        kernels.linear(
            np.ones((2, 3)), np.ones((1, 3)), order=shared, out=shared.view(np.float64)[:, None]
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_gradient_before_the_activation(
    activation: Any, dtype: Any, rng: np.random.Generator
) -> None:
    """`dx` is that of z where x = f(z): a product more, with a slope of up to three roundings."""
    for n, k, c in ALL_SHAPES:
        weight, _, dlogits = random_rest(rng, n, k, c, dtype)
        z = rng.normal(0, 2, (n + 3, k))
        x = reference.linear(z, np.eye(k), activation=activation).astype(dtype)
        order = rng.permutation(n + 3)[:n]
        for rows, options in ((x[:n], {}), (x[order], {"order": order}), (x[:n, ::-1], {})):
            given = x if options else rows
            plain = kernels.linear_backward(given, weight, dlogits, **options)
            got = kernels.linear_backward(
                given, weight, dlogits, x_activation=activation, **options
            )
            assert all(same_bytes(a, b) for a, b in zip(got[1:], plain[1:], strict=True))
            wide = rows.astype(np.float64)
            slope = {"relu": wide > 0, "sigmoid": wide * (1 - wide), "tanh": 1 - wide * wide}
            exact = plain[0].astype(np.float64) * slope[activation]
            bound = 4 * eps(dtype) * np.abs(plain[0].astype(np.float64)) + 1e-45
            assert_close(got[0], exact, bound, f"{activation} of {(n, k, c)}")
            want = reference.linear_backward(
                wide, weight.astype(float), dlogits.astype(float), x_activation=activation
            )
            bound = affine_bounds(rows, (weight, weight[:, 0], dlogits))[1] + bound
            assert_close(got[0], want[0], bound, f"{activation} of {(n, k, c)}, reference")


def test_relu_lets_the_gradient_of_nan_through() -> None:
    x = np.array([[np.nan, 0.0, -0.0, 2.0]])
    for module in (kernels, reference):
        dx, _, _ = module.linear_backward(x, np.ones((1, 4)), [[3.0]], x_activation="relu")
        assert np.array_equal(dx, [[3, 0, 0, 3]])


@pytest.mark.parametrize("module", [kernels, reference])
def test_errors_of_the_activation_of_x(module: Any) -> None:
    x, weight, dlogits = np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 1))
    with pytest.raises(ValueError, match="x_activation"):
        module.linear_backward(x, weight, dlogits, x_activation="gelu")
    for given, options in ((x.astype(np.uint8), {}), (x, {"scale": 2.0}), (x, {"shift": 1.0})):
        with pytest.raises(ValueError, match="x_activation"):
            module.linear_backward(given, weight, dlogits, x_activation="relu", **options)
