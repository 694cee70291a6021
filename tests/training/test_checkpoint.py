"""Checkpoints: a training that goes on gives the bits of one that never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax, Stepwise, problem, small

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
    make_optimizer,
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
    monkeypatch.setattr(fused, "rows_per_call", lambda shape, batch: 4 * batch)
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


# What is refused


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "training"
    Trainer(2, callbacks=[Checkpoint(path)]).fit(Softmax0(), small())
    return path


class Softmax0(Softmax):
    def __init__(self, **sgd: Any) -> None:
        super().__init__(2, 0.1)
        self.sgd = {"momentum": 0.5} | sgd


class Other(Softmax0):
    pass


class Own(Callback):
    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise KeyError("nothing will do")


class Seeded(SoftmaxRegression):
    def __init__(self, seed: int = 5, lr: float = 0.1) -> None:
        super().__init__(2, lr, seed=seed)


REFUSED = {
    "class": (Other, small, "model has class 'Softmax0' instead of 'Other'"),
    "classes": (Seeded, small, "model has class 'Softmax0' instead of 'Seeded'"),
    "optimizer's settings": (
        lambda: Softmax0(momentum=0.9), small, "optimizer has momentum 0.5 instead of 0.9",
    ),
    "seed": (Softmax0, lambda: small(seed=1), "data has seed 0 instead of 1"),
    "batch size": (Softmax0, lambda: small(batch_size=5), "data has batch_size 4 instead of 5"),
    "rows": (Softmax0, lambda: small(12), "data has rows 10 instead of 12"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@BOTH_WAYS
def test_a_checkpoint_of_something_else(saved: Path, name: str, trainer_class: Any) -> None:
    make, data, message = REFUSED[name]
    model = make()
    with pytest.raises(CheckpointError, match=f"another training: its {message}") as caught:
        trainer_class(4).fit(model, data(), resume=saved)
    assert str(saved) in str(caught.value)
    assert not model.weight.is_initialized  # as it was
    model.infer(3)
    before = model.weight.data.copy()
    with pytest.raises(CheckpointError, match=message):
        trainer_class(4).fit(model, data(), resume=saved)
    np.testing.assert_array_equal(model.weight, before)
    trainer_class(1).fit(model, data())  # and it can be trained


def test_other_hyperparameters_and_values(saved: Path) -> None:
    class Softmax0(SoftmaxRegression):  # the same name
        def configure_optimizers(self) -> Any:
            return make_optimizer("momentum", self.parameters(), self.lr, momentum=0.5)

    with pytest.raises(CheckpointError, match=r"its model has lr 0\.1 instead of 0\.2"):
        Trainer(4).fit(Softmax0(2, 0.2), small(), resume=saved)
    data = small()
    data.train.tensors[0][3, 1] += 1
    with pytest.raises(CheckpointError, match="its data has other values in its rows"):
        Trainer(4).fit(Softmax0(2, 0.1), data, resume=saved)
    with pytest.raises(CheckpointError, match="its optimizer has class 'SGD' instead of 'Adam'"):
        Trainer(4, optimizer="adam").fit(Softmax0(2, 0.1), small(), resume=saved)
    Trainer(4).fit(Softmax0(2, 0.1), small(), resume=saved)


@BOTH_WAYS
def test_both_ways_go_on_from_each_others_files(saved: Path, trainer_class: Any) -> None:
    trainer = trainer_class(4)
    trainer.fit(Softmax0(), small(), resume=saved)
    assert len(trainer.history) == 4


def test_files_that_are_no_checkpoints(tmp_path: Path, saved: Path) -> None:
    model = Softmax0()
    with pytest.raises(FileNotFoundError):
        Trainer(1).fit(model, small(), resume=tmp_path / "none")
    with pytest.raises(OSError, match="not a regular file"):
        Trainer(1).fit(model, small(), resume=tmp_path)
    other = tmp_path / "model"
    trained = SoftmaxRegression(2, 0.1)
    trained.infer(3)
    trained.save(other)
    with pytest.raises(CheckpointError, match="holds a model, not a checkpoint of a training"):
        Trainer(1).fit(model, small(), resume=other)
    with pytest.raises(softstep.ModelFileError, match="is damaged, or no model"):
        softstep.load(saved)
    other.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        Trainer(1).fit(model, small(), resume=other)
    assert not model.weight.is_initialized


def test_every_truncation_is_refused(tmp_path: Path, saved: Path) -> None:
    content = saved.read_bytes()
    path = tmp_path / "cut"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cut: is"):
            Trainer(3).fit(Softmax0(), small(), resume=path)


def edit(path: Path, change: Any) -> None:
    """Change the description of a checkpoint."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    described = json.loads(header["__metadata__"]["softstep"])
    change(described["checkpoint"], described)
    header["__metadata__"]["softstep"] = json.dumps(described)
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + content[8 + length :])


def put(value: Any, *keys: Any) -> Any:
    def change(state: Any, _: Any) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


