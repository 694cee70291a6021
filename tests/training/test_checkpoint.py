"""Checkpoints: a training that goes on gives the bits of one that never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax0, Stepwise, problem, small

import softstep
from softstep import (
    MLP,
    Callback,
    Checkpoint,
    CheckpointError,
    CosineLR,
    Digits,
    EarlyStopping,
    EpochRecord,
    LearningRateSchedule,
    Module,
    ProgressBoard,
    ProgressPlot,
    SoftmaxRegression,
    Trainer,
    WarmUp,
)
from softstep.training import fused, resuming

BOTH_WAYS = pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])


def everything(model: Any, trainer: Any) -> tuple[Any, ...]:
    """Bytes and numbers that two equal trainings have in common."""
    state = resuming.collect(trainer, model)
    arrays = [(name, array.tobytes()) for name, array in state["parameters"].items()]
    kept = [
        (name, [None if a is None else a.tobytes() for a in arrays])
        for name, arrays in trainer.optim.state.items()
    ]
    losses = [
        (r.epoch, r.train_loss, r.train_accuracy, r.val_loss, r.val_accuracy)
        for r in trainer.history
    ]
    steps = getattr(trainer.optim, "steps", None)
    counts = (trainer.epoch, trainer.step, trainer.epoch_step)
    return arrays, kept, repr(losses), steps, trainer.optim.settings(), counts


class CrashError(Exception):
    pass


class Crashing(Callback):
    """Stops a training before a step, as if the machine had."""

    every_steps = 1

    def __init__(self, step: int) -> None:
        self.at = step

    def on_step_begin(self, trainer: Trainer) -> None:
        if trainer.step == self.at:
            raise CrashError


RULES = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rule", RULES)
def test_two_epochs_and_two_more_are_four(
    tmp_path: Path, trainer_class: Any, kind: str, rule: str
) -> None:
    path = tmp_path / "training"

    def make(epochs: int) -> Any:
        model, data = problem(kind, "library", {})
        return trainer_class(epochs, optimizer=rule), model, data

    trainer, model, data = make(4)
    trainer.fit(model, data)
    expected = everything(model, trainer)

    trainer, model, data = make(2)
    trainer.fit(model, data)
    trainer.save_checkpoint(path)
    trainer, model, data = make(4)
    history = trainer.fit(model, data, resume=path)
    assert everything(model, trainer) == expected
    assert [r.epoch for r in history] == [0, 1, 2, 3]
    assert trainer.fused is (trainer_class is Trainer)


@BOTH_WAYS
@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("crash", [1, 14, 15, 16, 29, 37, 44])  # 15 steps an epoch
def test_a_training_saved_in_the_midst_of_an_epoch(
    tmp_path: Path, trainer_class: Any, rule: str, crash: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "rows_per_call", lambda shapes, batch: 4 * batch)
    path = tmp_path / "training"

    def make(*more: Callback) -> Any:
        model, data = problem("softmax", "library", {})
        rates = LearningRateSchedule(WarmUp(CosineLR(0.2, 40), 5), per="step")
        callbacks = [*more, Checkpoint(path, every_steps=7), rates]
        return trainer_class(3, 1.0, callbacks, optimizer=rule), model, data

    trainer, model, data = make()
    trainer.fit(model, data)
    assert trainer.step == 45
    expected = everything(model, trainer)

    path.unlink()
    trainer, model, data = make(Crashing(crash))
    with pytest.raises(CrashError):
        trainer.fit(model, data)
    if crash < 7:
        assert not path.exists()
        return
    trainer, model, data = make()
    trainer.fit(model, data, resume=path)
    assert everything(model, trainer) == expected


@BOTH_WAYS
def test_it_does_not_matter_how_often_a_training_stops(tmp_path: Path, trainer_class: Any) -> None:
    path = tmp_path / "training"
    model, data = problem("softmax", "library", {"momentum": 0.9})
    straight = trainer_class(2, callbacks=[Checkpoint(path, every_steps=1)])
    straight.fit(model, data)
    expected = everything(model, straight)
    path.unlink()
    resume = None
    for step in range(1, 31):
        model, data = problem("softmax", "library", {"momentum": 0.9})
        trainer = trainer_class(2, callbacks=[Checkpoint(path, every_steps=1), Crashing(step)])
        if step < 30:
            with pytest.raises(CrashError):
                trainer.fit(model, data, resume=resume)
            resume = path if path.exists() else None
        else:
            trainer.fit(model, data, resume=resume)
    assert everything(model, trainer) == expected


class Counting(Mean):
    """Draws noise that depends on how many batches were seen, as dropout does."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.start, self.seen = start, 0

    def hyperparameters(self) -> dict[str, Any]:
        return {"start": self.start}

    def backward(self, batch: Any) -> None:
        super().backward(batch)
        self.w.grad += np.random.default_rng(self.seen).normal()
        self.seen += 1

    def training_state(self) -> dict[str, Any]:
        return {"seen": self.seen, "half": np.full(2, self.seen / 2)}

    def accept_training_state(self, state: Any) -> None:
        assert state["half"].tolist() == [state["seen"] / 2] * 2
        self.seen = state["seen"]


