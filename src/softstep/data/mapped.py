"""Arrays that are mapped from files: which files, and whether they are still what they were."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep.data.idx import DataFileError

__all__ = ["MappedFiles"]


class _Mapped(NamedTuple):
    path: Path
    status: os.stat_result
    end: int
    """Bytes from the start of the file to the end of the mapped array."""
    read_only: bool


class MappedFiles:
    """The files that some arrays are mapped from.

    Touching a mapped array beyond the end of a file that has shrunk kills the process, and of a
    file that has changed some rows are old and others new. So `check` is called before rows
    are read. A file that was removed stays whole as long as it is mapped.

    Parameters
    ----------
    arrays : iterable of ndarray
        Views of ``np.memmap`` arrays count, others are passed over.

    Raises
    ------
    DataFileError
        A file is shorter than its array.
    """

    def __init__(self, arrays: Iterable[NDArray[Any]]) -> None:
        found = (_mapped(array) for array in arrays)
        self.files = tuple({item.path: item for item in found if item is not None}.values())
        self.check()

    def __bool__(self) -> bool:
        return bool(self.files)

    def __reduce__(self) -> Any:
        return MappedFiles, ((),)  # copies of mapped arrays are in memory

    def check(self) -> None:
        """Look at the files again.

        Raises
        ------
        DataFileError
            A file has shrunk, was replaced, or, where the array is read-only, was written to.
        """
        for path, before, end, read_only in self.files:
            try:
                now = path.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise DataFileError(path, f"is mapped and out of reach: {error.strerror}") from None
            if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
                raise DataFileError(path, "was replaced by another file since it was mapped")
            if now.st_size < end or now.st_size < before.st_size:
                raise DataFileError(
                    path,
                    f"has shrunk since it was mapped: {now.st_size} bytes, "
                    f"expected {max(before.st_size, end)}",
                )
            changed = (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
            if read_only and changed:
                raise DataFileError(path, "has changed since it was mapped")


def _mapped(array: Any) -> _Mapped | None:
    """Find the file below an array: that of the memory map it is a view of."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    if array is None or array.filename is None:
        return None
    owner = array
    while isinstance(owner.base, np.memmap):
        owner = owner.base
    path = Path(array.filename)
    try:
        status = path.stat()
    except OSError:  # removed already
        return None
    # A view has the offset of its whole, which is the one whose end counts.
    return _Mapped(path, status, owner.offset + owner.nbytes, owner.mode == "r")
