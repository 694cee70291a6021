"""Curves of functions, of trainings, and of several learning rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from softstep import EpochRecord, SoftmaxRegression, Trainer
from softstep.plotting import plot, plot_history, plot_learning_rates


def curves(ax: Axes) -> dict[str, list[tuple[float, float]]]:
    """The points of each curve, under the name in the legend."""
    return {str(line.get_label()): list(zip(*line.get_data(), strict=True)) for line in ax.lines}


def record(epoch: int, loss: float, val: float | None = None) -> EpochRecord:
    return EpochRecord(epoch, loss, None, val, None, 1.0, 1.0)


# Functions


def test_plot_takes_what_the_book_gives() -> None:
    x = np.arange(3.0)
    for X, Y in (
        (x, [x, 2 * x]), (x, np.stack([x, 2 * x])), ([x, x], [x, 2 * x]), ([x, 2 * x], None)
    ):  # fmt: skip
        (ax,) = plot(X, Y, "a", "b", legend=["one", "two"], xscale="linear").axes
        assert curves(ax) == {"one": list(zip(x, x, strict=True)),
                              "two": list(zip(x, 2 * x, strict=True))}  # fmt: skip
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("a", "b")
        assert [text.get_text() for text in ax.get_legend().texts] == ["one", "two"]


def test_plot_sets_axes() -> None:
    (ax,) = plot([1, 10], [1, 100], xlim=(1, 20), ylim=(1, 200), xscale="log", yscale="log").axes
    assert (ax.get_xlim(), ax.get_ylim()) == ((1, 20), (1, 200))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_legend() is None


def test_one_point_is_seen() -> None:
    (ax,) = plot([1], [2]).axes
    assert ax.lines[0].get_marker() not in ("", "None", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2, 3]), r"X has curves of \[2\] points and Y of \[3\]"),
        (([],), "X holds"),
        ((["a", "b"],), "X holds"),
        (([1, 2], [1, 2], "", "", ["a", "b"]), "legend has 2 names; accepted: one for each of 1"),
        (([1, 2], None, "", "", (), None, None, "cubic"), "xscale is 'cubic'"),
    ],
)
def test_wrong_curves(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot(*arguments)


# Trainings


def test_history_of_a_training(trained: Any) -> None:
    _, history = trained
    loss, accuracy = plot_history(history, title="digits").axes
    epochs = [1, 2, 3, 4, 5]
    for ax, kind in ((loss, "loss"), (accuracy, "accuracy")):
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", kind)
        found = curves(ax)
        for part, name in (("train", "training"), ("val", "validation")):
            values = [getattr(one, f"{part}_{kind}") for one in history]
            assert found[name] == list(zip(epochs, values, strict=True))
        assert all(tick == int(tick) for tick in ax.get_xticks())
        assert ax.get_xlim()[0] > 0  # no epoch 0


def test_history_as_dictionaries_is_the_same(trained: Any) -> None:
    _, history = trained
    first, second = plot_history(history), plot_history([one.as_dict() for one in history])
    for mine, other in zip(first.axes, second.axes, strict=True):
        assert curves(mine) == curves(other)


def test_history_names_the_rows(trained: Any) -> None:
    _, history = trained
    for ax in plot_history(history, held_out="test").axes:
        assert list(curves(ax)) == ["training", "test"]
    with pytest.raises(TypeError, match="held_out is a bool; accepted: a string"):
        plot_history(history, held_out=True)  # type: ignore[arg-type]


def test_history_leaves_out_what_was_not_measured() -> None:
    """No validation, no accuracy, one epoch: one picture with one visible point."""
    (ax,) = plot_history([record(0, 0.5)]).axes
    assert curves(ax) == {"training": [(1, 0.5)]}
    assert ax.lines[0].get_marker() == "o"
    (ax,) = plot_history([record(0, 2.0, 3.0), record(1, 1.0), record(2, 0.5, 0.7)]).axes
    assert curves(ax)["validation"] == [(1, 3.0), (3, 0.7)]


def test_history_with_values_that_are_not_finite() -> None:
    (ax,) = plot_history([record(0, 2.0), record(1, float("inf")), record(2, 1.0)]).axes
    values = np.array(ax.lines[0].get_ydata(), float)
    np.testing.assert_array_equal(values, [2.0, np.nan, 1.0])


def test_long_histories_have_no_markers() -> None:
    (ax,) = plot_history([record(i, 1 / (i + 1)) for i in range(100)], yscale="log").axes
    assert ax.lines[0].get_marker() == "None"
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize(
    ("history", "kind", "message"),
    [
        ([], ValueError, "history has no epochs"),
        ("text", TypeError, "history is a str"),
        ({"history": []}, TypeError, "history is a dict"),
        (3, TypeError, "history is a int"),
        ([1, 2], TypeError, r"history\[0\] is a int"),
        ([{"train_loss": "low"}], ValueError, r"history\[0\] has the train_loss 'low'"),
        ([{"train_loss": True}], ValueError, r"history\[0\] has the train_loss True"),
        ([{"train_loss": 1.0, "epoch": 1.5}], ValueError, "the epoch 1.5"),
        ([{"seconds": 1.0}], ValueError, "without a loss or an accuracy"),
    ],
)
def test_wrong_histories(history: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        plot_history(history)


# Learning rates


def test_learning_rates(digits: Any) -> None:
    rates = (0.01, 0.1, 1.0)
    histories = {
        lr: Trainer(max_epochs=3, progress=False).fit(SoftmaxRegression(10, lr), digits)
        for lr in rates
    }
    (ax,) = plot_learning_rates(histories).axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "validation loss")
    assert curves(ax) == {
        f"{lr:g}": [(one.epoch + 1, one.val_loss) for one in histories[lr]] for lr in rates
    }
    assert ax.get_legend().get_title().get_text() == "learning rate"
    (ax,) = plot_learning_rates(histories, "train_accuracy").axes
    assert ax.get_ylabel() == "training accuracy"


def test_a_training_that_diverged_says_so() -> None:
    good = [record(i, 2.0 / (i + 1)) for i in range(5)]
    (ax,) = plot_learning_rates({0.1: good, 10.0: good[:2], 100.0: []}).axes
    assert list(curves(ax)) == ["0.1", "10\n(stopped after 2)", "100\n(stopped after 0)"]
    assert ax.get_ylabel() == "training loss"


def test_wide_losses_are_logarithmic() -> None:
    (ax,) = plot_learning_rates({"a": [record(0, 1.0)], "b": [record(0, 1e5)]}).axes
    assert ax.get_yscale() == "log"
    assert ax.get_legend().get_title().get_text() == ""
    (ax,) = plot_learning_rates({"a": [record(0, 1.0)], "b": [record(0, 2.0)]}).axes
    assert ax.get_yscale() == "linear"


def test_wrong_comparisons() -> None:
    with pytest.raises(ValueError, match=r"histories is \{\}"):
        plot_learning_rates({})
    with pytest.raises(ValueError, match="value is 'loss'; accepted: train_loss"):
        plot_learning_rates({0.1: [record(0, 1.0)]}, "loss")
    with pytest.raises(ValueError, match="no history has a val_accuracy"):
        plot_learning_rates({0.1: [record(0, 1.0)]}, "val_accuracy")
