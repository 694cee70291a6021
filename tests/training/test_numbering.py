"""Errors of a training name rows of the data, also where a model has named one of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from training_models import Stepwise

from softstep import (
    MLP,
    ArrayDataModule,
    LinearRegressionScratch,
    MLPScratch,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    Trainer,
    WeightDecay,
    WeightDecayScratch,
)
from softstep.data import DataLoader

N, BAD = 40, 33

CLASSIFIERS = {
    "SoftmaxRegressionScratch": lambda: SoftmaxRegressionScratch(4, 3, 0.1),
    "MLPScratch": lambda: MLPScratch(4, 3, 5, 0.1),
    "SoftmaxRegression": lambda: SoftmaxRegression(3, 0.1),
    "MLP": lambda: MLP(3, 5, 0.1),
}
REGRESSIONS = {
    "LinearRegressionScratch": lambda: LinearRegressionScratch(4, 0.1),
    "WeightDecayScratch": lambda: WeightDecayScratch(4, 1, 0.1),
    "WeightDecay": lambda: WeightDecay(1, 0.1),
}


def rows() -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    return x, np.arange(N) % 3


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("name", [*CLASSIFIERS, *REGRESSIONS])
def test_features(name: str, shuffle: bool) -> None:
    x, y = rows()
    x[BAD, 2] = np.nan
    data = ArrayDataModule(x, y if name in CLASSIFIERS else x[:, :1] * 2, batch_size=8)
    data.shuffle = shuffle
    with pytest.raises(FloatingPointError, match=f"row {BAD} of the training data holds NaN"):
        Stepwise(1).fit((CLASSIFIERS | REGRESSIONS)[name](), data)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_targets_that_are_not_finite(name: str) -> None:
    x, _ = rows()
    y = np.zeros((N, 1), np.float32)
    y[BAD] = np.inf
    text = f"row {BAD} of the training data holds an infinite value"
    with pytest.raises(FloatingPointError, match=text):
        Trainer(1).fit(REGRESSIONS[name](), ArrayDataModule(x, y, batch_size=8))


@pytest.mark.parametrize("label", [7, -1])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels(name: str, label: int) -> None:
    x, y = rows()
    wrong = y.copy()
    wrong[BAD] = label
    text = rf"^(y|target)\[{BAD}\] is {label}; accepted: 0 to 2"
    with pytest.raises(IndexError, match=text):
        Stepwise(1).fit(CLASSIFIERS[name](), ArrayDataModule(x, wrong, batch_size=8))
    with pytest.raises(IndexError, match=text):
        Stepwise(1).fit(CLASSIFIERS[name](), ArrayDataModule(x, y, x, wrong, batch_size=8))


def test_distributions() -> None:
    x, y = rows()
    target = np.eye(3)[y]
    target[BAD, 1] = -0.5
    text = rf"target\[{BAD}\]\[1\] is -0.5.* \(row {BAD}\); accepted"
    with pytest.raises(ValueError, match=text):
        Stepwise(1).fit(SoftmaxRegression(3, 0.1), ArrayDataModule(x, target, batch_size=8))


class Sampled(ArrayDataModule):
    """Its loader draws the rows once for each pass, so asking again would give others."""

    def train_dataloader(self) -> Any:
        rng = np.random.default_rng(1)
        return DataLoader(self.train, 8, sampler=lambda epoch: rng.permutation(N))


def test_a_sampler_that_never_repeats_itself() -> None:
    x, y = rows()
    y[BAD] = 3
    with pytest.raises(IndexError, match=rf"y\[{BAD}\] is 3"):
        Trainer(1).fit(SoftmaxRegressionScratch(4, 3, 0.1), Sampled(x, y))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_an_mlp_on_a_mapped_file(tmp_path: Any, dropout: float) -> None:
    """With dropout it is read through its loader."""
    x, y = rows()
    x[BAD, 0] = np.inf
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    text = f"row {BAD} of the training data holds an infinite value"
    trainer = Trainer(1)
    with pytest.raises(FloatingPointError, match=text):
        trainer.fit(MLP(3, 5, 0.1, dropout=dropout), ArrayDataModule(mapped, y, batch_size=8))
    assert trainer.fused
    x[BAD, 0], y[BAD] = 0, 9
    np.save(tmp_path / "z.npy", x)
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    with pytest.raises(IndexError, match=rf"^(y|target)\[{BAD}\] is 9"):
        Trainer(1).fit(MLP(3, 5, 0.1, dropout=dropout), ArrayDataModule(mapped, y, batch_size=8))


# Where the row of the data is not known, the row of the batch stays.


class Halved(Trainer):
    def prepare_batch(self, batch: Any) -> Any:
        return tuple(array[::2] for array in batch)


class Reversed(DataLoader):
    def __iter__(self) -> Iterator[Any]:
        return (tuple(array[::-1] for array in batch) for batch in super().__iter__())


class ReversedData(ArrayDataModule):
    def train_dataloader(self) -> Any:
        return Reversed(self.train, 8)


@pytest.mark.parametrize(
    ("trainer", "data", "row"), [(Halved, ArrayDataModule, 2), (Trainer, ReversedData, 3)]
)
def test_other_batches_than_those_of_the_loader(trainer: Any, data: Any, row: int) -> None:
    x, y = rows()
    y[36] = 3  # in rows 32 to 39: the fifth, or the fourth from the end
    module = data(x, y, batch_size=8)
    module.shuffle = False
    with pytest.raises(IndexError, match=rf"y\[{row}\] is 3"):
        trainer(1).fit(SoftmaxRegressionScratch(4, 3, 0.1), module)
    x[12, 0], y[36] = np.nan, 0
    with pytest.raises(FloatingPointError, match=rf"row {row} of the batch holds NaN"):
        trainer(1).fit(SoftmaxRegressionScratch(4, 3, 0.1), module)


def test_other_errors_stay_as_they_are() -> None:
    class Failing(SoftmaxRegressionScratch):
        def training_step(self, batch: Any) -> Any:
            raise error

    for error in (IndexError("y[5] of mine"), ValueError(3, "row 5 of the batch"), IndexError()):
        said = error.args
        with pytest.raises(type(error)) as caught:
            Trainer(1).fit(Failing(4, 3, 0.1), ArrayDataModule(*rows(), batch_size=8))
        assert caught.value is error
        assert error.args == said
