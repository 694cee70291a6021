"""The trainer: ways through the data, history, seeds, errors, interruptions, threads."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax, Stepwise, problem, state

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
from softstep.training import fused, stepwise
from softstep.training.interrupts import uninterrupted


def small(rows: int = 10, val: bool = True, **options: Any) -> ArrayDataModule:
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    y = np.arange(rows) % 2
    held = {"x_val": x[:7], "y_val": y[:7]} if val else {}
    return ArrayDataModule(x, y, **held, **({"batch_size": 4} | options))


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


# Errors


@pytest.mark.parametrize("epochs", [0, -1, 1.5, "2", None, True])
def test_max_epochs_is_checked(epochs: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"max_epochs is .*; accepted: an integer"):
        Trainer(epochs)


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_number_of_threads_is_checked(count: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="threads is"):
        Trainer(1, threads=count)
    with pytest.raises(TypeError, match="progress is"):
        Trainer(1, progress="yes")  # type: ignore[arg-type]


def test_fit_checks_what_it_is_given() -> None:
    with pytest.raises(TypeError, match="model is a str"):
        Trainer(1).fit("model", small())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data is a int"):
        Trainer(1).fit(Mean(), 5)
    with pytest.raises(RuntimeError, match="fit_epoch is a part of fit"):
        Trainer(1).fit_epoch()

    class NoOptimizer(Mean):
        def configure_optimizers(self) -> Any:
            return None

    with pytest.raises(TypeError, match=r"configure_optimizers\(\) returned a NoneType"):
        Trainer(1).fit(NoOptimizer(), small())


def test_missing_backward_is_a_clear_error() -> None:
    class Forgetful(Mean):
        backward = Module.backward

    with pytest.raises(NotImplementedError, match="Forgetful defines no backward"):
        Trainer(1).fit(Forgetful(), small())


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_no_training_rows_is_an_error(trainer_class: Any) -> None:
    data = ArrayDataModule(np.zeros((0, 3), np.float32), np.zeros(0, int))
    with pytest.raises(ValueError, match="the training data have no rows"):
        trainer_class(1).fit(SoftmaxRegression(2, 0.1), data)


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_labels_and_features_are_checked(trainer_class: Any) -> None:
    with pytest.raises(IndexError, match="target"):
        trainer_class(1).fit(SoftmaxRegression(9, 0.1), Digits())
    model = SoftmaxRegression(10, 0.1)
    model.infer(5)
    with pytest.raises(ValueError, match="the rows have 64 features; accepted: 5"):
        trainer_class(1).fit(model, Digits())


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_a_loss_that_is_not_finite_stops_before_its_step(
    trainer_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "rows_per_call", lambda shape, batch: 2 * batch)
    x = np.ones((40, 3), np.float32)
    epoch, bad = 1, 27  # of the second epoch, the 28th row: in step 6 of 10
    first = [permutation(40, 0, e)[0:40].tolist() for e in range(2)]
    model, data = Softmax(2, 0.1), ArrayDataModule(x, np.arange(40) % 2, batch_size=4)
    model.sgd = {"momentum": 0.9}

    class Poisoning(trainer_class):  # type: ignore[misc]
        def fit_epoch(self) -> None:
            if self.epoch == epoch:
                x[first[1][bad]] = np.nan
            super().fit_epoch()

    trainer = Poisoning(3)
    with pytest.raises(FloatingPointError, match=r"step 6 of epoch 1 \(both counted from 0\)"):
        trainer.fit(model, data)
    assert trainer.fused is (trainer_class is Trainer)
    assert len(trainer.history) == 1
    # The same parameters as after the whole steps: an epoch, and 6 minibatches of the next.
    x[:] = 1
    order = np.array(first[0] + first[1][: 6 * 4])
    twin = Softmax(2, 0.1)
    twin.infer(3)
    optimizer = SGD(twin.parameters(), 0.1, momentum=0.9)
    for start in range(0, len(order), 4):
        rows = order[start : start + 4]
        optimizer.zero_grad()
        twin.backward((x[rows], rows % 2))
        optimizer.step()
    # 16 steps of lr .1 / (1 - .9), values below 2, sums of 7 terms
    bound = 2 * 16 * 7 * np.finfo(np.float32).eps * 2
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=0, atol=bound)
    for mine, theirs in zip(
        trainer.optim.momentum_buffers, optimizer.momentum_buffers, strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=10 * bound)


def test_a_first_step_that_fails_leaves_no_momentum() -> None:
    model = Softmax(2, 0.1)
    model.sgd = {"momentum": 0.9}
    trainer = Trainer(1)
    with pytest.raises(FloatingPointError, match="step 0 of epoch 0"):
        trainer.fit(model, ArrayDataModule(np.full((4, 3), np.nan, np.float32), [0, 1, 0, 1]))
    assert trainer.optim.momentum_buffers == [None, None]


# Interruptions


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_ctrl_c_leaves_a_whole_step(kind: str, trainer_class: Any) -> None:
    sgd = {"momentum": 0.9, "weight_decay": 0.01}
    model, data = problem(kind, "library", sgd)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    trainer = trainer_class(10**9)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(model, data)
    whole = len(trainer.history)
    interrupted = state(model, trainer)

    # Run again, and note the state after every step of the epoch that was interrupted.
    seen: list[bytes] = []
    twin, data = problem(kind, "library", sgd)

    class Watching(trainer_class):  # type: ignore[misc]
        def fit_epoch(self) -> None:
            if self.epoch == whole:
                seen.append(state(twin, self))
                # Fused calls of one minibatch give the same bits as longer ones.
                self._training.call_rows = data.batch_size
                self._progress.update = lambda steps: seen.append(state(twin, self))
            super().fit_epoch()

    Watching(whole + 1).fit(twin, data)
    assert len(seen) == 1 + len(data.train_dataloader())
    assert interrupted in seen


def test_a_signal_waits_for_the_end_of_a_step() -> None:
    done: list[int] = []

    def step() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done.extend(i for i in range(100_000))  # Python would have noticed it here

    with pytest.raises(KeyboardInterrupt):
        step()
    assert len(done) == 100_000
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_a_step_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), uninterrupted():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_signals_alone() -> None:
    found = []

    def run() -> None:
        with uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start(), thread.join()
    assert found == [signal.default_int_handler]


# Several at once


def test_two_trainings_of_one_model_at_once() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Waiting(Mean):
        def training_step(self, batch: Any) -> Any:
            inside.set()
            assert go_on.wait(30)
            return super().training_step(batch)

    model, trainer, data = Waiting(), Trainer(1), small()
    thread = threading.Thread(target=trainer.fit, args=(model, data))
    thread.start()
    try:
        assert inside.wait(30)
        with pytest.raises(RuntimeError, match="this Waiting is in use"):
            Trainer(1).fit(model, data)
        with pytest.raises(RuntimeError, match="this Waiting is in use"):
            evaluate(model, data)
        with pytest.raises(RuntimeError, match="this Trainer is in use"):
            trainer.fit(Mean(), data)
        Trainer(1).fit(Mean(), data)  # another model and trainer: fine
        Trainer(1).fit(SoftmaxRegression(2, 0.1), data)
    finally:
        go_on.set()
        thread.join()
    assert len(trainer.history) == 1
    Trainer(1).fit(copy.deepcopy(model), data)
    Trainer(1).fit(model, data)  # free again


def test_different_models_train_at_once() -> None:
    expected = SoftmaxRegression(10, 0.5)
    Trainer(20).fit(expected, Digits())
    models = [SoftmaxRegression(10, 0.5) for _ in range(8)]
    threads = [
        threading.Thread(target=Trainer(20, threads=1 + i % 3).fit, args=(model, Digits()))
        for i, model in enumerate(models)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {state(model) for model in models} == {state(expected)}


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
