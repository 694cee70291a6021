"""A reader of IDX files, the format of MNIST, that believes no header.

The format: two zero bytes, a byte for the type, a byte for the rank, the sizes as big-endian 32-bit
numbers, then the values in big-endian order and nothing after them. A file may be compressed with
gzip; that is seen from its first bytes, not from its name.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DataFileError", "check_size", "read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 32  # NumPy 1 has no more dimensions
_MAX_BYTES = 2**63 - 1
_CHUNK = 1 << 20
_DEFLATE_RATIO = 1032  # one deflate bit pair cannot stand for more bytes than this (zlib's manual)


class DataFileError(ValueError):
    """A data file is damaged or is not what it should be; the message names file and reason.

    Parameters
    ----------
    path : path
        The file.
    reason : str
        What is wrong with it: what follows its name in the message.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_idx(
    path: str | os.PathLike[str], *, mmap: bool = False, max_bytes: int | None = None
) -> NDArray[Any]:
    """Read an array from an IDX file, plain or compressed with gzip.

    The sizes in the header are compared with the file before memory is taken: with the size of a
    plain file, with what a compressed one can hold at most. A compressed file is then read in
    pieces, memory grows with what has really come, and reading stops at the first byte beyond the
    declared size.

    Parameters
    ----------
    path : path
        The file.
    mmap : bool, default False
        Map a plain file instead of reading it. The array is then read-only, and values of more than
        one byte keep the file's big-endian order.
    max_bytes : int, optional
        Refuse an array of more bytes than this.

    Returns
    -------
    ndarray
        uint8, int8, int16, int32, float32 or float64 in native byte order, of the file's shape.

    Raises
    ------
    OSError
        The file cannot be opened or read; FileNotFoundError if it is not there.
    DataFileError
        The file is no IDX file, is truncated, has bytes after its end, is damaged gzip, or holds
        more than ``max_bytes``.
    ValueError
        ``mmap=True`` for a compressed file.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "File
    formats".

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            dtype, shape, start = _header(path, file, max_bytes)
            return _read_plain(path, file, size, dtype, shape, start, mmap)
        if mmap:
            raise ValueError(f"mmap must be False for a file compressed with gzip: {path}")
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                dtype, shape, _ = _header(path, stream, max_bytes)
                return _read_gzip(path, stream, size, dtype, shape)
        except EOFError:
            reason = "truncated: the gzip stream ends before its end mark"
            raise DataFileError(path, reason) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataFileError(path, f"damaged gzip: {error}") from None


def _header(
    path: Path, file: IO[bytes] | gzip.GzipFile, max_bytes: int | None
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Read the type, the shape and the number of bytes of the header, and check each."""
    magic = file.read(4)
    if len(magic) < 4:
        raise DataFileError(path, f"truncated: {len(magic)} bytes, an IDX file has 8 or more")
    zero, code, rank = struct.unpack(">HBB", magic)
    if zero != 0:
        raise DataFileError(path, f"not an IDX file: starts with {magic.hex(' ')}, not with 00 00")
    if code not in _TYPES:
        known = ", ".join(f"0x{known:02x}" for known in _TYPES)
        raise DataFileError(path, f"unknown IDX type 0x{code:02x}; the types are {known}")
    if not 1 <= rank <= _MAX_RANK:
        raise DataFileError(path, f"{rank} dimensions; 1 to {_MAX_RANK} are accepted")
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise DataFileError(path, f"truncated inside the sizes of its {rank} dimensions")
    shape = struct.unpack(f">{rank}I", sizes)
    dtype = np.dtype(_TYPES[code])
    # Sizes of 0 do not excuse the others: NumPy multiplies these too.
    if math.prod(size for size in shape if size) * dtype.itemsize > _MAX_BYTES:
        raise DataFileError(path, f"declares the impossible shape {shape}")
    declared = math.prod(shape) * dtype.itemsize
    if max_bytes is not None and declared > max_bytes:
        raise DataFileError(
            path, f"declares {declared} bytes of data {shape}, more than the {max_bytes} accepted"
        )
    return dtype, shape, 4 + 4 * rank


def check_size(path: Path, declared: int, found: int, shape: tuple[int, ...]) -> None:
    """Raise DataFileError unless as many bytes were found as a header declares."""
    if found < declared:
        raise DataFileError(
            path, f"truncated: the header declares {declared} bytes of data {shape}, found {found}"
        )
    if found > declared:
        raise DataFileError(
            path,
            f"trailing bytes: the header declares {declared} bytes of data {shape}, found {found}",
        )


def _read_plain(
    path: Path,
    file: BufferedReader,
    size: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    start: int,
    mmap: bool,
) -> NDArray[Any]:
    declared = math.prod(shape) * dtype.itemsize
    check_size(path, declared, size - start, shape)
    if mmap and declared:  # no operating system maps zero bytes
        return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)
    array = np.empty(shape, dtype=dtype)
    # Flat bytes: readinto takes any size at once. Fewer come only if the file shrinks under us.
    found = file.readinto(array.reshape(-1).view(np.uint8).data) if declared else 0
    check_size(path, declared, found, shape)
    return _native(array)


def _read_gzip(
    path: Path,
    stream: gzip.GzipFile,
    size: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> NDArray[Any]:
    declared = math.prod(shape) * dtype.itemsize
    if declared > size * _DEFLATE_RATIO:
        raise DataFileError(
            path,
            f"declares {declared} bytes of data {shape}, more than {size} bytes of gzip can hold",
        )
    pieces, found = [], 0
    while found <= declared:  # one byte more than declared is asked for: the proof of too much
        piece = stream.read(min(_CHUNK, declared + 1 - found))
        if not piece:
            break
        pieces.append(piece)
        found += len(piece)
    if found > declared:
        raise DataFileError(
            path, f"expands past the {declared} bytes of data {shape} that its header declares"
        )
    check_size(path, declared, found, shape)
    # NumPy asks for large pages, a bytearray that grows does not, and rows in random order come
    # faster from large ones. Each piece is freed as soon as it is copied.
    array = np.empty(shape, dtype=dtype)
    flat = array.reshape(-1).view(np.uint8)
    while pieces:
        piece = pieces.pop()
        flat[found - len(piece) : found] = np.frombuffer(piece, np.uint8)
        found -= len(piece)
    return _native(array)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Put the values into native byte order, in the same memory."""
    native = array.dtype.newbyteorder("=")
    if array.dtype.itemsize > 1 and not array.dtype.isnative:
        array = array.byteswap(inplace=True)
    return array.view(native)
