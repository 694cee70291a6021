"""Memory of batches: used again when nothing refers to them any more, and never before."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from softstep.data import ArrayDataset, DataLoader
from softstep.data.memory import ReusedMemory

FLOAT = np.dtype(np.float32)
ROWS, COLUMNS, SIZE = 10_000, 300, 100  # three reads of 4 MB and a shorter one
X = np.random.default_rng(0).random((ROWS, COLUMNS), np.float32)
WIDE = np.random.default_rng(1).random((ROWS, 40))


def place(array: NDArray[Any]) -> int:
    return array.ctypes.data


def loader(**how: Any) -> DataLoader:
    """Whose rows end with their numbers."""
    return DataLoader(ArrayDataset(X, WIDE, np.arange(ROWS)), SIZE, **how)


def check(batch: tuple[NDArray[Any], ...]) -> None:
    x, wide, rows = batch
    assert np.array_equal(x, X[rows])
    assert np.array_equal(wide, WIDE[rows])


# What holds an array


@pytest.mark.parametrize(
    "held",
    [
        lambda a: a,
        lambda a: a[5],
        lambda a: a.T[:3],
        lambda a: a.view(np.int32)[::2, ::7],
        lambda a: a.base,
        lambda a: memoryview(a),
        lambda a: np.from_dlpack(a),
        lambda a: a.reshape(-1).reshape(100, 300, 1)[:0],
        lambda a: [a.flat],
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 4, 0),
        lambda a: np.ma.masked_array(a),
        lambda a: a.view(np.recarray),
    ],
)
def test_what_is_held_is_not_used_again(held: Callable[[NDArray[Any]], Any]) -> None:
    memory = ReusedMemory()
    array = memory.empty((100, 300), FLOAT)
    first = place(array)
    kept = held(array)
    del array
    gc.collect()
    others = [memory.empty((100, 300), FLOAT) for _ in range(4)]
    assert first not in map(place, others)
    del kept
    gc.collect()
    assert place(memory.empty((100, 300), FLOAT)) == first


def test_tensors_hold_their_memory() -> None:
    torch = pytest.importorskip("torch")
    memory = ReusedMemory()
    tensor = torch.from_numpy(memory.empty((100, 300), FLOAT))[:3]
    assert place(memory.empty((100, 300), FLOAT)) != tensor.data_ptr()


def test_rows_of_one_kind_share_memory() -> None:
    memory = ReusedMemory()
    first = place(memory.empty((100, 300), FLOAT))
    assert place(memory.empty((100, 301), FLOAT)) != first
    assert place(memory.empty((60, 300), np.dtype(np.float64))) != first
    assert place(memory.empty((60, 300), FLOAT)) == first
    longer = memory.empty((101, 300), FLOAT)
    longer[:] = 1  # every byte is ours
    assert longer.flags.c_contiguous
    assert longer.flags.writeable


@pytest.mark.parametrize("shape", [(0, 300), (300, 0), (10, 10), ((1 << 18) + 1, 32)])
def test_small_and_huge_arrays_are_ordinary(shape: tuple[int, int]) -> None:
    array = ReusedMemory().empty(shape, FLOAT)
    assert array.shape == shape
    assert array.flags.owndata


def test_not_much_is_kept() -> None:
    memory = ReusedMemory()
    tracemalloc.start()
    try:
        arrays = [memory.empty((1000, 250), FLOAT) for _ in range(20)]
        assert tracemalloc.get_traced_memory()[0] > 20e6
        arrays.clear()
        assert 3.9e6 < tracemalloc.get_traced_memory()[0] < 4.1e6
        del memory
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1e5
    finally:
        tracemalloc.stop()


def test_arrays_outlive_what_gave_them() -> None:
    memory = ReusedMemory()
    array = memory.empty((100, 300), FLOAT)
    array[:] = 7
    del memory
    gc.collect()
    np.ones((100, 300), np.float32)
    assert (array == 7).all()


# Loaders


def test_passes_use_their_memory_again() -> None:
    """Two reads at a time: that of the batch in use, and the next one."""
    batches = loader(shuffle=True)
    seen: list[set[int]] = []
    for _ in range(3):
        seen.append(set())
        for batch in batches:
            check(batch)
            seen[-1].add(place(batch[0].base))
        del batch
    assert len(seen[0]) == 2
    assert seen[1] == seen[2] == seen[0]


def test_large_batches_use_their_memory_again() -> None:
    batches = DataLoader(ArrayDataset(X), 2000)
    assert len({place(x) for (x,) in batches}) == 2


@given(seed=st.integers(0, 1000))
def test_batches_that_are_kept_stay_as_they_are(seed: int) -> None:
    """Whichever are kept, and for however long, over two passes that take turns."""
    batches = loader(shuffle=True, seed=seed)
    random = Random(seed)
    kept: list[Any] = []
    for pair in zip(batches, batches, strict=True):
        for batch in pair:
            check(batch)
            if random.random() < 0.3:
                kept.append(batch if random.random() < 0.5 else tuple(a[:50] for a in batch))
        if random.random() < 0.1:
            random.shuffle(kept)
            del kept[random.randrange(len(kept) + 1) :]
    for batch in kept:
        check(batch)


def test_a_list_of_all_batches() -> None:
    for batches in (loader(), loader(shuffle=True)):
        for batch in list(batches) + list(batches):
            check(batch)


def test_what_is_written_to_a_batch_is_in_no_other() -> None:
    for batch in loader(shuffle=True):
        check(batch)
        for array in batch:
            array[:] = 3


def test_threads_share_a_loader() -> None:
    batches = loader(shuffle=True)
    failures: list[BaseException] = []

    def go() -> None:
        try:
            kept: list[Any] = []
            for _ in range(4):
                for i, batch in enumerate(batches):
                    check(batch)
                    if i % 7 == 0:
                        kept.append(batch)
                for batch in kept:
                    check(batch)
                del kept[::2]
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=go) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.parametrize(
    "other", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies_of_loaders(other: Callable[[DataLoader], DataLoader]) -> None:
    batches = loader(shuffle=True)
    for batch in batches:
        check(batch)
    pairs = zip(other(batches), batches, strict=True)
    for batch, mine in pairs:
        check(batch)
        check(mine)