class Inside(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Counting(3.0)

    def backward(self, batch: Any) -> None:
        super().backward(batch)
        self.inner.seen += 2


@pytest.mark.parametrize("model_class", [Counting, Inside])
def test_models_of_ones_own_keep_their_own_state(tmp_path: Path, model_class: Any) -> None:
    path = tmp_path / "training"
    model = model_class()
    straight = Trainer(4)
    straight.fit(model, small())
    expected = everything(model, straight), [m.seen for m in model.modules()]
    first = Trainer(2, callbacks=[Checkpoint(path)])
    first.fit(model_class(), small())
    again = model_class()
    trainer = Trainer(4)
    trainer.fit(again, small(), resume=path)
    assert (everything(again, trainer), [m.seen for m in again.modules()]) == expected


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_an_mlp_goes_on_with_its_dropout(tmp_path: Path, dropout: float, rule: str) -> None:
    def make() -> Any:
        return MLP(10, (32, 16), 0.1, dropout=dropout)

    path = tmp_path / "training"
    model, straight = make(), Trainer(3, optimizer=rule)
    straight.fit(model, Digits(batch_size=100))
    crashing = Trainer(3, 0.0, [Checkpoint(path, every_steps=4), Crashing(23)], optimizer=rule)
    with pytest.raises(CrashError):
        crashing.fit(make(), Digits(batch_size=100))
    again, trainer = make(), Trainer(3, optimizer=rule)
    trainer.fit(again, Digits(batch_size=100), resume=path)
    assert everything(again, trainer) == everything(model, straight)
    assert again.training_state() == model.training_state()


def test_callbacks_go_on(tmp_path: Path) -> None:
    """Early stopping knows its best epoch and its parameters, the picture its curves."""
    path, best = tmp_path / "training", tmp_path / "best.safetensors"

    def make(epochs: int) -> Any:
        stopping = EarlyStopping("val_loss", patience=3)
        plot = ProgressPlot(ProgressBoard(display=False))
        callbacks = [Checkpoint(path, best=best), stopping, plot]
        return Trainer(epochs, callbacks=callbacks), SoftmaxRegression(10, 40.0), stopping, plot

    trainer, model, stopping, _ = make(200)
    trainer.fit(model, Digits())
    assert len(trainer.history) < 200
    expected = everything(model, trainer), stopping.best, stopping.best_epoch, stopping.waited
    assert stopping.best_epoch is not None
    model_file = best.read_bytes()
    path.unlink(), best.unlink()

    for epochs in (stopping.best_epoch + 1, stopping.best_epoch + 2, 200):
        trainer, model, stopping, plot = make(epochs)
        trainer.fit(model, Digits(), resume=path if path.exists() else None)
        assert len(plot.board.data["val_loss"]) == len(trainer.history)
    found = everything(model, trainer), stopping.best, stopping.best_epoch, stopping.waited
    assert found == expected
    assert best.read_bytes() == model_file
    loaded = softstep.load(best)
    assert softstep.evaluate(loaded, Digits()).mean_loss == stopping.best
    assert trainer.callbacks[-1].best_epoch == stopping.best_epoch  # type: ignore[attr-defined]
    # It is over: going on does nothing, and gives the best parameters once more.
    trainer, model, stopping, _ = make(300)
    assert len(trainer.fit(model, Digits(), resume=path)) == len(expected[0][2].split("), ("))
    assert everything(model, trainer)[0] == expected[0][0]


def test_a_training_that_is_over_does_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "training"
    first = Trainer(2, callbacks=[Checkpoint(path)])
    first.fit(SoftmaxRegression(2, 0.1), small())
    model, trainer = SoftmaxRegression(2, 0.1), Trainer(1)
    assert trainer.fit(model, small(), resume=path) == first.history
    assert trainer.epoch == 2


def test_the_times_of_an_epoch_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from softstep.training import trainer as module

    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    class Slow(Mean):
        def backward(self, batch: Any) -> None:
            clock[0] += 10
            super().backward(batch)

    path = tmp_path / "training"
    trainer = Trainer(1, callbacks=[Checkpoint(path, every_steps=2), Crashing(2)])
    trainer.callbacks.reverse()  # saved before the crash
    with pytest.raises(CrashError):
        trainer.fit(Slow(), small())
    clock[0] += 1000  # between the two
    (record,) = Trainer(1).fit(Slow(), small(), resume=path)
    assert record.seconds == 30


# When files are written


def written(path: Path, **options: Any) -> list[tuple[int, int]]:
    """The epochs and steps at which files are written in 3 epochs of 3 steps."""
    found = []

    class Watched(Checkpoint):
        def _save(self, trainer: Trainer) -> None:
            super()._save(trainer)
            found.append((trainer.epoch, trainer.epoch_step))

    Trainer(3, callbacks=[Watched(path, **options)]).fit(SoftmaxRegression(2, 0.1), small())
    assert path.is_file()
    return found


def test_when_files_are_written(tmp_path: Path) -> None:
    path = tmp_path / "training"
    assert written(path) == [(1, 0), (2, 0), (3, 0)]
    assert written(path, every=2) == [(2, 0), (3, 0)]
    assert written(path, every=100) == [(3, 0)]
    assert written(path, every=100, every_steps=4) == [(1, 1), (2, 2), (3, 0)]
    assert [p.name for p in tmp_path.iterdir()] == ["training"]


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    best = tmp_path / "best"
    model = SoftmaxRegression(10, 40.0)
    checkpoint = Checkpoint(tmp_path / "last", best=best, monitor="val_accuracy")
    history = Trainer(12, callbacks=[checkpoint]).fit(model, Digits())
    values = [r.val_accuracy for r in history]
    assert checkpoint.best_value == max(v for v in values if v is not None)
    assert checkpoint.best_epoch == values.index(checkpoint.best_value)
    found = softstep.evaluate(softstep.load(best), Digits())
    assert found.accuracy == checkpoint.best_value


# Damage on the way to the disk


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    before = saved.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    if function == "fsync":
        monkeypatch.setattr("os.fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    model = Softmax0()
    trainer = Trainer(4, callbacks=[Checkpoint(saved)])
    with pytest.raises(OSError, match="No space"):
        trainer.fit(model, small(), resume=saved)
    assert len(trainer.history) == 3
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    monkeypatch.undo()
    Trainer(4, callbacks=[Checkpoint(saved)]).fit(Softmax0(), small(), resume=saved)


def test_records_of_every_kind_come_back() -> None:
    records = [
        EpochRecord(0, 1.5, None, None, None, 0.25, 1e6),
        EpochRecord(1, float("nan"), 0.0, float("inf"), 1.0, 0.0, 3.0),
    ]
    values, known = resuming._table(records)
    state = {"history": values, "known": known, "fields": resuming._FIELDS}
    found = resuming._records(state)
    assert repr(found) == repr(records)
    values, known = resuming._table([])
    assert resuming._records({**state, "history": values, "known": known}) == []
    assert all(type(r.epoch) is int for r in found)


def test_data_with_loaders_only(tmp_path: Path) -> None:
    """What is known of them: batch size, seed, how many batches; an own set of epochs is kept."""

    class Loaders(softstep.DataModule):
        def get_dataloader(self, train: bool) -> Any:
            x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
            return self.get_tensorloader((x, np.arange(20) % 2), train)

    path = tmp_path / "training"
    model = SoftmaxRegression(2, 0.1)
    straight = Trainer(4)
    straight.fit(model, Loaders(batch_size=3))
    assert not straight.fused
    trainer = Trainer(4, callbacks=[Checkpoint(path, every_steps=5), Crashing(17)])
    with pytest.raises(CrashError):
        trainer.fit(SoftmaxRegression(2, 0.1), Loaders(batch_size=3))
    again, trainer = SoftmaxRegression(2, 0.1), Trainer(4)
    trainer.fit(again, Loaders(batch_size=3), resume=path)
    assert everything(again, trainer) == everything(model, straight)
    with pytest.raises(CheckpointError, match="batch_size 3 instead of 4"):
        Trainer(4).fit(SoftmaxRegression(2, 0.1), Loaders(batch_size=4), resume=path)

    class Plain:
        def __init__(self, batches: int) -> None:
            self.batches = [(np.eye(3, dtype=np.float32), np.array([0, 1, 0]))] * batches

        def train_dataloader(self) -> Any:
            return self.batches

        def val_dataloader(self) -> None:
            return None

    Trainer(1, callbacks=[Checkpoint(path)]).fit(SoftmaxRegression(2, 0.1), Plain(2))
    with pytest.raises(CheckpointError, match="batches 2 instead of 3"):
        Trainer(2).fit(SoftmaxRegression(2, 0.1), Plain(3), resume=path)
    Trainer(2).fit(SoftmaxRegression(2, 0.1), Plain(2), resume=path)


def test_base_class_state_is_nothing() -> None:
    assert Module().training_state() == {}
    Module().accept_training_state({})
    assert Callback().state_dict() == {}


def test_accuracy_of_an_epoch_that_went_on_in_the_other_way(tmp_path: Path) -> None:
    """Step by step the training rows are not classified: half an epoch's share is not one."""
    path = tmp_path / "training"
    for first, second in ((Stepwise, Trainer), (Trainer, Stepwise)):
        with pytest.raises(CrashError):
            first(1, callbacks=[Checkpoint(path, every_steps=1), Crashing(2)]).fit(
                Softmax0(), small()
            )
        (record,) = second(1).fit(Softmax0(), small(), resume=path)
        assert record.train_accuracy is None
        assert record.val_accuracy is not None
