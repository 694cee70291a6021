"""Parts of data: subsets, random splits, rows held out for validation, the test rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softstep
from softstep.data import (
    ArrayDataModule,
    ArrayDataset,
    DataModule,
    Digits,
    Subset,
    random_split,
    train_val_test_split,
)

X = np.random.default_rng(0).integers(0, 256, (50, 12), np.uint8)
Y = np.arange(50)


def rows_of(part: Any) -> list[int]:
    return part[:][1].tolist()


# Splits of data sets


@given(st.integers(1, 200), st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(0, 99))
def test_every_row_is_in_one_part(n: int, weights: list[float], seed: int) -> None:
    total = sum(weights)
    shares = [w / total for w in weights] if total > 0 else [1.0]
    parts = random_split(ArrayDataset(np.arange(float(n)), np.arange(n)), shares, seed=seed)
    assert len(parts) == len(shares)
    rows = [rows_of(part) for part in parts]
    assert sorted(row for part in rows for row in part) == list(range(n))
    assert all(part == sorted(part) for part in rows)
    for part, share in zip(rows, shares, strict=True):
        assert -1 < len(part) - share * n < len(shares) + 1


def test_split_of_an_array_dataset() -> None:
    data = ArrayDataset(X, Y, scale=1 / 255, shift=-0.5, item_shape=(3, 4))
    parts = random_split(data, [30, 15, 5], seed=1)
    assert [len(part) for part in parts] == [30, 15, 5]
    for part in parts:
        assert type(part) is ArrayDataset
        x, y = part[:]
        assert x.tobytes() == data[y][0].tobytes()
        assert part.arrays() is not None
    again = random_split(data, [30, 15, 5], seed=1)
    assert [rows_of(part) for part in again] == [rows_of(part) for part in parts]
    assert rows_of(random_split(data, [30, 20], seed=2)[0]) != rows_of(parts[0])
    assert random_split(ArrayDataset(X, Y), [50])[0][:][0].dtype == np.uint8


def test_split_is_no_epoch_of_training() -> None:
    data = ArrayDataset(X, Y)
    held = set(rows_of(random_split(data, [40, 10], seed=0)[1]))
    for epoch in range(50):
        assert set(softstep.data.permutation(50, 0, epoch)[40:].tolist()) != held


def test_split_of_mapped_and_other_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = ArrayDataset(np.load(tmp_path / "x.npy", mmap_mode="r"), Y)
    assert mapped.is_mapped
    assert not ArrayDataset(X, Y).is_mapped
    for data in (mapped, Subset(ArrayDataset(X, Y), np.arange(50)[::-1])):
        parts = random_split(data, [0.5, 0.5])
        for part in parts:
            assert isinstance(part, Subset)
            x, y = part[:]
            assert np.array_equal(x, X[y])
        assert sorted(rows_of(parts[0]) + rows_of(parts[1])) == list(range(50))


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ([], ValueError, "sizes must not be empty"),
        ([0.5, 0.4], ValueError, "shares whose sum is 1"),
        ([1.5, -0.5], ValueError, "shares whose sum is 1"),
        ([float("nan")], ValueError, "shares whose sum is 1"),
        ([20, 20], ValueError, "sizes must have the sum 50"),
        ([60, -10], ValueError, r"sizes\[1\] must be >= 0"),
        ([0.5, 25], TypeError, r"sizes\[0\] must be an integer, got float"),
        (["a"], TypeError, r"sizes\[0\] must be an integer"),
    ],
)
def test_refused_sizes(sizes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        random_split(ArrayDataset(X, Y), sizes)


def test_split_refuses_arrays() -> None:
    with pytest.raises(TypeError, match="data must have a length and take"):
        random_split(X, [50])  # type: ignore[arg-type]


# Subsets


def test_subset() -> None:
    data = Subset(ArrayDataset(X, Y), [7, 3, 3, 49])
    assert len(data) == 4
    assert rows_of(data) == [7, 3, 3, 49]
    assert data[-1][1] == 49
    assert np.array_equal(data[[0, 2]][0], X[[7, 3]])
    assert Subset(data, [3, 0])[:][1].tolist() == [49, 7]
    assert "4 rows" in repr(data)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0, 50], IndexError, r"rows\[1\] is 50, accepted: 0 to 49"),
        ([-1], IndexError, r"rows\[0\] is -1"),
        ([0.5], TypeError, "rows must hold integers, got float64"),
        ([[1]], ValueError, "rows must be a list of rows"),
    ],
)
def test_refused_rows(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Subset(ArrayDataset(X, Y), rows)


# Splits of arrays


def test_three_way_split() -> None:
    parts = train_val_test_split(X, Y, val_size=0.2, test_size=5, seed=3)
    assert [len(part[0]) for part in parts] == [35, 10, 5]
    assert sorted(np.concatenate([part[1] for part in parts])) == list(range(50))
    for x, y in parts:
        assert np.array_equal(x, X[y])
        assert not np.shares_memory(x, X)
    train, val, test = train_val_test_split(X, Y, val_size=0.2, test_size=5, shuffle=False)
    assert (train[1][-1], val[1][0], test[1].tolist()) == (34, 35, [45, 46, 47, 48, 49])
    for part in (train, val, test):
        assert np.shares_memory(part[0], X)
    assert len(train_val_test_split(X, val_size=0, test_size=0)[0]) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"val_size": 0.5, "test_size": 0.5}, ValueError, "must leave rows for training, got 25"),
        ({"val_size": 1.0}, ValueError, "val_size must be a number of rows or a share less than 1"),
        ({"test_size": -0.1}, ValueError, "test_size must be"),
        ({"test_size": -1}, ValueError, "test_size must be >= 0"),
        ({"val_size": 51}, ValueError, "val_size must be at most the 50 rows"),
        ({"val_size": "1"}, TypeError, "val_size must be an integer"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
    ],
)
def test_refused_three_way_splits(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_val_test_split(X, Y, **options)


def test_refused_arrays() -> None:
    with pytest.raises(ValueError, match="arrays must not be empty"):
        train_val_test_split()
    with pytest.raises(ValueError, match=r"same length, got \[50, 3\]"):
        train_val_test_split(X, Y[:3])
    with pytest.raises(ValueError, match="arrays must have rows"):
        train_val_test_split(1.0)


# Validation rows of image modules, and the test rows


@pytest.mark.parametrize("val_size", [137, 0.1])
def test_held_out_images(val_size: float) -> None:
    plain, data = Digits(), Digits(val_size=val_size)
    held = 137 if val_size == 137 else 144
    assert (len(data.train), len(data.val), len(data.test)) == (1437 - held, held, 360)
    assert (len(plain.train), len(plain.val)) == (1437, 360)
    assert plain.test is plain.val
    assert np.array_equal(data.test[:][0], plain.test[:][0])

    def rows(dataset: Any) -> list[bytes]:
        x, y = dataset[:]
        return [a.tobytes() + b.tobytes() for a, b in zip(x, y, strict=True)]

    assert sorted(rows(data.train) + rows(data.val)) == sorted(rows(plain.train))
    assert set(rows(data.val)).isdisjoint(rows(data.train))
    assert rows(Digits(val_size=val_size).val) == rows(data.val)
    assert rows(Digits(val_size=val_size, seed=1).val) != rows(data.val)
    assert data.arrays(True) is not None
    assert data.arrays(False) is not None


def test_test_rows_are_evaluated_at_the_end() -> None:
    data = Digits(val_size=0.2)
    model = softstep.SoftmaxRegression(10, 0.5)
    trainer = softstep.Trainer(15)
    history = trainer.fit(model, data)
    assert trainer.fused
    found = softstep.evaluate(model, data.on_test())
    assert found.rows == 360
    x, y = data.test[:]
    assert found.accuracy == pytest.approx((model.predict(x) == y).mean())
    assert softstep.evaluate(model, data).accuracy == history[-1].val_accuracy
    assert history[-1].val_accuracy - found.accuracy > 0.02  # rows of other writers are harder
    assert [len(y) for _, y in data.test_dataloader()] == [64] * 5 + [40]


def test_test_files_are_not_read_before(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path)
    data = softstep.MNIST(root=tmp_path, val_size=10)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"broken")
    softstep.Trainer(1).fit(softstep.SoftmaxRegression(10, 0.1), data)
    with pytest.raises(softstep.data.DataFileError, match="t10k-images"):
        data.on_test()


def test_modules_without_test_rows() -> None:
    for data in (DataModule(), Digits(val=False), ArrayDataModule(X, Y)):
        assert data.test is None
        assert data.test_dataloader() is None
        with pytest.raises(ValueError, match=f"{type(data).__name__} has no test data"):
            data.on_test()


def test_own_test_dataloader() -> None:
    class Own(ArrayDataModule):
        def test_dataloader(self) -> Any:
            return self.get_tensorloader((X[:7], Y[:7]), False)

    data = Own(X, Y, x_test=X, y_test=Y, batch_size=5).on_test()
    assert [len(y) for _, y in data.val_dataloader()] == [5, 2]
    assert data.arrays(False) is None
    assert data.arrays(True) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"val_size": 0}, ValueError, "val_size must leave training and validation images, got 0"),
        ({"val_size": 1437}, ValueError, "val_size must leave training"),
        ({"val_size": 2000}, ValueError, "val_size must be at most the 1437 rows"),
        ({"val_size": 1.0}, ValueError, "val_size must be a number of rows or a share"),
        ({"val_size": float("nan")}, ValueError, "val_size must be"),
        ({"val_size": "a"}, TypeError, "val_size must be an integer, got str"),
        ({"val_size": True}, TypeError, "val_size must be an integer, got True"),
        ({"val_size": 5, "val": False}, ValueError, "val_size must be None with val=False"),
    ],
)
def test_refused_val_sizes(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _ = Digits(**options).train


# Array modules


def test_array_module_with_test_rows() -> None:
    data = ArrayDataModule(
        X[:30], Y[:30], X[30:40], Y[30:40], x_test=X[40:], y_test=Y[40:], scale=1 / 255
    )
    assert (len(data.train), len(data.val), len(data.test)) == (30, 10, 10)
    x, y = data.on_test().val[:]
    assert np.array_equal(y, Y[40:])
    assert np.array_equal(x, X[40:] * np.float32(1 / 255))
    raw = data.on_test().arrays(False)
    assert raw is not None
    assert np.shares_memory(raw[0], X)


def test_array_module_holds_rows_out(tmp_path: Path) -> None:
    data = ArrayDataModule(X, Y, val_size=0.2, seed=4)
    assert (len(data.train), len(data.val), data.test) == (40, 10, None)
    assert sorted(rows_of(data.train) + rows_of(data.val)) == list(range(50))
    assert data.arrays(True) is not None
    np.save(tmp_path / "x.npy", X)
    mapped = ArrayDataModule(np.load(tmp_path / "x.npy", mmap_mode="r"), Y, val_size=0.2, seed=4)
    assert rows_of(mapped.val) == rows_of(data.val)
    assert mapped.arrays(True) is None
    batches = list(mapped.train_dataloader())
    assert sorted(np.concatenate([y for _, y in batches])) == rows_of(data.train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x_test": X}, "x_test and y_test must be given together"),
        ({"x_test": X[:, :3], "y_test": Y}, r"x_test must have rows of shape \(12,\) as x has"),
        ({"x_val": X, "y_val": Y, "val_size": 3}, "val_size must be None with x_val and y_val"),
        ({"val_size": 0.001}, "val_size must leave training and validation rows"),
        ({"val_size": 50}, "val_size must leave training and validation rows"),
    ],
)
def test_refused_array_modules(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArrayDataModule(X, Y, **options)
