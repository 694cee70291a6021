"""Memory of batches: used again when nothing refers to them any more, and never before."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import threading
import time
import tracemalloc
import weakref
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

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)
ROWS, COLUMNS, SIZE = 10_000, 300, 100  # three reads of 4 MB and a shorter one
X = np.random.default_rng(0).random((ROWS, COLUMNS), np.float32)
WIDE = np.random.default_rng(1).random((ROWS, 8, 10))


def allocated(make: Callable[[], Any]) -> int:
    """How many bytes this allocates, whether or not it keeps them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        make()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


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
        lambda a: a.base.base,
        lambda a: a.base.base.obj,
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
    assert allocated(lambda: memory.empty((100, 300), FLOAT)) < 10_000
    assert place(memory.empty((100, 300), FLOAT)) == first


def test_tensors_hold_their_memory() -> None:
    torch = pytest.importorskip("torch")
    memory = ReusedMemory()
    tensor = torch.from_numpy(memory.empty((100, 300), FLOAT))[:3]
    assert place(memory.empty((100, 300), FLOAT)) != tensor.data_ptr()


def test_the_smallest_block_that_will_do() -> None:
    memory = ReusedMemory()
    sizes = [100_000, 300_000, 200_000]
    arrays = [memory.empty((1, size), BYTE) for size in sizes]
    places = dict(zip(sizes, map(place, arrays), strict=True))
    arrays.clear()
    a = memory.empty((70_000, 2), BYTE)
    assert place(a) == places[200_000]
    b = memory.empty((20, 1000), FLOAT)
    assert place(b) == places[100_000]
    c = memory.empty((150_000, 1), BYTE)
    assert place(c) == places[300_000]
    assert allocated(lambda: memory.empty((80_000, 1), BYTE)) > 80_000
    del a
    assert allocated(lambda: memory.empty((200_001, 1), BYTE)) > 200_000


def test_arrays_are_whole() -> None:
    memory = ReusedMemory()
    for rows in (1000, 700, 1300, 1000):
        array = memory.empty((rows, 50), np.dtype(np.float64))
        array[:] = rows  # every byte is ours
        assert array.shape == (rows, 50)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert (array == rows).all()


@pytest.mark.parametrize("shape", [(0, 300), (300, 0), (10, 10), ((1 << 18) + 1, 32)])
def test_small_and_huge_arrays_are_ordinary(shape: tuple[int, int]) -> None:
    array = ReusedMemory().empty(shape, FLOAT)
    assert array.shape == shape
    assert array.flags.owndata


def test_not_much_is_kept() -> None:
    memory = ReusedMemory()
    tracemalloc.start()
    try:
        for rows, kept in ((1000, 16e6), (5000, 65e6)):  # 16 blocks of 1 MB, 13 of 5 MB
            arrays = [memory.empty((rows, 250), FLOAT) for _ in range(20)]
            assert tracemalloc.get_traced_memory()[0] >= 20e3 * rows
            arrays.clear()
            assert kept <= tracemalloc.get_traced_memory()[0] < kept + 0.1e6
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
    seen: list[set[tuple[int, int]]] = []
    for _ in range(3):
        seen.append(set())
        for batch in batches:
            check(batch)
            seen[-1].add((place(batch[0].base), place(batch[1].base)))
        del batch
    assert len(seen[0]) == 2
    assert seen[1] == seen[2] == seen[0]
    assert allocated(lambda: [len(rows) for _, _, rows in batches]) < 1e6


def test_what_a_loader_kept_goes_with_it() -> None:
    gc.disable()
    try:
        batches = loader()
        kept = next(iter(batches))
        gone = weakref.ref(batches._memory)
        del batches
        assert gone() is None
        check(kept)
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs Linux or macOS")
def test_interrupts_are_heard(rng: np.random.Generator) -> None:
    """Wherever they come, also where memory is lent and comes back."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    small = DataLoader(ArrayDataset(X[:600, :40]), 500)

    def passes(after: float) -> None:
        end = time.monotonic() + 5
        signal.setitimer(signal.ITIMER_REAL, after)
        while time.monotonic() < end:
            for _ in small:
                pass

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for after in rng.uniform(1e-5, 5e-4, 2000):
            with pytest.raises(KeyboardInterrupt):
                passes(after)
    finally:
        signal.signal(signal.SIGALRM, previous)
    for batch in loader():
        check(batch)


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
