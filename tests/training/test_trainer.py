"""The trainer: ways through the data, history, seeds, progress."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Stepwise, small, state

from softstep import (
    SGD,
    ArrayDataModule,
    DataModule,
    Digits,
    LinearRegression,
    Module,
    Parameter,
    SoftmaxRegression,
    SyntheticRegressionData,
    Trainer,
    evaluate,
)
from softstep.data import permutation
from softstep.training import stepwise

# Which way


class OwnLoss(SoftmaxRegression):
    def loss(self, y_hat: Any, y: Any, averaged: bool = True) -> Any:
        return super().loss(y_hat, y, averaged)


class OwnName(SoftmaxRegression):
    def describe(self) -> str:
        return "nothing that training calls"


class MoreParameters(SoftmaxRegression):
    def __init__(self, num_outputs: int, lr: float) -> None:
        super().__init__(num_outputs, lr)
        self.more = Parameter(np.zeros(1, np.float32))


class OwnSGD(SGD):
    pass


class OwnOptimizer(SoftmaxRegression):
    def configure_optimizers(self) -> Any:
        return OwnSGD(self.parameters(), self.lr)


class BiasOnly(SoftmaxRegression):
    def configure_optimizers(self) -> Any:
        return SGD([self.bias], self.lr)


@pytest.mark.parametrize(
    ("model_class", "is_fused"),
    [
        (SoftmaxRegression, True), (OwnName, True), (OwnLoss, False), (MoreParameters, False),
        (OwnOptimizer, False), (BiasOnly, False),
    ],
)  # fmt: skip
def test_the_fused_path_stands_for_unchanged_models_only(model_class: Any, is_fused: bool) -> None:
    trainer = Trainer(1)
    trainer.fit(model_class(2, 0.1), small())
    assert trainer.fused is is_fused


def test_a_replaced_method_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(self: Any, batch: Any) -> Any:
        calls.append(len(batch[1]))
        return Module.training_step(self, batch)

    model, trainer = SoftmaxRegression(2, 0.1), Trainer(1)
    model.training_step = types.MethodType(counted, model)  # type: ignore[method-assign]
    trainer.fit(model, small())
    assert calls == [4, 4, 2]
    monkeypatch.setattr(SoftmaxRegression, "training_step", counted)
    trainer.fit(SoftmaxRegression(2, 0.1), small())
    assert calls == [4, 4, 2] * 2


def test_data_with_loaders_only_are_trained_on_step_by_step() -> None:
    class Loaders(DataModule):
        def get_dataloader(self, train: bool) -> Any:
            x = np.eye(4, dtype=np.float32)
            return self.get_tensorloader((x, np.arange(4)), train)

    trainer = Trainer(2)
    trainer.fit(SoftmaxRegression(4, 0.1), Loaders(batch_size=2))
    assert not trainer.fused


def test_any_object_with_loaders_will_do() -> None:
    batches = [(np.ones((3, 2)), np.array([1, 0, 1])), (np.zeros((1, 2)), np.array([0]))]
    data = types.SimpleNamespace(
        train_dataloader=lambda: iter(batches), val_dataloader=lambda: None
    )
    history = Trainer(1).fit(SoftmaxRegression(2, 0.1), data)
    assert history[0].val_loss is None


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_the_order_is_the_permutation_of_the_epoch(trainer_class: Any) -> None:
    x = np.eye(6, dtype=np.float64)
    y = np.zeros((6, 1))
    y[:, 0] = np.arange(6)
    model = LinearRegression(0.5, dtype=np.float64)
    trainer_class(2).fit(model, ArrayDataModule(x, y, batch_size=1, seed=9))
    twin = LinearRegression(0.5, dtype=np.float64)
    twin.infer(6)
    for epoch in range(2):
        for row in permutation(6, 9, epoch):
            error = twin.weight.data[0, row] + twin.bias.data[0] - row
            twin.weight.data[0, row] -= 0.5 * 2 * error
            twin.bias.data -= 0.5 * 2 * error
    # lr 1/2 on one-hot rows: values stay below 6 * 2**12, with a rounding or two each of 12 steps
    np.testing.assert_allclose(model.weight, twin.weight, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(model.bias, twin.bias, rtol=1e-12, atol=1e-10)


# History


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_means_are_weighted_by_rows(trainer_class: Any) -> None:
    data = small()
    model = SoftmaxRegression(2, 0.0)  # does not learn: every epoch sees the same losses
    history = trainer_class(2).fit(model, data)
    x, y = data.train[:]
    losses = model.loss(model(x), y, averaged=False).astype(np.float64)
    hits = model.accuracy(model(x), y, averaged=False)
    bound = 8 * float(np.finfo(np.float32).eps)
    for record in history:
        assert abs(record.train_loss - losses.mean()) <= bound
        assert record.val_loss is not None
        assert abs(record.val_loss - losses[:7].mean()) <= bound
        assert record.val_accuracy == pytest.approx(hits[:7].mean(), rel=bound)
        assert record.seconds > 0
        assert record.rows_per_second > 0
    assert [record.epoch for record in history] == [0, 1]


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_no_validation_set_is_fine(trainer_class: Any) -> None:
    (record,) = trainer_class(1).fit(SoftmaxRegression(2, 0.1), small(val=False))
    assert record.val_loss is record.val_accuracy is None
    (record,) = trainer_class(1).fit(SoftmaxRegression(10, 0.1), Digits(val=False))
    assert record.as_dict()["val_loss"] is None


def test_one_trainer_serves_several_models() -> None:
    trainer = Trainer(3)
    first = trainer.fit(SoftmaxRegression(10, 0.5), Digits())
    second = trainer.fit(LinearRegression(0.03), SyntheticRegressionData([1.0], 0.5))
    third = trainer.fit(SoftmaxRegression(10, 0.5), Digits())
    assert trainer.history is third
    assert len(first) == len(second) == len(third) == 3
    assert [r.train_loss for r in first] == [r.train_loss for r in third]
    assert trainer.model is not None
    assert trainer.epoch == 3
    again = pickle.loads(pickle.dumps(trainer))
    assert again.history == trainer.history


def test_steps_may_return_what_the_book_lets_them_return() -> None:
    class Quiet(Mean):
        def validation_step(self, batch: Any) -> Any:
            return None

    class Number(Mean):
        def validation_step(self, batch: Any) -> Any:
            return np.float32(len(batch[1]))

    class Wrong(Mean):
        def training_step(self, batch: Any) -> Any:
            return None

    data = small()
    assert Trainer(1).fit(Quiet(), data)[0].val_loss is None
    assert Trainer(1).fit(Number(), data)[0].val_loss == (4 * 4 + 3 * 3) / 7
    with pytest.raises(TypeError, match="training_step returned None; accepted: the loss"):
        Trainer(1).fit(Wrong(), data)


def test_training_flag() -> None:
    seen = []

    class Watching(Mean):
        def training_step(self, batch: Any) -> Any:
            seen.append(self.training)
            return super().training_step(batch)

        def validation_step(self, batch: Any) -> Any:
            seen.append(self.training)
            return super().validation_step(batch)

    Trainer(1).fit(Watching(), small())
    assert seen == [True, True, True, False, False]


def test_a_trainer_may_hook_into_epochs_and_batches() -> None:
    class Halving(Trainer):
        def fit_epoch(self) -> None:
            super().fit_epoch()
            self.optim.lr /= 2

    trainer = Halving(3)
    trainer.fit(SoftmaxRegression(10, 0.8), Digits())
    assert trainer.fused
    assert trainer.optim.lr == 0.1


def test_evaluate() -> None:
    model, data = SoftmaxRegression(10, 0.5), Digits()
    with pytest.raises(RuntimeError, match="has seen no data"):
        evaluate(model, data)
    last = Trainer(2).fit(model, data)[-1]
    model.eval()
    found = evaluate(model, data, threads=2)
    assert (found.mean_loss, found.accuracy, found.rows) == (last.val_loss, last.val_accuracy, 360)
    assert not model.training
    assert model.threads is None
    with pytest.raises(ValueError, match="no validation data"):
        evaluate(model, Digits(val=False))
    with pytest.raises(ValueError, match="the rows have 3 features; accepted: 64"):
        evaluate(model, small())


# Seeds


def test_seeds_shuffle_and_initialise() -> None:
    def train(model_seed: int, data_seed: int) -> bytes:
        model = SoftmaxRegression(10, 0.5, seed=model_seed)
        Trainer(1).fit(model, Digits(seed=data_seed))
        return state(model)

    assert train(0, 0) == train(0, 0)
    assert len({train(0, 0), train(1, 0), train(0, 1), train(1, 1)}) == 4


# Progress


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_progress_is_quiet_without_a_terminal(
    capfd: pytest.CaptureFixture[str], trainer_class: Any
) -> None:
    trainer_class(2).fit(SoftmaxRegression(10, 0.5), Digits())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_progress_bar(capsys: pytest.CaptureFixture[str], trainer_class: Any) -> None:
    trainer_class(2, progress=True).fit(SoftmaxRegression(10, 0.5), Digits(batch_size=100))
    out, err = capsys.readouterr()
    assert out == ""
    assert "30/30" in err  # steps
    assert "val_accuracy" in err


def test_progress_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Trainer(1).fit(SoftmaxRegression(10, 0.5), Digits())
    assert "step" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stderr", None)  # as in a program without a console
    Trainer(1).fit(SoftmaxRegression(10, 0.5), Digits())


def test_measures_accept_numbers_and_dictionaries() -> None:
    assert stepwise.measures("s", np.float32(2)) == {"loss": 2.0}
    assert stepwise.measures("s", {"loss": 1, "accuracy": 0.5, "x": 1}) == {
        "loss": 1.0,
        "accuracy": 0.5,
    }
    for wrong in ("a", {}, None, {"accuracy": 1}):
        with pytest.raises(TypeError, match="s returned"):
            stepwise.measures("s", wrong)
