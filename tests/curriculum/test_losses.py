"""The course material's section on losses, row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softstep import losses
from softstep.numerical import numerical_gradient

Y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
SWAPPED = Y[[0, 1, 7, 3, 4, 5, 6, 2, 8, 9]]
T = np.eye(10)[2]


@pytest.mark.curriculum("losses", "sum of squares")
def test_sum_of_squares() -> None:
    """Sum of squares, 0.5 sum((y - t)^2): 0.0975; with .6 and .1 swapped 0.5975."""
    assert losses.sum_squares_error(Y, T) == pytest.approx(0.0975, abs=1e-15)
    assert losses.sum_squares_error(SWAPPED, T) == pytest.approx(0.5975, abs=1e-15)


@pytest.mark.curriculum("losses", "mean squared error, with and without 1/2")
def test_mean_squared_error_with_and_without_the_half(rng: np.random.Generator) -> None:
    """Mean squared error, with and without the factor 1/2."""
    y, t = rng.normal(size=(2, 32, 1))
    mean = np.mean((y - t) ** 2)
    assert losses.squared_error(y, t) == pytest.approx(mean / 2)
    assert losses.squared_error(y, t, half=False) == pytest.approx(mean)
    assert losses.mse_loss(y, t) == pytest.approx(mean)


@pytest.mark.curriculum("losses", "cross-entropy of probabilities")
def test_cross_entropy_of_probabilities() -> None:
    """Cross-entropy of probabilities with delta 1e-7: 0.510825457, 2.302584093."""
    assert losses.cross_entropy_error(Y, T) == pytest.approx(0.510825457, abs=5e-10)
    assert losses.cross_entropy_error(SWAPPED, T) == pytest.approx(2.302584093, abs=5e-10)


@pytest.mark.curriculum("losses", "batched, one-hot or index targets")
def test_batches() -> None:
    """Batched, one-hot or index targets, same answer: 1.4979."""
    y = np.array([[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]])
    by_index = losses.cross_entropy_error(y, np.array([0, 2]))
    assert by_index == pytest.approx(1.4979, abs=5e-5)
    assert losses.cross_entropy_error(y, np.array([[1, 0, 0], [0, 0, 1]])) == by_index


@pytest.mark.curriculum("losses", "cross-entropy of logits")
def test_cross_entropy_of_logits(rng: np.random.Generator) -> None:
    """Cross-entropy of logits: finite for logits of +-1e4; gradient = softmax - target."""
    assert losses.cross_entropy([1e4, -1e4], 0) == 0
    assert losses.cross_entropy([1e4, -1e4], 1) == 2e4
    logits, labels = rng.normal(0, 3, (5, 4)), rng.integers(0, 4, 5)
    loss, gradient = losses.cross_entropy_with_grad(logits, labels, reduction="sum")
    expected = losses.softmax(logits) - np.eye(4)[labels]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-15)
    numeric = numerical_gradient(lambda x: losses.cross_entropy(x, labels, reduction="sum"), logits)
    # h^2 / 6 times a third derivative below 1, and 2^-53 / h times a loss
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-8 / 6 + 1.2e-12 * loss)


@pytest.mark.curriculum("losses", "binary cross-entropy")
def test_binary_cross_entropy(rng: np.random.Generator) -> None:
    """Binary cross-entropy from probabilities and from logits; multi-label targets."""
    logits = rng.normal(0, 2, (6, 4))
    labels = rng.integers(0, 2, (6, 4))
    labels[0] = [1, 1, 0, 1]  # a row may have several labels
    by_logits = losses.binary_cross_entropy_with_logits(logits, labels)
    by_probabilities = losses.binary_cross_entropy(losses.sigmoid(logits), labels)
    assert by_probabilities == pytest.approx(by_logits, rel=1e-13)
    p = losses.sigmoid(logits)
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    assert by_probabilities == pytest.approx(expected, rel=1e-13)
    assert losses.binary_cross_entropy_with_logits([-1e4, 1e4], [1, 0]) == 1e4


@pytest.mark.curriculum("losses", "log-likelihood, negative log-likelihood, perplexity")
def test_likelihood() -> None:
    """Log-likelihood, negative log-likelihood, perplexity = exp(NLL)."""
    p, t = [[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [0, 1]
    assert losses.log_likelihood(p, t) == pytest.approx(np.log(0.5 * 0.8))
    assert losses.negative_log_likelihood(p, t) == pytest.approx(-np.log(0.5 * 0.8) / 2)
    assert losses.perplexity(p, t) == np.exp(losses.negative_log_likelihood(p, t))
    logits = np.log(p)
    nll = losses.negative_log_likelihood(logits, t, from_logits=True)
    assert nll == pytest.approx(losses.cross_entropy(logits, t), rel=0)
    assert nll == pytest.approx(losses.negative_log_likelihood(p, t), rel=1e-14)


@pytest.mark.curriculum("losses", "book names")
def test_book_names() -> None:
    """The book's mean_squared_error(y, t), cross_entropy_error(y, t), softmax(x): row or batch."""
    assert losses.mean_squared_error(Y, T) == pytest.approx(0.0975, abs=1e-15)
    assert losses.mean_squared_error(SWAPPED, T) == pytest.approx(0.5975, abs=1e-15)
    batch = np.stack([Y, SWAPPED])
    assert losses.mean_squared_error(batch, np.stack([T, T])) == pytest.approx(0.695, abs=1e-15)
    assert losses.cross_entropy_error(batch, [2, 2]) == pytest.approx(
        (0.510825457 + 2.302584093) / 2, abs=1e-9
    )
    row = losses.softmax(np.array([0.3, 2.9, 4.0]))
    np.testing.assert_allclose(row, [0.01821127, 0.24519181, 0.73659691], atol=5e-9)
    both = losses.softmax(np.array([[0.3, 2.9, 4.0], [1010.0, 1000.0, 990.0]]))
    np.testing.assert_array_equal(both[0], row)
    np.testing.assert_allclose(both[1], [9.99954600e-01, 4.53978686e-05, 2.06106005e-09], 1e-8)


