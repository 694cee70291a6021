"""Checkpoints that are refused: of something else, damaged, or of what cannot be saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_models import Mean, Softmax0, Stepwise, small

import softstep
from softstep import (
    Adam,
    Callback,
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    RMSprop,
    SoftmaxRegression,
    Trainer,
    make_optimizer,
)


def in_order() -> Any:
    data = small()
    data.shuffle = False
    return data


BOTH_WAYS = pytest.mark.parametrize("trainer_class", [Trainer, Stepwise])


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
    "order": (Softmax0, in_order, "data has shuffle True instead of False"),
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
    with pytest.raises(CheckpointError, match="its optimizer has class 'SGD' instead of 'Adam'"):
        Trainer(4, optimizer="adam").fit(Softmax0(2, 0.2, seed=9), small(seed=1), resume=saved)
    with pytest.raises(CheckpointError, match="its model has seed 0 instead of 9"):
        Trainer(4).fit(Softmax0(2, 0.1, seed=9), small(seed=1), resume=saved)
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


@pytest.mark.parametrize("now", [True, False])
@pytest.mark.parametrize(("optimizer", "kind"), [(Adam, "amsgrad"), (RMSprop, "centered")])
def test_another_kind_of_optimizer(tmp_path: Path, optimizer: Any, kind: str, now: bool) -> None:
    def trainer(epochs: int, of_kind: bool, *callbacks: Callback) -> Trainer:
        def make(parameters: Any) -> Any:
            return optimizer(parameters, 0.1, **{kind: of_kind})

        return Trainer(epochs, callbacks=callbacks, optimizer=make)

    path = tmp_path / "training"
    trainer(1, not now, Checkpoint(path)).fit(SoftmaxRegression(2, 0.1), small())
    message = f"its optimizer has {kind} {not now} instead of {now}"
    with pytest.raises(CheckpointError, match=message):
        trainer(2, now).fit(SoftmaxRegression(2, 0.1), small(), resume=path)


def test_the_best_model_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "training"
    with pytest.raises(ValueError, match=r"best is .*training; accepted: another file"):
        Checkpoint(path, best=path)
