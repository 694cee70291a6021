"""Memory for batches that is used again when nobody holds the batch any more.

The pages of fresh memory cost more than the rows that are written to them, and `malloc` gives large
blocks back to the system. So what a loader reads goes where a batch before has been, once that and
all views of it are gone; a batch that is kept keeps its memory for itself.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReusedMemory"]

_KEPT = 4  # blocks of a kind: what is read and what is still in use, of features and like targets
_SMALL = 1 << 16  # bytes; what is smaller `malloc` keeps
_LARGE = 1 << 25  # so much is not kept for a next time that may never come


class _Loan(NamedTuple):
    array: weakref.ref[NDArray[Any]]
    kind: tuple[Any, ...]
    memory: memoryview


class ReusedMemory:
    """Gives arrays, in memory of those it gave before if nothing refers to them any more.

    Memory is used again for arrays of the same rows, of which there may be fewer. Threads may share
    it; it is copied and pickled as an empty one.

    Examples
    --------
    >>> memory = ReusedMemory()
    >>> a = memory.empty((300, 100), np.dtype(np.float32))
    >>> place, part = a.ctypes.data, a[:2]
    >>> del a
    >>> b = memory.empty((300, 100), np.dtype(np.float32))
    >>> b.ctypes.data == place  # of which `part` is a view
    False
    >>> del part
    >>> memory.empty((200, 100), np.dtype(np.float32)).ctypes.data == place
    True
    """

    def __init__(self) -> None:
        self._free: defaultdict[tuple[Any, ...], list[memoryview]] = defaultdict(list)
        self._loans: dict[int, _Loan] = {}

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array whose values are whatever was there."""
        size = math.prod(shape) * dtype.itemsize
        if not _SMALL <= size <= _LARGE:
            return np.empty(shape, dtype)
        kind = (dtype, *shape[1:])
        try:
            memory = self._free[kind].pop()
        except IndexError:
            memory = memoryview(b"")
        if memory.nbytes < size:
            memory = np.empty(size, np.uint8).data
        # Views of it refer to this array and to nothing below it, which is no array.
        array = np.frombuffer(memory[:size], dtype)
        lent = weakref.ref(array, self._give_back)
        self._loans[id(lent)] = _Loan(lent, kind, memory)
        return array.reshape(shape)

    def _give_back(self, lent: weakref.ref[NDArray[Any]]) -> None:
        loan = self._loans.pop(id(lent))
        free = self._free[loan.kind]
        if len(free) < _KEPT:
            free.append(loan.memory)

    def __reduce__(self) -> tuple[type[ReusedMemory], tuple[()]]:
        return ReusedMemory, ()
