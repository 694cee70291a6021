"""Losses of single elements: squared error, binary cross-entropy of probabilities, sigmoid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softstep import kernels, losses
from softstep.losses import (
    binary_cross_entropy,
    mean_squared_error,
    sigmoid,
    squared_error,
    sum_squares_error,
)

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 4)])
def test_squared_errors(rng: np.random.Generator, dtype: Any, shape: tuple[int, ...]) -> None:
    y, t = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    squares = (y.astype(np.float64) - t) ** 2
    bound = 4 * float(np.finfo(dtype).eps)
    assert squared_error(y, t).dtype == dtype
    assert squared_error(y, t) == pytest.approx(squares.mean() / 2, rel=bound)
    assert squared_error(y, t, half=False) == pytest.approx(squares.mean(), rel=bound)
    assert squared_error(y, t, half=False) == losses.mse_loss(y, t) == kernels.mse_loss(y, t)
    assert squared_error(y, t, reduction="sum") == pytest.approx(squares.sum() / 2, rel=bound)
    found = squared_error(y, t, reduction="none")
    assert found.shape == shape
    np.testing.assert_allclose(found, squares / 2, rtol=bound)
    assert mean_squared_error(y, t) == pytest.approx(squares.sum() / 2, rel=bound)
    assert sum_squares_error is mean_squared_error


def test_squared_error_options() -> None:
    assert squared_error([1.0, 3.0], [1.0, 1.0], weight=[1.0, 3.0]) == 1.5
    assert mean_squared_error([0.5, 0.5], np.array([1, 0])) == 0.25
    with pytest.raises(ValueError, match="target"):
        mean_squared_error([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="reduction is 'all'"):
        squared_error([1.0], [1.0], reduction="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(9,), (4, 3)])
def test_binary_cross_entropy_is_that_of_the_logits(
    rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    x, t = rng.normal(0, 2, shape), rng.uniform(size=shape)
    for target in (t, (t > 0.5), (t > 0.5).astype(np.int8)):
        expected = kernels.binary_cross_entropy_with_logits(x, target, reduction="none")
        found = binary_cross_entropy(sigmoid(x), target, reduction="none")
        # The probability is rounded: 1 - p loses p / (1 - p) = e^x, log p its own 1 / log p.
        np.testing.assert_allclose(found, expected, rtol=0, atol=4 * EPS * np.exp(np.abs(x).max()))
        for reduction in ("mean", "sum"):
            total = getattr(found, reduction)()
            assert binary_cross_entropy(sigmoid(x), target, reduction=reduction) == pytest.approx(
                total, rel=8 * EPS
            )


def test_binary_cross_entropy_agrees_with_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    p, t = rng.uniform(size=(2, 20, 5))
    theirs = torch.nn.functional.binary_cross_entropy(torch.tensor(p), torch.tensor(t))
    assert binary_cross_entropy(p, t) == pytest.approx(theirs.item(), rel=20 * EPS)


def test_binary_cross_entropy_at_the_edges() -> None:
    with np.errstate(all="raise"):
        found = binary_cross_entropy(
            [0.0, 1.0, 0.0, 1.0, 0.0, 1e-300], [0, 1, 1, 0, 0.5, 0], reduction="none"
        )
    np.testing.assert_array_equal(found, [0, 0, np.inf, np.inf, np.inf, 1e-300])
    assert not np.signbit(found[:2]).any()
    assert binary_cross_entropy(1.0, True) == 0
    assert np.isnan(binary_cross_entropy([], []))
    assert binary_cross_entropy([], [], reduction="sum") == 0


@pytest.mark.parametrize(
    ("p", "t", "message"),
    [
        ([0.5, 1.5], [0, 1], r"^p\[1\] is 1\.5; accepted: a probability, 0 to 1"),
        ([[0.5], [np.nan]], [[0], [1]], r"^p\[1, 0\] is nan"),
        ([0.5, 0.5], [0, 2], r"^t\[1\] is 2\.0; accepted: a probability"),
        ([0.5, 0.5], [0], r"^t has shape \(1,\); accepted: \(2,\), the shape of p"),
    ],
)
def test_bad_binary_input(p: Any, t: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        binary_cross_entropy(p, t)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid(rng: np.random.Generator, dtype: Any) -> None:
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([rng.normal(0, 20, 500), [-1e4, 1e4, -0.0, 0, np.inf, -np.inf, -100]])
    x = x.astype(dtype)
    with np.errstate(all="raise"):
        found = sigmoid(x)
    assert found.dtype == dtype
    # exp within 2 ulp, an addition, a division
    np.testing.assert_allclose(
        found, special.expit(x.astype(np.float64)).astype(dtype),
        rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny,
    )  # fmt: skip
    assert sigmoid(dtype(0)) == 0.5
    assert np.ndim(sigmoid(dtype(0))) == 0
    assert np.isnan(sigmoid(dtype("nan")))
    np.testing.assert_array_equal(sigmoid(x[::-2]), found[::-2])
    assert sigmoid(3).dtype == np.float64
    with pytest.raises(TypeError, match="x has dtype"):
        sigmoid(["no"])  # type: ignore[list-item]
