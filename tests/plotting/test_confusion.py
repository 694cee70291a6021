"""Confusion matrices: counted, and drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softstep import Digits
from softstep.plotting import confusion_matrix, confusion_of, show_confusion


def test_counts_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for count in (2, 7, 50):
        y, predicted = rng.integers(0, count, (2, 300))
        mine = confusion_matrix(y, predicted, count)
        other = metrics.confusion_matrix(y, predicted, labels=range(count))
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == np.int64


def test_no_rows_and_any_integers() -> None:
    assert confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
    assert confusion_matrix(np.array([True, False]), np.array([1, 1], np.uint8)).tolist() == [
        [0, 1],
        [0, 1],
    ]


@pytest.mark.parametrize(
    ("y", "predicted", "count", "message"),
    [
        ([0, 1], [0], None, "y has 2 rows and predicted 1"),
        ([0, -1], [0, 0], None, r"y\[1\] is -1"),
        ([0, 1], [0, 5], 3, r"predicted\[1\] is 5; accepted: 0 to 2"),
        ([0, 1], [0, 0.5], None, "predicted holds float64"),
        ([[0]], [[0]], None, r"y holds int64 of shape \(1, 1\)"),
        ([0], [0], 0, "num_classes is 0"),
    ],
)
def test_wrong_indices(y: Any, predicted: Any, count: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(y, predicted, count)


def test_of_a_model(trained: Any, digits: Digits) -> None:
    model, history = trained
    matrix = confusion_of(model, digits)
    assert matrix.shape == (10, 10)
    assert matrix.sum() == 360
    assert matrix.trace() / 360 == history[-1].val_accuracy
    X, y = next(iter(digits.val_dataloader()))
    one = confusion_of(model, (X, y), 12)
    np.testing.assert_array_equal(one, confusion_matrix(y, model.predict(X), 12))


def test_picture() -> None:
    matrix = np.array([[6, 2, 0], [0, 0, 0], [1, 0, 9]])
    ax, bar = show_confusion(matrix, ["cat", "dog", "bird"]).axes
    shares = ax.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [0, 0, 0], [0.1, 0, 0.9]])
    written = {(text.get_position()[1], text.get_position()[0]): text for text in ax.texts}
    assert {place: text.get_text() for place, text in written.items()} == {
        (0, 0): "6", (0, 1): "2", (1, 1): "0", (2, 0): "1", (2, 2): "9"
    }  # fmt: skip
    assert written[0, 0].get_color() == "white"  # on a dark ground
    assert written[0, 1].get_color() == "black"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "bird"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert bar.get_ylabel() == "share of the true class"


def test_percentages() -> None:
    ax = show_confusion([[3, 1], [0, 2]], normalize=True).axes[0]
    assert [text.get_text() for text in ax.texts] == ["75.0", "25.0", "100.0"]


@pytest.mark.parametrize(
    ("matrix", "labels", "message"),
    [
        ([[1, 2]], None, r"matrix has the shape \(1, 2\)"),
        ([[1, -1], [0, 1]], None, "finite numbers of at least 0"),
        ([[1, np.nan], [0, 1]], None, "finite numbers of at least 0"),
        ([[1, 0], [0, 1]], ["a"], "labels has 1 names"),
    ],
)
def test_wrong_matrices(matrix: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        show_confusion(matrix, labels)
