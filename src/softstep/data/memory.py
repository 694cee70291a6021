"""Memory for batches that is used again when nobody holds the batch any more.

The pages of fresh memory cost more than the rows that are written to them, and `malloc` gives large
blocks back to the system. So what a loader reads goes where a batch before has been, once that and
all views of it are gone; a batch that is kept keeps its memory for itself.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReusedMemory"]

_SMALL = 1 << 16  # bytes; what is smaller `malloc` keeps
_KEPT_BYTES, _KEPT_BLOCKS = 1 << 26, 16


class _Block:
    """Memory, and all of it that somebody has."""

    def __init__(self, memory: NDArray[np.uint8], lent: NDArray[np.uint8]) -> None:
        self.memory = memory
        self.lent = weakref.ref(lent)

    def fits(self, size: int) -> bool:
        return self.lent() is None and len(self.memory) >= size


class ReusedMemory:
    """Gives arrays, in memory of those it gave before if nothing refers to them any more.

    At most 16 blocks and 64 MB are kept. Threads may share it; it is pickled as an empty one.

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
        self._blocks: list[_Block] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array whose values are whatever was there."""
        size = math.prod(shape) * dtype.itemsize
        if not _SMALL <= size <= _KEPT_BYTES // 2:
            return np.empty(shape, dtype)
        memory = self._unused(size)
        # Whoever holds the array, a view of it or whatever is below it holds this.
        lent = np.frombuffer(memory[:size].data, np.uint8)
        array = np.frombuffer(lent.data, dtype).reshape(shape)
        self._blocks.append(_Block(memory, lent))
        del self._blocks[:-_KEPT_BLOCKS]
        while sum(len(block.memory) for block in self._blocks[:]) > _KEPT_BYTES:
            del self._blocks[:1]
        return array

    def _unused(self, size: int) -> NDArray[np.uint8]:
        """Take the smallest block that will do."""
        fitting = [block for block in self._blocks[:] if block.fits(size)]
        for block in sorted(fitting, key=lambda block: len(block.memory)):
            try:
                self._blocks.remove(block)
            except ValueError:  # another thread has it
                continue
            return block.memory
        return np.empty(size, np.uint8)

    def __reduce__(self) -> tuple[type[ReusedMemory], tuple[()]]:
        return ReusedMemory, ()
