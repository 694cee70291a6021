"""Data sets, loaders and data modules."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from softstep.data import ArrayDataModule, ArrayDataset, DataLoader, DataModule, permutation

X = np.random.default_rng(0).integers(0, 256, (50, 12), np.uint8)
Y = (np.arange(50) % 7).astype(np.uint8)


def equal(a: Any, b: Any) -> bool:
    """Equal to the bit, type and shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# Data sets


def test_dataset_batches() -> None:
    data = ArrayDataset(X, Y, scale=1 / 255, item_shape=(1, 3, 4))
    assert len(data) == 50
    x, y = data.take(np.array([3, 1, 3]))
    assert x.shape == (3, 1, 3, 4)
    assert equal(x.reshape(3, 12), X[[3, 1, 3]].astype(np.float32) * np.float32(1 / 255))
    assert equal(y, Y[[3, 1, 3]].astype(np.int64))


@pytest.mark.parametrize("index", [slice(2, 9, 3), [4, 1], np.array([-1, 0]), [], slice(60, 70)])
def test_dataset_indexing(index: Any) -> None:
    x, y = ArrayDataset(X, Y)[index]
    expected = np.asarray(index, int) if isinstance(index, list) else index
    assert equal(x, X[expected])
    assert equal(y, Y[expected].astype(np.int64))


