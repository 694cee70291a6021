"""Files of arrays: safetensors, with one line of JSON that says what the arrays are.

Equal contents give equal bytes: the metadata is one key, because safetensors writes several in
random order. Nothing is executed when a file is read, and its header is not believed before it fits
the file's size.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TensorFileError", "read_tensors", "tensors_as_bytes", "write_whole"]

_KEY = "softstep"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "U8": np.dtype("u1"),
}
_MAX_RANK = 32  # NumPy 1 has no more dimensions


class TensorFileError(ValueError):
    """A file of arrays is damaged, or not what it should be; the message names file and reason."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def tensors_as_bytes(description: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the content of a file; ValueError for NaN or infinities in the description."""
    import safetensors.numpy

    metadata = {_KEY: json.dumps(description, sort_keys=True, allow_nan=False)}
    return safetensors.numpy.save(dict(tensors), metadata)


def read_tensors(
    path: Path,
    what: str,
    error: type[TensorFileError],
    *,
    dtypes: tuple[str, ...] = ("F32", "F64"),
    max_header: int = 1 << 20,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the description and the arrays of a file.

    Raises
    ------
    OSError
        It cannot be read, or is no regular file.
    TensorFileError
        As the class `error`: it is damaged, or not `what` (as "a model saved by softstep").
    """
    check_regular(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8 or length > max_header:
            raise error(path, "is no safetensors file, or a truncated one")
        raw = file.read(length)
        try:
            header = json.loads(raw)
            description = json.loads(header.pop("__metadata__")[_KEY])
            described = 8 + length + sum(_size(entry, size, dtypes) for entry in header.values())
            if not isinstance(description, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise error(path, f"is damaged, or no {what}") from None
        if described != size:
            raise error(
                path, f"is damaged: it has {size} bytes, and its header describes {described}"
            )
        content = start + raw + file.read(size - 8 - length)
    import safetensors

    try:
        entries: Any = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as reason:
        raise error(path, f"is damaged: {reason}") from None
    tensors = {
        key: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]])
        .reshape(entry["shape"])
        .astype(_DTYPES[entry["dtype"]].newbyteorder("="))
        for key, entry in entries
    }
    return description, tensors


def _size(entry: Any, most: int, dtypes: tuple[str, ...]) -> int:
    """Return the bytes of an array that a header describes; ValueError if they cannot be."""
    shape, dtype = entry["shape"], entry["dtype"]
    if len(shape) > _MAX_RANK or not all(type(n) is int and 0 <= n <= most for n in shape):
        raise ValueError(shape)
    if dtype not in dtypes:
        raise ValueError(dtype)
    return int(math.prod(shape) * _DTYPES[dtype].itemsize)


def check_regular(path: Path) -> None:
    """Raise OSError for a device, a pipe or a folder, which are neither read nor replaced."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name always stands for the whole old or the whole new content."""
    check_regular(path)
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".softstep-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the new name last, on systems where a folder can be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
