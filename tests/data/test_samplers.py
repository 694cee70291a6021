"""Loaders that draw with replacement or as a sampler says, fixed orders, and data made on the
fly."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import stats

import softstep
from softstep.data import ArrayDataModule, ArrayDataset, DataLoader, GeneratedDataModule
from softstep.data.generated import GeneratedLoader

DATA = ArrayDataset(np.arange(50.0)[:, None], np.arange(50))


def rows(loader: Any) -> list[int]:
    return np.concatenate([y for _, y in loader]).tolist()


# With replacement


def test_replacement() -> None:
    loader = DataLoader(DATA, 8, replacement=True, seed=3)
    assert len(loader) == 7
    epochs = [rows(loader) for _ in range(3)]
    assert all(len(epoch) == 50 for epoch in epochs)
    assert all(len(set(epoch)) < 50 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    loader.set_epoch(1)
    assert rows(loader) == epochs[1]
    other_sizes = DataLoader(DATA, 50, replacement=True, seed=3)
    assert rows(other_sizes) == epochs[0]  # not a matter of batches
    assert rows(DataLoader(DATA, 8, replacement=True, seed=4)) != epochs[0]
    assert len(list(DataLoader(DATA, 8, replacement=True, drop_last=True))) == 6


def test_replacement_is_uniform_and_independent() -> None:
    n, epochs = 10, 3000
    loader = DataLoader(ArrayDataset(np.zeros(n), np.arange(n)), n, replacement=True, seed=0)
    drawn = np.array([rows(loader) for _ in range(epochs)])
    for counts in (
        np.bincount(drawn.ravel(), minlength=n),  # rows
        np.bincount(drawn[:, 0], minlength=n),  # rows at the first place
        np.bincount((drawn[:, 1:] * n + drawn[:, :-1]).ravel(), minlength=n * n),  # neighbours
    ):
        assert stats.chisquare(counts).pvalue > 1e-6


def test_replacement_over_several_blocks() -> None:
    n = 20_001
    loader = DataLoader(ArrayDataset(np.zeros(n), np.arange(n)), 64, replacement=True)
    found = np.array(rows(loader))
    assert len(found) == n
    # A row is missed with probability 1/e, less the variance of such counts.
    assert abs(len(set(found.tolist())) / n - (1 - np.exp(-1))) < 5 / np.sqrt(n)


# Samplers


@pytest.mark.parametrize(
    "sampler",
    [[4, 1, 1], (4, 1, 1), np.array([4, 1, 1], np.uint8), lambda epoch: [4, 1, 1],
     lambda epoch: iter([4, 1, 1]), lambda epoch: np.array([4, 1, 1])],
    ids=["list", "tuple", "array", "function", "function of a generator", "function of an array"],
)  # fmt: skip
def test_sampler(sampler: Any) -> None:
    loader = DataLoader(DATA, 2, sampler=sampler)
    for _ in range(2):
        assert len(loader) == 2
        assert [y.tolist() for _, y in loader] == [[4, 1], [1]]
    short = DataLoader(DATA, 2, sampler=sampler, drop_last=True)
    assert len(short) == 1
    assert rows(short) == [4, 1]


def test_sampler_of_epochs() -> None:
    loader = DataLoader(DATA, 4, sampler=lambda epoch: range(epoch, 50, 10))
    assert rows(loader) == [0, 10, 20, 30, 40]
    assert rows(loader) == [1, 11, 21, 31, 41]
    loader.set_epoch(9)
    assert rows(loader) == [9, 19, 29, 39, 49]


def test_sampler_object() -> None:
    class Weighted:
        """Draws anew at each pass, as samplers of other libraries do."""

        def __init__(self) -> None:
            self.rng = np.random.default_rng(0)

        def __iter__(self) -> Any:
            return iter(self.rng.choice(50, 30))

    loader = DataLoader(DATA, 7, sampler=Weighted())
    assert len(loader) == 5
    first, second = rows(loader), rows(loader)
    assert len(first) == len(second) == 30
    assert first != second
    assert "sampler=Weighted" in repr(loader)


def test_empty_sampler() -> None:
    loader = DataLoader(DATA, 7, sampler=[])
    assert len(loader) == 0
    assert list(loader) == []


def test_training_with_a_sampler() -> None:
    """A loader of one's own decides what is trained on: here classes 0 and 1 alone."""

    class Some(softstep.Digits):
        def train_dataloader(self) -> DataLoader:
            rows = np.flatnonzero(self.train[:][1] < 2)
            return DataLoader(self.train, 16, sampler=lambda epoch: np.roll(rows, epoch))

    trainer = softstep.Trainer(5)
    model = softstep.SoftmaxRegression(10, 0.5)
    data = Some()
    trainer.fit(model, data)
    assert not trainer.fused
    x, _ = data.val[:]
    assert set(model.predict(x).tolist()) <= {0, 1}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sampler": [0], "shuffle": True}, ValueError, "only one of shuffle, replacement and"),
        ({"replacement": True, "shuffle": True}, ValueError, "only one of shuffle"),
        ({"sampler": 3}, TypeError, "sampler must be row numbers or a function of the epoch"),
        ({"sampler": "abc"}, TypeError, "got str"),
        ({"sampler": iter([1, 2])}, TypeError, "iterated over again and again"),
        ({"sampler": [0, 50]}, IndexError, r"sampler\[1\] is 50, accepted: 0 to 49"),
        ({"sampler": [-1]}, IndexError, r"sampler\[0\] is -1"),
        ({"sampler": [0.5]}, TypeError, "sampler must hold integers"),
        ({"sampler": [[1]]}, ValueError, "sampler must be a list of rows"),
    ],
)
def test_refused_samplers(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(DataLoader(DATA, 4, **options))


# A fixed order, for debugging


def test_fixed_order() -> None:
    x, y = np.arange(50, dtype=np.float32)[:, None], np.arange(50)
    data = ArrayDataModule(x, y / 50, batch_size=8)
    data.shuffle = False
    assert rows(data.train_dataloader()) == (y / 50).tolist()
    assert rows(data.get_tensorloader((x, y), True)) == y.tolist()
    assert data.arrays(True) is None  # native calls shuffle
    trainer = softstep.Trainer(1)
    trainer.fit(softstep.LinearRegression(lr=1e-4), data)
    assert not trainer.fused


# Made on the fly


def make(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
    x = rng.standard_normal((count, 2), dtype=np.float32)
    return x, x @ np.array([[2.0], [-3.4]], np.float32) + np.float32(4.2)


def test_generated_batches() -> None:
    loader = GeneratedLoader(make, 100, 32, seed=5)
    assert len(loader) == 4
    epochs = [[x for x, _ in loader] for _ in range(2)]
    assert [len(x) for x in epochs[0]] == [32, 32, 32, 4]
    values = np.concatenate([x.ravel() for epoch in epochs for x in epoch])
    assert len(np.unique(values)) == len(values)  # no batch is like another
    loader.set_epoch(1)
    assert all(np.array_equal(a, b) for a, (b, _) in zip(epochs[1], loader, strict=True))
    other = GeneratedLoader(make, 100, 32, seed=6)
    assert not np.array_equal(next(iter(other))[0], epochs[0][0])


def test_generated_module() -> None:
    data = GeneratedDataModule(make, num_train=1000, num_val=100, seed=1)
    val = data.val_dataloader()
    passes = [np.concatenate([x for x, _ in val]) for _ in range(2)]
    assert np.array_equal(*passes)
    trained = np.concatenate([x for x, _ in data.train_dataloader()])
    assert not np.isin(passes[0], trained).any()
    assert data.arrays(True) is None
    model = softstep.LinearRegression(lr=0.03)
    history = softstep.Trainer(5).fit(model, data)
    weight, bias = model.get_w_b()
    # Without noise the error falls by about (1 - 2 lr) in each of the 160 steps, to below 1e-3.
    assert np.abs(weight - [2, -3.4]).max() < 0.01
    assert abs(bias[0] - 4.2) < 0.01
    assert history[-1].val_loss < 1e-3
    assert GeneratedDataModule(make, 10).val_dataloader() is None
    for same in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert np.array_equal(next(iter(same.train_dataloader()))[0], trained[:32])


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda rng, n: None, TypeError, "make must return a tuple of arrays, got NoneType"),
        (lambda rng, n: np.zeros(n), TypeError, "got ndarray"),
        (lambda rng, n: (), TypeError, "make must return a tuple"),
        (lambda rng, n: (np.zeros(n), np.zeros(n + 1)), ValueError, r"4 rows in each.*\[4, 5\]"),
        (lambda rng, n: (np.zeros(n), 0.0), ValueError, r"\[4, None\]"),
    ],
)
def test_wrong_makers(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        next(iter(GeneratedLoader(function, 10, 4)))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, 10), {}, TypeError, "make must be a function"),
        ((make, 0), {}, ValueError, "num_train must be >= 1"),
        ((make, 10, -1), {}, ValueError, "num_val must be >= 0"),
        ((make, 10), {"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ((make, 10), {"seed": -1}, ValueError, "seed must be >= 0"),
    ],
)
def test_generated_arguments(
    arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GeneratedDataModule(*arguments, **options)