def test_dataset_single_rows_and_masks() -> None:
    data = ArrayDataset(X, Y, scale=1 / 255, item_shape=(2, 6))
    x, y = data[-1]
    assert x.shape == (2, 6)
    assert equal(x, data[[49]][0][0])
    assert y == Y[49]
    assert isinstance(y, np.int64)
    assert equal(data[Y == 2][0], data[np.flatnonzero(Y == 2)][0])
    assert len(list(iter(data[:3][0]))) == 3


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (50, IndexError, "index 50 is out of range for 50 rows"),
        (-51, IndexError, "out of range"),
        ([0, 50], IndexError, "out of bounds"),
        (1.0, TypeError, "got float"),
        ([0.5], TypeError, "float64"),
        ("a", TypeError, "got str"),
        (np.ones(3, bool), IndexError, "a mask must have 50 values, got 3"),
    ],
)
def test_dataset_refuses_indices(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ArrayDataset(X, Y)[index]


@pytest.mark.parametrize("scale", [None, 0.25, np.arange(12.0), 3])
@pytest.mark.parametrize("shift", [None, -1.5, np.linspace(0, 1, 12)])
@pytest.mark.parametrize("kind", ["u1", "i2", "f2", ">f4", "f4", "f8"])
def test_scale_and_shift(kind: str, scale: Any, shift: Any) -> None:
    x = X.astype(kind)
    dtype = np.dtype("f8" if kind == "f8" else "f4")
    expected = x.astype(dtype)
    if scale is not None:
        expected = expected * np.asarray(scale, dtype)
    if shift is not None:
        expected = expected + np.asarray(shift, dtype)
    data = ArrayDataset(x, Y, scale=scale, shift=shift, dtype=dtype)
    assert equal(data[:][0], expected)
    assert equal(data.take(np.arange(50))[0], expected)


def test_batches_are_not_views() -> None:
    x, y = np.ones((4, 2), np.float32), np.arange(4)
    data = ArrayDataset(x, y)
    for batch in (data[:], data[0:2], data.take(np.arange(4)), data[1]):
        for array in batch:
            assert not np.shares_memory(array, x)
            assert not np.shares_memory(array, y)


def test_batches_are_contiguous() -> None:
    data = ArrayDataset(np.asfortranarray(X), Y, scale=0.5)
    assert data[:][0].flags.c_contiguous
    assert ArrayDataset(np.asfortranarray(X.astype("f4")), Y)[:][0].flags.c_contiguous


def test_targets() -> None:
    for kind in ("u1", "i1", ">i2", "i4", "i8", "u4", "?"):
        assert ArrayDataset(X, Y.astype(kind))[:][1].dtype == np.int64
    # int64 cannot hold every uint64: no silent wrapping
    big = np.full(50, 2**63 + 5, np.uint64)
    assert equal(ArrayDataset(X, big)[:][1], big)
    assert ArrayDataset(X, Y.astype("f4"))[:][1].dtype == np.float32
    assert ArrayDataset(X, Y.astype(">f8"))[:][1].dtype.isnative


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ((), {}, ValueError, "arrays must not be empty"),
        ((X, Y[:9]), {}, ValueError, r"same length, got \[50, 9\]"),
        ((X.astype(object), Y), {}, TypeError, "array 0 must hold real numbers.*object"),
        ((X, np.array(["a"] * 50)), {}, TypeError, "array 1 must hold real numbers"),
        ((X.astype(complex),), {}, TypeError, "complex128"),
        ((np.float32(1),), {}, ValueError, "array 0 must have rows"),
        ((X,), {"item_shape": (3, 5)}, ValueError, "item_shape must hold the 12 features"),
        ((X,), {"scale": np.ones(5)}, ValueError, r"scale must be a number or .* \(12,\)"),
        ((X,), {"shift": np.nan}, ValueError, "shift must be finite"),
        ((X,), {"scale": "1"}, ValueError, "scale must be a number"),
        ((X,), {"dtype": "f2"}, ValueError, "dtype must be float32 or float64, got float16"),
    ],
)
def test_dataset_arguments(arrays: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ArrayDataset(*arrays, **options)


def test_arrays_of_a_dataset() -> None:
    images = X.reshape(50, 3, 4)
    raw = ArrayDataset(images, Y, scale=1 / 255).arrays()
    assert raw is not None
    x, y, scale, shift = raw
    assert x.shape == (50, 12)
    assert np.shares_memory(x, images)
    assert np.shares_memory(y, Y)
    assert equal(
        x * np.float32(scale), ArrayDataset(images, Y, scale=1 / 255)[:][0].reshape(50, 12)
    )
    assert shift is None
    # Rows with gaps between them are fine, a column's stride is not.
    strided = ArrayDataset(images[::2], Y[::2]).arrays()
    assert strided is not None
    assert np.shares_memory(strided[0], images)


@pytest.mark.parametrize(
    "arrays",
    [
        (X,),
        (X, Y, Y),
        (X.astype("f2"), Y),
        (X.astype("i8"), Y),
        (X.astype(">f4"), Y),
        (X[:, ::2], Y),
        (np.asfortranarray(X), Y),
        (X.reshape(50, 3, 4).transpose(0, 2, 1), Y),
    ],
    ids=["alone", "three", "half", "int64", "big-endian", "columns", "Fortran", "transposed"],
)
def test_arrays_the_fused_path_does_not_read(arrays: Any) -> None:
    assert ArrayDataset(*arrays).arrays() is None


# Loaders


@given(st.integers(0, 60), st.integers(1, 70), st.booleans(), st.booleans(), st.integers(0, 2**40))
def test_loader(n: int, size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
    data = ArrayDataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n))
    loader = DataLoader(data, size, shuffle=shuffle, seed=seed, drop_last=drop_last)
    for epoch in range(2):
        batches = list(loader)
        kept = n - n % size if drop_last else n
        assert len(loader) == len(batches) == (n // size if drop_last else -(-n // size))
        assert all(len(y) == size for _, y in batches[:-1])
        order = permutation(n, seed, epoch)[:kept] if shuffle else np.arange(kept)
        rows = np.concatenate([y for _, y in batches]) if batches else np.empty(0, int)
        assert np.array_equal(rows, order)
        for x, y in batches:
            assert np.array_equal(x[:, 0], y)


@pytest.mark.parametrize("size", [1000, 8192, 9000, 64])
def test_loader_longer_than_its_blocks(size: int) -> None:
    n = 20_001
    loader = DataLoader(ArrayDataset(np.arange(n), np.arange(n)), size, shuffle=True, seed=3)
    assert np.array_equal(np.concatenate([y for _, y in loader]), permutation(n, 3, 0)[:])


def test_epochs() -> None:
    loader = DataLoader(ArrayDataset(X, np.arange(50)), 50, shuffle=True, seed=9)

    def rows() -> list[int]:
        return next(iter(loader))[1].tolist()

    def order(epoch: int) -> list[int]:
        return list(permutation(50, 9, epoch))

    assert loader.epoch == 0
    assert rows() == order(0)
    assert loader.epoch == 1
    assert rows() == order(1)
    loader.set_epoch(7)
    assert list(loader.order()) == order(7)
    assert rows() == order(7)
    assert rows() == order(8)
    # A pass keeps the epoch it began with.
    first = iter(loader)
    loader.set_epoch(0)
    assert next(first)[1].tolist() == order(9)
    assert loader.epoch == 0
    with pytest.raises(ValueError, match="epoch must be >= 0, got -1"):
        loader.set_epoch(-1)
    with pytest.raises(TypeError, match="epoch must be an integer, got float"):
        loader.set_epoch(1.0)  # type: ignore[arg-type]


def test_passes_at_the_same_time() -> None:
    loader = DataLoader(ArrayDataset(X, np.arange(50)), 10)
    pairs = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    assert all(a == b for a, b in pairs)
    assert len(pairs) == 5


class Squares:
    """A data set of one's own, made on the fly."""

    def __len__(self) -> int:
        return 10

    def take(self, rows: slice | NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        index = np.arange(10)[rows]
        return index[:, None].astype(np.float32), index**2


def test_loader_of_a_dataset_of_ones_own() -> None:
    loader = DataLoader(Squares(), 4, shuffle=True, seed=1)
    assert [len(y) for _, y in loader] == [4, 4, 2]
    assert sorted(np.concatenate([y for _, y in loader])) == [i * i for i in range(10)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got float"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
        ({"seed": -1}, ValueError, "seed must be >= 0, got -1"),
        ({"seed": None}, TypeError, "seed must be an integer, got NoneType"),
        ({"dataset": X}, TypeError, "arrays are wrapped in an ArrayDataset"),
    ],
)
def test_loader_arguments(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataLoader(**{"dataset": ArrayDataset(X, Y), "batch_size": 5, **options})


# Data modules


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
