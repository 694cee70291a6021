"""What goes wrong while a trainer works: errors, interruptions, several at once."""

from __future__ import annotations

import copy
import gc
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax, Stepwise, problem, small, state

from softstep import (
    SGD,
    ArrayDataModule,
    Digits,
    Module,
    SoftmaxRegression,
    Trainer,
    evaluate,
)
from softstep.data import permutation
from softstep.training import fused
from softstep.training.interrupts import whole_steps

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
    with pytest.raises(IndexError, match=r"target|y\["):
        trainer_class(1).fit(SoftmaxRegression(9, 0.1), Digits())
    model = SoftmaxRegression(10, 0.1)
    model.infer(5)
    with pytest.raises(ValueError, match="the rows have 64 features; accepted: 5"):
        trainer_class(1).fit(model, Digits())


@pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])
def test_a_loss_that_is_not_finite_stops_before_its_step(
    trainer_class: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "rows_per_call", lambda shapes, batch: 2 * batch)
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


@pytest.fixture
def no_gc_callbacks() -> Iterator[None]:
    """Hypothesis times garbage collections in a callback, and Python drops what a callback raises.

    A SIGINT that comes during a collection is noticed there: KeyboardInterrupt would be lost.
    """
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = callbacks


interrupts_itself = pytest.mark.usefixtures("no_gc_callbacks")


@interrupts_itself
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


@interrupts_itself
def test_a_signal_waits_for_the_end_of_a_step() -> None:
    done: list[int] = []

    def step() -> None:
        with whole_steps() as whole:
            for _ in range(3):
                with whole:
                    os.kill(os.getpid(), signal.SIGINT)
                    done.extend(i for i in range(100_000))  # Python would have noticed it here

    with pytest.raises(KeyboardInterrupt):
        step()
    assert len(done) == 100_000  # one step, and none after it
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@interrupts_itself
def test_between_steps_an_interruption_does_not_wait() -> None:
    def steps() -> None:
        with whole_steps() as whole:
            with whole:
                pass
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("the interruption has waited")

    with pytest.raises(KeyboardInterrupt):
        steps()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_a_step_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), whole_steps() as whole, whole:
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_leave_signals_alone() -> None:
    found = []

    def run() -> None:
        with whole_steps() as whole, whole:
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
