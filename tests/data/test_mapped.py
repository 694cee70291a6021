"""Memory-mapped files that shrink, change, or are replaced: an error, not a crash (line 24)."""

from __future__ import annotations

import copy
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep
from softstep.data import ArrayDataModule, ArrayDataset, DataFileError, read_idx

N = 50_000  # 2.4 MB: more than a page, so that reading past the end of the file would be SIGBUS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).random((N, 12), np.float32))
    os.utime(path, ns=(1, 1))  # a change now has another time, however coarse the clock
    return path


def data_of(path: Path) -> ArrayDataModule:
    x = np.load(path, mmap_mode="r")
    return ArrayDataModule(x, (np.arange(N) % 3), x[:10], np.arange(10) % 3, batch_size=100)


def shrink(path: Path) -> None:
    os.truncate(path, 4096)


def change(path: Path) -> None:
    with path.open("r+b") as opened:
        opened.seek(-4, os.SEEK_END)
        opened.write(b"abcd")


def grow(path: Path) -> None:
    with path.open("ab") as opened:
        opened.write(b"more")


def replace(path: Path) -> None:
    other = path.with_name("other.npy")
    np.save(other, np.zeros((N, 12), np.float32))
    other.replace(path)


CHANGES = [
    (shrink, "has shrunk since it was mapped: 4096 bytes, expected 2400128"),
    (change, "has changed since it was mapped"),
    (grow, "has changed since it was mapped"),
    (replace, "was replaced by another file since it was mapped"),
]


@pytest.mark.parametrize(("spoil", "message"), CHANGES, ids=lambda value: str(value)[:20])
def test_between_batches(file: Path, spoil: Callable[[Path], None], message: str) -> None:
    data = data_of(file)
    loader = iter(data.train_dataloader())
    assert len(next(loader)[0]) == 100
    spoil(file)
    with pytest.raises(DataFileError, match=message) as caught:
        next(loader)
    assert str(file) in str(caught.value)
    with pytest.raises(DataFileError, match=message):
        data.arrays(True)
    with pytest.raises(DataFileError, match=message):
        data.val[0]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("spoil", "message"), CHANGES, ids=lambda value: str(value)[:20])
def test_between_epochs(
    file: Path, spoil: Callable[[Path], None], message: str, fused: bool
) -> None:
    class Spoiling(softstep.Trainer):
        def fit_epoch(self) -> None:
            if self.epoch == 1:
                spoil(file)
            super().fit_epoch()

    data = data_of(file)
    data.shuffle = fused  # in a fixed order it goes step by step
    trainer = Spoiling(3)
    model = softstep.SoftmaxRegression(3, 0.1)
    with pytest.raises(DataFileError, match=message):
        trainer.fit(model, data)
    assert trainer.fused is fused
    assert len(trainer.history) == 1
    assert np.isfinite(model.weight.data).all()


def test_fused_path_on_a_mapped_file(file: Path) -> None:
    """Training does not copy the file, and equals that on the same rows in memory."""
    mapped, memory = data_of(file), data_of(file)
    memory.train = ArrayDataset(np.load(file), np.arange(N) % 3)
    weights = []
    for data in (mapped, memory):
        model, trainer = softstep.SoftmaxRegression(3, 0.1), softstep.Trainer(2)
        trainer.fit(model, data)
        assert trainer.fused
        weights.append(model.weight.data.tobytes())
    assert weights[0] == weights[1]


def test_removed_file_stays_mapped(file: Path) -> None:
    data = data_of(file)
    expected = data.train[:100][0].copy()
    file.unlink()
    assert np.array_equal(data.train[:100][0], expected)


def test_writable_maps_may_change(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (N, 3))
    data = ArrayDataset(x, np.arange(N))
    x[:] = 1
    x.flush()
    time.sleep(0.01)
    assert (data[:][0] == 1).all()
    shrink(tmp_path / "x.npy")
    with pytest.raises(DataFileError, match="has shrunk"):
        data[0]


def test_views_and_copies(file: Path) -> None:
    x = np.load(file, mmap_mode="r")
    view = ArrayDataset(np.asarray(x)[10:20, ::2].T.T, np.arange(10))
    assert view.is_mapped
    copies = [copy.deepcopy(view), pickle.loads(pickle.dumps(view))]
    fancy = ArrayDataset(x[[1, 2]], np.arange(2))
    shrink(file)
    with pytest.raises(DataFileError, match="has shrunk"):
        view[:]
    for data in (*copies, fancy):  # in memory
        assert not data.is_mapped
        assert len(data[:][0]) == len(data)


def test_file_too_short_at_once(file: Path) -> None:
    x = np.load(file, mmap_mode="r")
    shrink(file)
    with pytest.raises(DataFileError, match=r"has shrunk since it was mapped: 4096 bytes"):
        ArrayDataset(x, np.arange(N))


def test_mapped_idx(tmp_path: Path, idx_bytes: Callable[[Any], bytes]) -> None:
    """Raw IDX files are data that need not fit in memory."""
    images = np.random.default_rng(1).integers(0, 256, (2000, 8, 8), np.uint8)
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(images))
    data = ArrayDataModule(read_idx(path, mmap=True), np.arange(2000) % 10, scale=1 / 255)
    raw = data.arrays(True)
    assert raw is not None
    assert raw[0].shape == (2000, 64)
    trainer = softstep.Trainer(1)
    trainer.fit(softstep.SoftmaxRegression(10, 0.1), data)
    assert trainer.fused
    os.truncate(path, 5000)
    with pytest.raises(DataFileError, match="has shrunk"):
        softstep.Trainer(1).fit(softstep.SoftmaxRegression(10, 0.1), data)
