r"""A reader of NPY files, NumPy's own format, that believes no header and unpickles nothing.

The format: ``\x93NUMPY``, two bytes for the version, the length of the header in 2 bytes (version
1) or 4 (versions 2 and 3), the header, a Python dictionary as text with ``descr``,
``fortran_order`` and ``shape``, then the values and nothing after them.
"""

from __future__ import annotations

import ast
import math
import os
import re
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from softstep.data.idx import DataFileError, check_size

__all__ = ["read_npy"]

_MAGIC = b"\x93NUMPY"
_NUMBERS = re.compile(r"[<>=|]?(\?|b1|[iuf]\d{1,2})")
_MAX_HEADER = 1 << 16  # those of arrays of numbers have 128 bytes
_MAX_RANK = 32  # NumPy 1 has no more dimensions
_MAX_BYTES = 2**63 - 1
# What Python's parser may raise for text that is no dictionary.
_PARSE_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_npy(
    path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int | None = None
) -> NDArray[Any]:
    """Read an array of real numbers or booleans from an NPY file.

    Unlike ``numpy.load`` it compares the sizes in the header with the file before memory is taken,
    refuses bytes after the end, and knows no pickled objects.

    Parameters
    ----------
    path : path
        The file, as ``numpy.save`` writes it.
    mmap : bool, default False
        Map the file instead of reading it: the array is read-only and stays on disk, which is how
        to train on data that do not fit in memory. Values keep the file's byte order.
    max_bytes : int, optional
        Refuse an array of more bytes than this.

    Returns
    -------
    ndarray
        Of the file's type, shape and order; in native byte order unless it is mapped.

    Raises
    ------
    OSError
        The file cannot be opened or read; FileNotFoundError if it is not there.
    DataFileError
        The file is no NPY file, holds something else than numbers, is truncated, has bytes after
        its end, or holds more than ``max_bytes``.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from softstep import ArrayDataModule
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.npy"
    >>> np.save(path, np.eye(4, dtype=np.float32))
    >>> data = ArrayDataModule(read_npy(path, mmap=True), [0, 1, 1, 0])
    >>> data.train.is_mapped
    True
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        dtype, shape, order, start = _header(path, file, size)
        declared = math.prod(shape) * dtype.itemsize
        if max_bytes is not None and declared > max_bytes:
            raise DataFileError(
                path,
                f"declares {declared} bytes of data {shape}, more than the {max_bytes} accepted",
            )
        check_size(path, declared, size - start, shape)
        if mmap and declared:  # no operating system maps zero bytes
            return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape, order=order)
        array = np.empty(shape, dtype=dtype, order=order)
        found = file.readinto(array.reshape(-1, order="A").view(np.uint8).data) if declared else 0
        check_size(path, declared, found, shape)  # fewer come only if the file shrinks under us
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(path: Path, file: Any, size: int) -> tuple[np.dtype[Any], tuple[int, ...], Any, int]:
    """Read the type, the shape, the order and the number of bytes before the values."""
    start = file.read(8)
    if start[:6] != _MAGIC[: len(start)]:
        raise DataFileError(path, f"not an NPY file: starts with {start[:6].hex(' ')}")
    if len(start) < 8:
        raise DataFileError(path, f"truncated: {len(start)} bytes, an NPY file has 10 or more")
    major, minor = start[6:]
    if (major, minor) not in ((1, 0), (2, 0), (3, 0)):
        raise DataFileError(path, f"unknown NPY version {major}.{minor}; known are 1.0, 2.0, 3.0")
    width = 2 if major == 1 else 4
    length = int.from_bytes(_read(path, file, width), "little")
    if length > min(_MAX_HEADER, size):
        raise DataFileError(
            path, f"declares a header of {length} bytes; accepted: up to {min(_MAX_HEADER, size)}"
        )
    text = _read(path, file, length).decode("latin-1" if major < 3 else "utf-8", "replace")
    try:
        found = ast.literal_eval(text.strip())
        descr, fortran, shape = found["descr"], found["fortran_order"], found["shape"]
        if len(found) != 3 or not isinstance(fortran, bool) or not isinstance(shape, tuple):
            raise ValueError
        if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > _MAX_RANK:
            raise ValueError
    except (*_PARSE_ERRORS, LookupError):
        raise DataFileError(path, f"damaged NPY header: {text[:80]!r}") from None
    try:
        known = isinstance(descr, str) and _NUMBERS.fullmatch(descr)
        dtype = np.dtype(descr) if known else None
    except TypeError:  # a width that there is not
        dtype = None
    if dtype is None:
        raise DataFileError(path, f"holds {str(descr)[:80]!r}; accepted: real numbers or booleans")
    # Sizes of 0 do not excuse the others: NumPy multiplies these too.
    if math.prod(n for n in shape if n) * dtype.itemsize > _MAX_BYTES:
        raise DataFileError(path, f"declares the impossible shape {shape}")
    return dtype, shape, "F" if fortran else "C", 8 + width + length


def _read(path: Path, file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise DataFileError(path, "truncated inside its header")
    return data
