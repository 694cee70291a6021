"""Data modules, with loaders of their own and on arrays."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from softstep.data import ArrayDataModule, ArrayDataset, DataLoader, DataModule, permutation

X = np.random.default_rng(0).integers(0, 256, (50, 12), np.uint8)
Y = (np.arange(50) % 7).astype(np.uint8)


def equal(a: Any, b: Any) -> bool:
    """Equal to the bit, type and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ({"batch_size": "8"}, TypeError, "batch_size must be an integer, got str"),
        ({"seed": -2}, ValueError, "seed must be >= 0"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"val": None}, TypeError, "val must be True or False"),
        ({"root": 3}, TypeError, "root must be a path or None, got int"),
    ],
)
def test_module_arguments(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataModule(**options)


def test_bare_module() -> None:
    data = DataModule(batch_size=np.int64(4), seed=2**70)
    assert (data.batch_size, data.seed) == (4, 2**70)
    assert data.arrays(True) is None
    assert data.val_dataloader() is None
    with pytest.raises(NotImplementedError, match=r"DataModule has no training data: override"):
        data.train_dataloader()


class BookStyle(DataModule):
    """As the book writes it: no call of the base class, get_dataloader with indices."""

    def __init__(self, batch_size: int = 8) -> None:
        self.batch_size = batch_size
        self.X = np.arange(60, dtype=np.float32).reshape(30, 2)
        self.y = self.X.sum(1, keepdims=True)

    def get_dataloader(self, train: bool) -> DataLoader:
        return self.get_tensorloader(
            (self.X, self.y), train, slice(0, 20) if train else slice(20, None)
        )


def test_book_style() -> None:
    data = BookStyle()
    assert data.arrays(True) is None
    train, val = data.train_dataloader(), data.val_dataloader()
    assert (len(train), len(val)) == (3, 2)
    assert train.shuffle
    assert not val.shuffle
    x, y = next(iter(val))
    assert equal(x, data.X[20:28])
    assert equal(y, data.y[20:28])
    rows = np.concatenate([x for x, _ in train])
    assert equal(rows, data.X[:20][permutation(20, 0, 0)[:]])


def test_book_style_train_and_val() -> None:
    class Plain(DataModule):
        def __init__(self) -> None:
            super().__init__(batch_size=7)
            self.train = ArrayDataset(X, Y)
            self.val = ArrayDataset(X[:10], Y[:10])

    data = Plain()
    assert len(data.train_dataloader()) == 8
    assert len(data.val_dataloader()) == 2
    raw = data.arrays(False)
    assert raw is not None
    assert raw[0].shape == (10, 12)


def test_own_train_dataloader() -> None:
    class Endless(DataModule):
        def train_dataloader(self) -> Iterator[tuple[Any, Any]]:
            return iter([(X[:2].astype("f4"), Y[:2])])

    data = Endless()
    assert len(list(data.train_dataloader())) == 1
    assert data.val_dataloader() is None
    assert data.arrays(True) is None


def test_tensorloader() -> None:
    data = DataModule(batch_size=4, seed=5)
    three = data.get_tensorloader((X, Y, np.ones(50)), False, np.array([3, 1, 4, 1, 5]))
    batches = list(three)
    assert [len(batch) for batch in batches] == [3, 3]
    assert equal(batches[0][0], X[[3, 1, 4, 1]])
    whole = data.get_tensorloader([X, Y], True)
    assert np.array_equal(next(iter(whole))[1], Y[permutation(50, 5, 0)[:4]])
    assert not data.get_tensorloader((X, Y), train=False).shuffle


# Arrays of one's own


def test_array_module() -> None:
    data = ArrayDataModule(X, Y, X[:20], Y[:20], batch_size=16, scale=1 / 255, shift=-0.5, seed=4)
    assert (len(data.train), len(data.val)) == (50, 20)
    x, y = next(iter(data.val_dataloader()))
    assert equal(x, X[:16].astype("f4") * np.float32(1 / 255) + np.float32(-0.5))
    assert equal(y, Y[:16].astype(np.int64))
    raw = data.arrays(True)
    assert raw is not None
    assert np.shares_memory(raw[0], X)
    assert np.shares_memory(raw[1], Y)
    assert raw[2:] == (np.float32(1 / 255), np.float32(-0.5))
    _, labels = next(iter(data.train_dataloader()))
    assert np.array_equal(labels, Y[permutation(50, 4, 0)[:16]])


def test_array_module_without_validation() -> None:
    data = ArrayDataModule(X.astype("f8"), Y)
    assert data.val is None
    assert data.val_dataloader() is None
    assert data.arrays(False) is None
    assert data.train[:][0].dtype == np.float64
    assert ArrayDataModule(X, Y).train[:][0].dtype == np.float32


def test_lists_and_one_feature() -> None:
    data = ArrayDataModule([1.0, 2.0, 3.0], [0.5, 1.0, 1.5], batch_size=2)
    raw = data.arrays(True)
    assert raw is not None
    assert raw[0].shape == (3, 1)
    assert [y.tolist() for _, y in DataLoader(data.train, 2)] == [[0.5, 1.0], [1.5]]


def test_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = ArrayDataModule(mapped, Y, scale=1 / 255)
    raw = data.arrays(True)
    assert raw is not None
    assert np.shares_memory(raw[0], mapped)
    x, _ = next(iter(data.train_dataloader()))
    assert type(x) is np.ndarray
    assert equal(x, X[permutation(50, 0, 0)[:32]].astype("f4") * np.float32(1 / 255))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, Y, X), ValueError, "x_val and y_val must be given together"),
        ((X, Y, None, Y), ValueError, "x_val and y_val must be given together"),
        ((X, Y[:3]), ValueError, "same length"),
        ((X, Y, X[:, :3], Y), ValueError, r"x_val must have rows of shape \(12,\) as x has"),
        ((X, Y, X, Y[:, None]), ValueError, "y_val must have rows of shape"),
        ((X.astype(str), Y), TypeError, "must hold real numbers"),
    ],
)
def test_array_module_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ArrayDataModule(*arguments)


# What replaces a loader decides what is trained on: no fused path around it


def test_replaced_loaders_turn_arrays_off() -> None:
    class Own(ArrayDataModule):
        def get_dataloader(self, train: bool) -> DataLoader:
            return self.get_tensorloader((X * 0, Y), train)

    class Below(Own):
        pass

    class Unrelated(ArrayDataModule):
        def helper(self) -> None: ...

    assert Own(X, Y).arrays(True) is None
    assert Below(X, Y).arrays(True) is None
    assert Unrelated(X, Y).arrays(True) is not None
    data = ArrayDataModule(X, Y)
    data.train_dataloader = list  # type: ignore[method-assign]
    assert data.arrays(True) is None


def test_dataset_of_ones_own_turns_arrays_off() -> None:
    class Flipped(ArrayDataset):
        def take(self, rows: slice | NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
            x, y = super().take(rows)
            return x[:, ::-1], y

    data = ArrayDataModule(X, Y)
    data.train = Flipped(X, Y)
    assert data.arrays(True) is None
    assert equal(data.train[2][0], X[2, ::-1])


def test_modules_copy_and_pickle() -> None:
    data = ArrayDataModule(X, Y, scale=0.5)
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert equal(other.train[:][0], data.train[:][0])