@pytest.mark.curriculum("losses", "softmax facts")
def test_softmax_of_two_is_the_sigmoid_of_the_difference(rng: np.random.Generator) -> None:
    """Two classes = sigmoid of the difference."""
    z = rng.normal(0, 3, (100, 2))
    np.testing.assert_allclose(losses.softmax(z)[:, 0], losses.sigmoid(z[:, 0] - z[:, 1]), 4e-15)


@pytest.mark.curriculum("losses", "softmax facts")
def test_softmax_keeps_the_order(rng: np.random.Generator) -> None:
    """Softmax keeps the order."""
    z = rng.normal(0, 3, (100, 10))
    np.testing.assert_array_equal(losses.softmax(z).argsort(axis=1), z.argsort(axis=1))


@pytest.mark.curriculum("losses", "softmax facts")
def test_softmax_ignores_a_common_shift(rng: np.random.Generator) -> None:
    """Unchanged by a common shift, to the bit where the shift is exact."""
    z = rng.integers(-1000, 1000, (100, 10)) / 64
    np.testing.assert_array_equal(losses.softmax(z + 512), losses.softmax(z))
    np.testing.assert_array_equal(losses.softmax(z - 1e6), losses.softmax(z))


@pytest.mark.curriculum("losses", "softmax facts")
def test_softmax_temperature(rng: np.random.Generator) -> None:
    """Temperature: high makes it uniform, low picks the maximum."""
    z = rng.permuted(np.tile(np.arange(5.0), (20, 1)), axis=1)
    np.testing.assert_allclose(losses.softmax(z, temperature=1e9), 1 / 5, rtol=5e-9)
    np.testing.assert_allclose(losses.softmax(z, temperature=1e-2), z == 4, atol=1e-40)
    np.testing.assert_allclose(losses.softmax(z, temperature=2.5), losses.softmax(z / 2.5), 1e-14)
    sharpness = [losses.softmax(z, temperature=t).max() for t in (0.5, 1.0, 2.0, 4.0)]
    assert sharpness == sorted(sharpness, reverse=True)


@pytest.mark.curriculum("losses", "softmax facts")
def test_softmax_has_linear_decision_boundaries(rng: np.random.Generator) -> None:
    """Where two classes are equally likely is a straight line; regions are convex."""
    weight, bias = rng.normal(size=(2, 2)), rng.normal(size=2)
    across = weight[0] - weight[1]
    offset = bias[0] - bias[1]
    foot = -offset * across / (across @ across)
    along = np.array([-across[1], across[0]])
    line = foot + np.linspace(-5, 5, 101)[:, None] * along
    p = losses.softmax(line @ weight.T + bias)
    np.testing.assert_allclose(p, 0.5, atol=1e-13)
    aside = losses.softmax((line + 0.1 * across) @ weight.T + bias)
    assert (aside[:, 0] > 0.5).all()
    # Of more classes: regions are convex, so a point between two of one class is of that class.
    weight, bias = rng.normal(size=(5, 2)), rng.normal(size=5)
    points = rng.normal(0, 3, (4000, 2))
    classes = losses.softmax(points @ weight.T + bias).argmax(axis=1)
    first, second = points[:2000], points[2000:]
    same = classes[:2000] == classes[2000:]
    assert same.sum() > 200
    middle = losses.softmax((first + second)[same] / 2 @ weight.T + bias).argmax(axis=1)
    np.testing.assert_array_equal(middle, classes[:2000][same])


@pytest.mark.curriculum("losses", "softmax facts")
def test_picture_of_linear_decision_boundaries(rng: np.random.Generator, tmp_path: Path) -> None:
    """A picture: the drawn boundaries are where the two largest logits are equal."""
    from softstep import ArrayDataModule, SoftmaxRegression, Trainer
    from softstep.plotting import decision_boundaries

    y = rng.integers(0, 3, 300)
    x = (rng.normal(size=(300, 2)) + 4 * np.array([[1, 0], [-1, 1], [-1, -1]])[y]).astype("f4")
    model = SoftmaxRegression(num_outputs=3, lr=0.1)
    Trainer(max_epochs=10).fit(model, ArrayDataModule(x, y))
    figure = decision_boundaries(model, x, y)
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_0$", "$x_1$")
    lines = [part for part in ax.collections if not len(part.get_facecolor())]
    on_lines = np.concatenate([path.vertices for line in lines for path in line.get_paths()])
    assert len(on_lines) > 200
    logits = np.sort(model(on_lines.astype(np.float32)), axis=1)
    assert np.median(logits[:, 2] - logits[:, 1]) < 1e-3
    # Interpolated between points of a grid: exact but where three classes meet.
    assert (logits[:, 2] - logits[:, 1]).max() < 0.5
    figure.savefig(tmp_path / "boundaries.png")
    assert (tmp_path / "boundaries.png").stat().st_size > 5000
