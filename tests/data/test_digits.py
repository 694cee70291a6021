"""The embedded digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import softstep.data.digits
from softstep.data import Digits

FOLDER = Path(softstep.data.digits.__file__).parent


def test_same_as_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    data = Digits()
    parts = [data.arrays(True), data.arrays(False)]
    x = np.concatenate([part[0] for part in parts if part is not None])
    y = np.concatenate([part[1] for part in parts if part is not None])
    assert x.dtype == np.uint8
    assert np.array_equal(x, theirs.data)
    assert np.array_equal(y, theirs.target)


def test_sizes_and_batches() -> None:
    data = Digits()
    assert (len(data.train), len(data.val)) == (1437, 360)
    assert data.batch_size == 64
    assert len(data.train_dataloader()) == 23
    x, y = next(iter(data.val_dataloader()))
    assert (x.shape, x.dtype) == ((64, 1, 8, 8), np.float32)
    assert (y.shape, y.dtype) == ((64,), np.int64)
    assert data.train[0][0].shape == (1, 8, 8)


@pytest.mark.parametrize("train", [True, False])
def test_batches_equal_the_raw_rows(train: bool) -> None:
    data = Digits()
    raw = data.arrays(train)
    assert raw is not None
    x, y, scale, shift = raw
    assert (scale, shift) == (1 / 16, None)
    images, labels = (data.train if train else data.val)[:]
    assert np.array_equal(images.reshape(len(x), 64), x / 16)  # exact: a power of two
    assert np.array_equal(labels, y)
    assert images.min() == 0
    assert images.max() == 1
    assert set(labels) == set(range(10))


def test_without_validation() -> None:
    data = Digits(val=False)
    assert data.val is None
    assert data.val_dataloader() is None
    assert data.arrays(False) is None
    assert len(data.train) == 1437


def test_text_labels() -> None:
    data = Digits()
    assert data.text_labels(np.array([3, 0, 9])) == ["3", "0", "9"]
    assert data.num_classes == 10
    for wrong in (10, -1):
        with pytest.raises(IndexError, match=f"label {wrong} is no class: 0 to 9"):
            data.text_labels([wrong])


def test_a_linear_model_learns_them() -> None:
    data = Digits()
    x, y = data.train[:]
    onehot = np.eye(10)[y] - 0.1
    rows = np.hstack([x.reshape(len(x), 64), np.ones((len(x), 1))])
    weights = np.linalg.lstsq(rows, onehot, rcond=None)[0]
    x, y = data.val[:]
    guessed = (np.hstack([x.reshape(len(x), 64), np.ones((len(x), 1))]) @ weights).argmax(1)
    assert 0.84 < np.mean(guessed == y) < 0.95


def test_licence_is_beside_the_data() -> None:
    text = (FOLDER / "LICENSE.txt").read_text(encoding="utf-8")
    for word in ("CC BY 4.0", "Alpaydin", "Kaynak", "10.24432/C50P49", "creativecommons.org"):
        assert word in text
    assert sum(file.stat().st_size for file in FOLDER.glob("*.gz")) < 50_000