DAMAGES = {
    "format": (lambda state, whole: whole.update(format=2), "has the format 2; accepted: 1"),
    "no state": (lambda state, whole: whole.update(checkpoint=[]), "belong to nothing"),
    "epoch": (put(7, "position", "epoch"), "its position and its history do not fit"),
    "negative": (put(-1, "position", "step"), "step is -1"),
    "huge": (put(2**60, "position", "step"), "accepted: at most"),
    "rows": (put(3, "position", "rows"), "do not fit each other"),
    "seconds": (put({"$float": "nan"}, "position", "seconds"), "seconds is nan"),
    "float": (put({"$float": "x"}, "position", "loss"), "is damaged: 'x'"),
    "array": (put({"$array": "x"}, "position", "loss"), "is damaged: 'x'"),
    "loss": (put("x", "position", "loss"), "loss is 'x'"),
    "fields": (put(["epoch"], "fields"), "its history has the columns"),
    "history": (put({"$array": "known"}, "history"), "is damaged"),
    "lr": (put(-1.0, "optimizer", "state", "settings", "lr"), "lr is -1.0"),
    "setting": (put(1, "optimizer", "state", "settings", "speed"), "unexpected keyword"),
    "states": (put({}, "optimizer", "state", "state"), "belong to nothing"),
    "None": (put(None, "modules"), "not of this training"),
    "callbacks": (put([{"name": "Own"}], "callbacks"), "'state'"),
    "model": (put([], "model"), "model is no dictionary"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_descriptions(saved: Path, name: str) -> None:
    change, message = DAMAGES[name]
    edit(saved, change)
    model = Softmax0()
    with pytest.raises(CheckpointError, match=message):
        Trainer(3, callbacks=[Own({})]).fit(model, small(), resume=saved)
    assert not model.weight.is_initialized


def test_damaged_callbacks(tmp_path: Path) -> None:
    path = tmp_path / "training"
    Trainer(1, callbacks=[Own({"a": 1}), Checkpoint(path)]).fit(Softmax0(), small())
    model = Softmax0()
    with pytest.raises(CheckpointError, match="the state of the callback Own"):
        Trainer(2, callbacks=[Own({})]).fit(model, small(), resume=path)
    assert not model.weight.is_initialized
    Trainer(2).fit(model, small(), resume=path)  # without that callback

    Trainer(1, callbacks=[EarlyStopping(), Checkpoint(path)]).fit(Softmax0(), small())
    with pytest.raises(CheckpointError, match="it monitored 'val_loss', this one 'val_accuracy'"):
        Trainer(2, callbacks=[EarlyStopping("val_accuracy")]).fit(Softmax0(), small(), resume=path)


@pytest.mark.parametrize(
    "wrong", [object(), {1: 2}, {"$a": 1}, np.arange(3), np.array([object()]), b"bytes", 1j]
)
def test_only_plain_values_are_saved(tmp_path: Path, wrong: Any) -> None:
    path = tmp_path / "training"
    callbacks = [Own({"inside": [wrong]}), Checkpoint(path)]
    with pytest.raises(TypeError, match=r"callbacks\.0\.state\.inside\.0 "):
        Trainer(1, callbacks=callbacks).fit(Softmax0(), small())
    assert not path.exists()


def test_plain_values_come_back(tmp_path: Path) -> None:
    from softstep.training.state_file import read_state, write_state

    value = {
        "a": [1, 2.5, "x", None, True, float("inf"), (1, 2)],
        "b": {"c": np.eye(2, dtype=np.float32)[:, ::-1], "d": np.zeros((0, 3)), "e": np.float32(2)},
        "f": np.array(3.0), "g": np.arange(3, dtype=np.uint8), "h": -(2**70),
    }  # fmt: skip
    write_state(tmp_path / "state", value)
    found = read_state(tmp_path / "state")
    assert found["a"] == [1, 2.5, "x", None, True, float("inf"), [1, 2]]
    np.testing.assert_array_equal(found["b"]["c"], [[0, 1], [1, 0]])
    assert found["b"]["d"].shape == (0, 3)
    assert (found["b"]["e"], found["f"].shape, found["h"]) == (2.0, (), -(2**70))
    assert found["g"].tolist() == [0, 1, 2]
    first = (tmp_path / "state").read_bytes()
    write_state(tmp_path / "state", value)
    assert (tmp_path / "state").read_bytes() == first


def test_optimizers_without_a_state_to_save(tmp_path: Path) -> None:
    class Plain:
        def step(self) -> None: ...
        def zero_grad(self) -> None: ...

    class Model(Mean):
        def configure_optimizers(self) -> Any:
            return Plain()

    with pytest.raises(TypeError, match="a Plain, whose state cannot be saved; accepted"):
        Trainer(1, callbacks=[Checkpoint(tmp_path / "x")]).fit(Model(), small())


def test_there_has_to_be_something_to_save(tmp_path: Path) -> None:
    trainer = Trainer(2)
    with pytest.raises(RuntimeError, match="there is no state to save: nothing has been fitted"):
        trainer.save_checkpoint(tmp_path / "x")
    data = small()
    data.train.tensors[0][5] = np.nan
    with pytest.raises(FloatingPointError):
        trainer.fit(SoftmaxRegression(2, 0.1), data)
    with pytest.raises(RuntimeError, match="ended with an exception"):
        trainer.save_checkpoint(tmp_path / "x")
    trainer.fit(SoftmaxRegression(2, 0.1), small())
    trainer.save_checkpoint(tmp_path / "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 5}, "path is a int; accepted: a path"),
        ({"every": 0}, "every is 0"),
        ({"every_steps": 0}, "every_steps is 0"),
        ({"best": 5}, "best is a int"),
        ({"monitor": "x"}, "monitor is 'x'"),
    ],
)
def test_wrong_settings(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Checkpoint(**({"path": "x"} | options))


def test_a_folder_that_is_not_there_is_named_before_the_training(tmp_path: Path) -> None:
    model = SoftmaxRegression(2, 0.1)
    for options in ({"path": tmp_path / "no" / "x"}, {"path": "x", "best": tmp_path / "no" / "y"}):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            Trainer(1, callbacks=[Checkpoint(**options)]).fit(model, small())
    with pytest.raises(OSError, match="is not a regular file"):
        Trainer(1, callbacks=[Checkpoint(tmp_path)]).fit(model, small())
    with pytest.raises(ValueError, match="no validation data"):
        Trainer(1, callbacks=[Checkpoint("x", best="y")]).fit(model, small(val=False))
    assert not model.weight.is_initialized


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
