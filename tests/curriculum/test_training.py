"""The course material's section on models and training, row by row: what a trainer does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep import (
    SGD,
    Digits,
    EarlyStopping,
    LinearRegression,
    Module,
    Parameter,
    ProgressBoard,
    ProgressPlot,
    SoftmaxRegression,
    SyntheticRegressionData,
    Trainer,
    compare_learning_rates,
    evaluate,
)

row = pytest.mark.curriculum


class Slope(Module):
    """y = w x, learned by the rules of the book; plots its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.w = 0.1, Parameter(np.zeros(1))

    def forward(self, x: Any) -> Any:
        return x * self.w.data

    def loss(self, y_hat: Any, y: Any) -> Any:
        return float(((y_hat - y) ** 2).mean() / 2)

    def backward(self, batch: Any) -> None:
        x, y = batch
        self.w.accumulate(((self(x) - y) * x).mean(axis=0))


class Batches:
    """Training batches, and no others."""

    def __init__(self, count: int) -> None:
        x = np.linspace(1, 2, 4).reshape(-1, 1)
        self.batches = [(x, 3 * x)] * count

    def train_dataloader(self) -> Any:
        return self.batches

    def val_dataloader(self) -> Any:
        return None


@row("training", "Trainer")
def test_trainer() -> None:
    """Trainer(max_epochs, gradient_clip_val=0): fit, fit_epoch, prepare_batch; no validation loader
    is fine; one trainer serves several models."""
    called = []

    class Doubling(Trainer):
        def fit_epoch(self) -> None:
            called.append("fit_epoch")
            super().fit_epoch()

        def prepare_batch(self, batch: Any) -> Any:
            called.append("prepare_batch")
            x, y = batch
            return x, 2 * y

    trainer = Doubling(max_epochs=30)
    first, second = Slope(), Slope()
    for model in (first, second):
        history = trainer.fit(model, Batches(2))
        assert len(history) == 30
        assert history[-1].val_loss is None
        # each step leaves 1 - lr * mean(x^2) of the error; the slope is 3, doubled 6
        left = 1 - 0.1 * (np.linspace(1, 2, 4) ** 2).mean()
        assert model.w.data[0] == pytest.approx(6 * (1 - left**60), abs=1e-12)
    assert called[:3] == ["fit_epoch", "prepare_batch", "prepare_batch"]
    assert (called.count("fit_epoch"), called.count("prepare_batch")) == (60, 120)

    # Clipped to a norm of 0.5, each of the first steps moves by 0.1 * 0.5.
    clipped = Slope()
    Trainer(max_epochs=1, gradient_clip_val=0.5).fit(clipped, Batches(4))
    assert clipped.w.data[0] == pytest.approx(4 * 0.1 * 0.5, rel=1e-5)
    # and the library's models, in native calls
    model = SoftmaxRegression(10, lr=1.0)
    trainer = Trainer(max_epochs=1, gradient_clip_val=1e-3)
    trainer.fit(model, Digits(val=False))
    assert trainer.fused
    moved = model.bias.data.astype(np.float64)
    assert 0 < np.linalg.norm(moved) <= trainer.step * 1e-3 * (1 + 1e-3)


@row("training", "ProgressBoard and plot")
def test_progress_board(tmp_path: Path) -> None:
    """ProgressBoard / plot: draws when asked, keeps its points when display=False, works headless;
    also when an epoch has one batch, where the book draws nothing."""

    class Plotting(Slope):
        def __init__(self) -> None:
            super().__init__()
            self.board = ProgressBoard(xlabel="epoch", display=False)

        def training_step(self, batch: Any) -> Any:
            loss = super().training_step(batch)
            self.plot("loss", loss, train=True)
            return loss

    for batches in (1, 4):
        model = Plotting()
        Trainer(max_epochs=3).fit(model, Batches(batches))
        points = model.board.data["train_loss"]
        assert len(points) >= 3
        assert all(0 <= point.x <= 3 for point in points)
        assert points[-1].y < points[0].y
        picture = tmp_path / f"{batches}.png"
        model.board.save(picture)
        assert picture.read_bytes()[:4] == b"\x89PNG"
    # For library models a callback draws, and native calls stay.
    board = ProgressBoard(xlabel="epoch", display=False, save=tmp_path / "softmax.svg")
    trainer = Trainer(max_epochs=3, callbacks=[ProgressPlot(board)])
    trainer.fit(SoftmaxRegression(10, lr=0.5), Digits())
    assert trainer.fused
    assert {label: len(points) for label, points in board.data.items()} == {
        "train_loss": 3, "val_loss": 3, "val_accuracy": 3
    }  # fmt: skip
    assert (tmp_path / "softmax.svg").is_file()


@row("training", "SGD")
def test_sgd() -> None:
    """SGD(params, lr) with step, zero_grad."""
    w, b = Parameter(np.array([1.0, -2.0])), Parameter(np.array([0.5]))
    optimizer = SGD([w, b], lr=0.1)
    w.grad, b.grad = np.array([10.0, 20.0]), np.array([-5.0])
    optimizer.step()
    np.testing.assert_allclose(w.data, [0.0, -4.0], atol=1e-15)
    np.testing.assert_allclose(b.data, [1.0], atol=1e-15)
    optimizer.zero_grad()
    assert w.grad is b.grad is None
    optimizer.step()  # nothing to go by
    np.testing.assert_allclose(w.data, [0.0, -4.0], atol=1e-15)


@row("training", "early stopping and learning-rate comparison")
def test_early_stopping_watches_rows_held_out_from_training() -> None:
    """Early stopping when validation accuracy falls; the test rows are read once, at the end."""
    data = Digits(val_size=137)
    stopping = EarlyStopping("val_accuracy", patience=3)
    model = SoftmaxRegression(10, lr=40.0)  # so large a rate that the accuracy falls, too
    trainer = Trainer(max_epochs=500, callbacks=[stopping])
    history = trainer.fit(model, data)
    values = [record.val_accuracy for record in history]
    assert len(history) < 500
    assert stopping.best == max(v for v in values if v is not None)
    assert stopping.best_epoch == values.index(stopping.best) == len(values) - 1 - 3
    assert any(v is not None and v < stopping.best for v in values[stopping.best_epoch :])
    assert evaluate(model, data).accuracy == stopping.best  # its parameters are back
    assert "test" not in vars(data)  # nobody has asked for the test rows yet
    found = evaluate(model, data.on_test())
    assert found.rows == 360
    assert found.accuracy is not None
    assert found.accuracy > 0.8


@row("training", "early stopping and learning-rate comparison")
def test_learning_rates_on_one_picture(tmp_path: Path) -> None:
    """Learning-rate comparison on one picture; one that is too large diverges."""
    from softstep.plotting import plot_learning_rates

    data = SyntheticRegressionData(w=[2, -3.4], b=4.2)
    rates = [0.001, 0.03, 3.0]
    found = compare_learning_rates(lambda lr: LinearRegression(lr), data, rates, max_epochs=3)
    assert list(found) == rates
    slow, good = (found[lr][-1].val_loss for lr in rates[:2])
    assert slow is not None
    assert good is not None
    assert good < 0.01 < slow
    lost = found[3.0]
    assert len(lost) < 3 or lost[-1].train_loss > 1e3
    figure = plot_learning_rates(found)
    path = tmp_path / "rates.png"
    figure.savefig(path)
    assert path.stat().st_size > 5000
    assert [t.get_text()[:5] for t in figure.axes[0].get_legend().texts][:2] == ["0.001", "0.03"]
