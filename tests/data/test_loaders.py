"""Data sets and loaders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from softstep.data import ArrayDataset, DataLoader, permutation

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


def test_rows_as_numpy_takes_them() -> None:
    """Lists, other integers, strides, numbers from the end: as ``numpy.take``."""
    for x in (X, X.astype("f4"), np.asfortranarray(X), X.astype("i2"), X[::-2]):
        data = ArrayDataset(x, Y[: len(x)])
        for rows in ([3, 1], np.array([2, 0], np.int32), np.arange(20)[::-3], np.array([-1, 3])):
            got, y = data.take(rows)  # type: ignore[arg-type]
            assert equal(got, x.take(rows, axis=0))
            assert equal(y, Y[: len(x)].take(rows).astype(np.int64))
        for wrong_rows, error in ((np.array([[0, 1]]), ValueError), (3, ValueError),
                                  (np.array([True, False]), TypeError)):  # fmt: skip
            with pytest.raises(error, match=r"^rows has"):
                data.take(wrong_rows)  # type: ignore[arg-type]
        for wrong in ([0, len(x)], [-len(x) - 1]):
            with pytest.raises(IndexError, match="out of bounds"):
                data.take(np.array(wrong))


def test_rows_of_no_features() -> None:
    data = ArrayDataset(np.empty((2**40, 0), np.float32))
    assert data.take(np.arange(3))[0].shape == (3, 0)
    assert data.take(slice(None))[0].shape == (2**40, 0)


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
        ((X.astype(np.uint8),), {"scale": 1e39}, ValueError, r"scale is 1e\+39; .* in float32"),
        ((X,), {"scale": "1"}, ValueError, "scale must be a number"),
        ((X,), {"dtype": "f2"}, ValueError, "dtype must be float32 or float64, got float16"),
        ((X,), {"dtype": ",loat32"}, ValueError, "dtype must be float32 or float64, got ,loat32"),
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
        (X.astype("i8"), Y),
        (X > 0, Y),
    ],
    ids=["alone", "three", "int64", "bool"],
)
def test_arrays_the_fused_path_does_not_read(arrays: Any) -> None:
    assert ArrayDataset(*arrays).arrays() is None


@pytest.mark.parametrize(
    "x",
    [
        X.astype(">f4"),
        X[:, ::2],
        np.asfortranarray(X),
        X[:, ::-1],
        X.reshape(50, 3, 4).transpose(0, 2, 1),
        np.asfortranarray(X).astype(np.float16),
        np.broadcast_to(X[:, :1], X.shape),
    ],
    ids=["big-endian", "columns", "Fortran", "backwards", "transposed", "half", "repeated column"],
)
def test_rows_that_are_copied_once(x: Any) -> None:
    """Rows that the kernels would copy at each call are copied by the data set, in memory."""
    data = ArrayDataset(x, Y)
    arrays = data.arrays()
    assert arrays is not None
    rows = arrays[0]
    assert rows.flags.c_contiguous
    assert rows.dtype == x.dtype.newbyteorder("=")
    np.testing.assert_array_equal(rows, np.reshape(x, (50, -1)))
    np.testing.assert_array_equal(data[[7, 3]][0], x[[7, 3]])


def test_mapped_rows_are_not_copied(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = ArrayDataset(x, Y)
    assert data.is_mapped
    assert data.arrays() is None
    np.testing.assert_array_equal(data[[7, 3]][0], X[[7, 3]])


@pytest.mark.parametrize("dtype", [np.int8, np.float16])
def test_narrow_features_take_the_fused_path(dtype: Any) -> None:
    arrays = ArrayDataset(X.astype(dtype), Y, scale=0.5).arrays()
    assert arrays is not None
    assert arrays[0].dtype == dtype


def test_masked_arrays_are_refused() -> None:
    hidden = np.ma.masked_less(X, 0)
    with pytest.raises(TypeError, match="array 0 is a masked array"):
        ArrayDataset(hidden, Y)
    with pytest.raises(TypeError, match="array 1 is a masked array"):
        ArrayDataset(X, np.ma.masked_less(Y, 1))


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


@pytest.mark.parametrize("size", [1, 7, 600, 667, 668, 1500])
@pytest.mark.parametrize(
    "how",
    [{}, {"shuffle": True}, {"replacement": True}, {"sampler": np.arange(2000)[::-3]}],
    ids=lambda how: next(iter(how), "in order"),
)
def test_batches_that_are_read_together(size: int, how: dict[str, Any]) -> None:
    """1334 rows are read in one call: to the bit what is read batch by batch, and no views."""
    x = np.random.default_rng(0).integers(0, 256, (2000, 784), np.uint8)
    data = ArrayDataset(x, np.arange(2000), scale=1 / 255, item_shape=(28, 28))
    loader = DataLoader(data, size, seed=1, **how)
    seen: list[Any] = []
    together = max(1, 1334 // size)  # a row is 3144 bytes
    for rows, (features, numbers) in loader.numbered():
        assert equal(numbers, rows)
        assert equal(features, data.take(rows)[0])
        assert not any(np.shares_memory(features, before) for before in seen[-3:])
        assert features.flags.writeable
        seen.append(features)
    assert len(seen) == len(loader)
    if together > 1:
        ours = [batch.base for batch in seen]
        assert all((ours[i] is ours[0]) == (i < together) for i in range(len(ours)))
        assert ours[0].nbytes <= 1 << 22


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, ">f8", np.uint8, np.uint64])
@pytest.mark.parametrize("shape", [(), (1,), (10,), (200,), (20, 30), (3, 0, 2), (4, 5, 6, 2)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_shapes_of_targets(shape: tuple[int, ...], dtype: Any, shuffle: bool) -> None:
    y = np.arange(50 * int(np.prod(shape)), dtype=np.int64).astype(dtype).reshape(50, *shape)
    expected = y.astype(np.int64 if dtype is np.uint8 else y.dtype.newbyteorder("="))
    for rows, (x, found) in DataLoader(ArrayDataset(X, y), 7, shuffle=shuffle).numbered():
        assert equal(x, X[rows])
        assert equal(found, expected[rows])
        found[:] = 0
    assert equal(y.astype(expected.dtype), expected)
    assert equal(ArrayDataset(X, y)[[-1, 3]][1], expected[[-1, 3]])


@pytest.mark.parametrize("size", [50, 51, 1 << 40, sys.maxsize, 1 << 63])
@pytest.mark.parametrize("how", [{}, {"shuffle": True}, {"replacement": True}])
def test_all_rows_in_one_batch(size: int, how: dict[str, Any]) -> None:
    loader = DataLoader(ArrayDataset(X, np.arange(50)), size, **how)
    ((rows, (x, y)),) = loader.numbered()
    assert equal(x, X[rows])
    assert equal(y, rows)
    loader.drop_last = True
    assert len(list(loader)) == (size == 50)


def test_targets_count_as_what_is_read_together() -> None:
    """Of wide targets no more rows are read than of wide features; bytes become int64."""
    data = ArrayDataset(np.zeros((3000, 2), np.float32), np.zeros((3000, 1000), np.uint8))
    x, y = next(iter(DataLoader(data, 10)))
    assert y.base.nbytes <= 1 << 22
    assert len(x.base) == (1 << 22) // 8008 // 10 * 10
    empty = ArrayDataset(np.empty((20_000, 0), np.float32))
    assert len(next(iter(DataLoader(empty, 10)))[0]) == 10
    assert list(DataLoader(ArrayDataset(np.empty((0, 3)), np.empty(0)), 10)) == []


def test_a_sampler_that_changes_during_a_pass() -> None:
    """Batches come with the rows that they hold."""
    rows = np.arange(40)
    data = ArrayDataset(np.zeros((40, 3)), np.arange(40))
    for numbers, (_, y) in DataLoader(data, 4, sampler=rows).numbered():
        assert np.array_equal(numbers, y)
        rows[:] = rows[::-1].copy()


def test_what_is_read_batch_by_batch(tmp_path: Path) -> None:
    """A data set of one's own, and a file: what they do for a batch may depend on it."""

    class Asked(ArrayDataset):
        def take(self, rows: slice | NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
            batch = super().take(rows)
            asked.append(len(batch[0]))
            return batch

    asked: list[int] = []
    for shuffle in (False, True):
        list(DataLoader(Asked(X, Y), 20, shuffle=shuffle))
    assert asked == 2 * [20, 20, 10]
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (50, 12))
    rows = iter(DataLoader(ArrayDataset(mapped, Y), 20))
    next(rows)
    mapped[20:] = 1
    assert (next(rows)[0] == 1).all()


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
