"""Closed-form regression, and the tiny network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softstep.losses import softmax
from softstep.numerical import SimpleNet, check_gradient, least_squares

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("targets", [(), (1,), (3,)])
def test_finds_what_made_the_data(rng: np.random.Generator, targets: tuple[int, ...]) -> None:
    x = rng.normal(size=(50, 4)) + 1000
    w, b = rng.normal(size=(4, *targets)), rng.normal(size=targets)
    found_w, found_b = least_squares(x, x @ w + b)
    assert (found_w.shape, found_b.shape) == (w.shape, b.shape)
    # Targets near 4000 are rounded by 4000 eps; the centred features have singular values near 7.
    np.testing.assert_allclose(found_w, w, atol=1e3 * 4000 * EPS)
    np.testing.assert_allclose(found_b, b, atol=1e3 * 4000 * EPS * 4000)


def test_residuals_are_orthogonal(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(30, 5)), rng.normal(size=30)
    w, b = least_squares(x, y)
    rest = y - x @ w - b
    np.testing.assert_allclose(x.T @ rest, 0, atol=1e4 * EPS)
    assert abs(rest.sum()) < 1e4 * EPS


def test_agrees_with_scikit_learn(rng: np.random.Generator) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    theirs = linear.LinearRegression().fit(x, y)
    w, b = least_squares(x, y)
    np.testing.assert_allclose(w, theirs.coef_.T, atol=1e3 * EPS)
    np.testing.assert_allclose(b, theirs.intercept_, atol=1e3 * EPS)


def test_features_that_depend_on_each_other() -> None:
    """Of all that fit, the smallest: the weight is shared."""
    x = np.array([[0.0], [1.0], [2.0]]).repeat(2, axis=1)
    w, b = least_squares(x, [1.0, 3.0, 5.0])
    np.testing.assert_allclose(w, [1, 1], atol=1e-14)
    assert b == pytest.approx(1)
    w, b = least_squares([[7.0, 8.0]], [3.0])  # one row: a constant
    np.testing.assert_array_equal(w, [0, 0])
    assert b == 3


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], ValueError, r"^x has shape \(2,\); accepted: \(N, K\)"),
        (np.empty((0, 2)), [], ValueError, r"^x has shape \(0, 2\); accepted: .*at least one row"),
        ([[1.0], [2.0]], [1.0], ValueError, r"^y has shape \(1,\); accepted: \(2,\) or \(2, C\)"),
        ([[1.0], [np.nan]], [1, 2], ValueError, r"^x\[1\] is not finite"),
        ([[1.0], [2.0]], [np.inf, 2], ValueError, r"^y\[0\] is not finite"),
        ([["a"]], [1], TypeError, r"^x has dtype"),
    ],
)
def test_bad_input(x: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        least_squares(x, y)


# SimpleNet


@pytest.mark.parametrize("one_hot", [False, True])
def test_gradient_of_simple_net(rng: np.random.Generator, one_hot: bool) -> None:
    net = SimpleNet(rng.normal(size=(4, 3)))
    for x, t in ((rng.normal(size=4), 2), (rng.normal(size=(6, 4)), rng.integers(0, 3, 6))):
        target = np.eye(3)[t] if one_hot else t
        gradient = net.gradient(x, target)
        assert check_gradient(lambda _: net.loss(x, target), gradient, net.W) < 1e-6  # noqa: B023
        rows = np.atleast_2d(x)
        by_hand = rows.T @ (softmax(net.predict(rows)) - np.eye(3)[np.atleast_1d(t)]) / len(rows)
        np.testing.assert_allclose(gradient, by_hand, atol=20 * EPS)


def test_simple_net_arguments() -> None:
    assert SimpleNet().W.shape == (2, 3)
    np.testing.assert_array_equal(SimpleNet(seed=3).W, SimpleNet(seed=3).W)
    assert (SimpleNet(seed=3).W != SimpleNet(seed=4).W).all()
    given = np.ones((2, 2))
    assert SimpleNet(given).W is not given
    with pytest.raises(ValueError, match=r"^W has shape \(2,\); accepted: \(K, C\)"):
        SimpleNet([1.0, 2.0])
    net = SimpleNet()
    with pytest.raises(ValueError, match=r"^x has shape \(3,\); accepted: \(2,\) or \(N, 2\)"):
        net.predict([1.0, 2.0, 3.0])
    for call in (net.loss, net.gradient):
        with pytest.raises(IndexError, match=r"target\[0\] is 3"):
            call([1.0, 2.0], 3)
