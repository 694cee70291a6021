"""save_hyperparameters and add_to_class."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from softstep import HyperParameters, Module, Parameter, Trainer, add_to_class
from softstep.data import ArrayDataModule


class Base(HyperParameters):
    def __init__(
        self, lr: float, *rest: Any, depth: int = 2, _hidden: int = 0, **more: Any
    ) -> None:
        local = lr * 2  # not an argument
        self.save_hyperparameters(ignore="depth" if local < 0 else ())


class Outer(Base):
    def __init__(self, size: int) -> None:
        super().__init__(0.5, depth=size)
        self.save_hyperparameters()


class Early(Base):
    """Saves before its base class does."""

    def __init__(self, size: int) -> None:
        self.save_hyperparameters()
        super().__init__(0.5)


def test_all_arguments_and_nothing_else() -> None:
    thing: Any = Base(0.1, 7, 8, depth=3, _hidden=1, name="x")
    assert dict(thing.hparams) == {"lr": 0.1, "rest": (7, 8), "depth": 3, "name": "x"}
    assert (thing.lr, thing.rest, thing.depth, thing.name) == (0.1, (7, 8), 3, "x")
    assert not hasattr(thing, "local")
    assert not hasattr(thing, "_hidden")


def test_ignored_names_are_left_out() -> None:
    thing: Any = Base(-1.0)
    assert "depth" not in thing.hparams
    assert not hasattr(thing, "depth")


@pytest.mark.parametrize("cls", [Outer, Early])
def test_the_outer_class_counts(cls: Any) -> None:
    thing = cls(5)
    assert dict(thing.hparams) == {"size": 5}
    assert (thing.size, thing.lr) == (5, 0.5)


def test_only_in_a_method_of_the_object() -> None:
    thing = HyperParameters()
    with pytest.raises(RuntimeError, match="called in a constructor"):
        thing.save_hyperparameters()
    with pytest.raises(RuntimeError, match="called in a constructor"):
        _of_another(Base(1.0), thing)
    assert dict(thing.hparams) == {}


def _of_another(other: Any, thing: Any) -> None:
    thing.save_hyperparameters()


def test_objects_do_not_share() -> None:
    first, second = Base(1.0), Base(2.0)
    assert (first.hparams["lr"], second.hparams["lr"]) == (1.0, 2.0)
    assert HyperParameters.hparams == {}


def test_copies_keep_them() -> None:
    thing = Outer(4)
    for twin in (copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert dict(twin.hparams) == {"size": 4}


class Scaled(Module):
    def __init__(self, lr: float, factor: Any = 1.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.w = Parameter(np.zeros(1))

    def forward(self, x: Any) -> Any:
        return x @ self.w.data * self.factor


def test_a_model_with_hyperparameters_saves_and_loads(tmp_path: Any) -> None:
    model = Scaled(0.1, np.float32(2.0))
    model.w.data[:] = 3
    model.save(tmp_path / "model")
    again = Scaled.load(tmp_path / "model")
    assert (again.lr, again.factor, again.w.data.tolist()) == (0.1, 2.0, [3.0])


@pytest.mark.parametrize("factor", [np.zeros(3), float("nan"), {1, 2}])
def test_hyperparameters_that_no_file_holds(tmp_path: Any, factor: Any) -> None:
    with pytest.raises(TypeError, match="hyperparameters of this Scaled cannot be saved"):
        Scaled(0.1, factor).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_data_modules_and_trainers_have_it() -> None:
    class Data(ArrayDataModule):
        def __init__(self, rows: int, batch_size: int = 4) -> None:
            super().__init__(np.eye(rows), np.arange(rows), batch_size=batch_size)
            self.save_hyperparameters()

    class Patient(Trainer):
        def __init__(self, patience: int) -> None:
            super().__init__(max_epochs=2)
            self.save_hyperparameters()

    assert dict(Data(8).hparams) == {"rows": 8, "batch_size": 4}
    assert Patient(3).patience == 3  # type: ignore[attr-defined]


def test_a_method_is_added_to_existing_objects() -> None:
    class Thing:
        pass

    thing: Any = Thing()

    @add_to_class(Thing)
    def size(self: Any, by: int = 1) -> int:
        return 4 * by

    assert thing.size(by=2) == 8
    assert size(None) == 4  # and the function keeps its name here
    with pytest.raises(TypeError, match="cls is a int; accepted: a class"):
        add_to_class(3)  # type: ignore[arg-type]


def test_a_model_written_piece_by_piece_learns() -> None:
    """As the book does it, with a class that has no methods at first."""

    class Line(Module):
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.w = Parameter(np.zeros((1, 1)))

    model = Line(lr=0.5)

    @add_to_class(Line)
    def forward(self: Any, x: Any) -> Any:
        return x @ self.w.data

    @add_to_class(Line)
    def loss(self: Any, y_hat: Any, y: Any) -> Any:
        return ((y_hat - y) ** 2).mean() / 2

    @add_to_class(Line)
    def backward(self: Any, batch: Any) -> None:
        x, y = batch
        self.w.accumulate(x.T @ (self(x) - y) / len(x))

    x = np.linspace(-1, 1, 50).reshape(-1, 1)
    Trainer(max_epochs=60).fit(model, ArrayDataModule(x, 3 * x, batch_size=10))
    assert model.w.data[0, 0] == pytest.approx(3, abs=1e-6)
