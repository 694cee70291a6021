"""Model files: safetensors, with one line of JSON that says which model the arrays are.

Equal models give equal bytes: the file holds no time, path or thread count, and its metadata is one
key, because safetensors writes several in random order.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from softstep.models.linear_regression import LinearRegression
from softstep.models.module import Module
from softstep.models.softmax_regression import SoftmaxRegression

__all__ = ["ModelFileError", "load", "load_as", "save"]

_KEY = "softstep"
_FORMAT = 1
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_MAX_HEADER = 1 << 20  # of a few arrays; safetensors itself allows 100 MB
_MAX_RANK = 32  # NumPy 1 has no more dimensions
_MODELS: dict[str, type[Module]] = {
    model.__name__: model for model in (LinearRegression, SoftmaxRegression)
}

AnyModule = TypeVar("AnyModule", bound=Module)


class ModelFileError(ValueError):
    """A model file is damaged, or not what it should be; the message names file and reason."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Save a model as a safetensors file.

    The file appears complete or not at all: it is written beside its place under another name,
    flushed to the disk and then renamed, over an older file if there is one.

    Parameters
    ----------
    model : Module
        Its parameters and `hyperparameters` are saved; optimizer state is not.
    path : path
        A file that exists already is replaced; a link is followed.

    Raises
    ------
    RuntimeError
        The model has seen no data.
    OSError
        The file cannot be written there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import softstep
    >>> model = softstep.SoftmaxRegression(num_outputs=3, lr=0.1)
    >>> logits = model(np.eye(4, dtype=np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     model.save(path)
    ...     again = softstep.load(path)
    >>> type(again).__name__, np.array_equal(again.weight, model.weight)
    ('SoftmaxRegression', True)
    """
    import safetensors.numpy

    model.require_data()
    description = {
        "format": _FORMAT,
        "model": type(model).__name__,
        "hyperparameters": model.hyperparameters(),
    }
    metadata = {_KEY: json.dumps(description, sort_keys=True, allow_nan=False)}
    tensors = {name: parameter.data for name, parameter in model.named_parameters().items()}
    _write_whole(Path(path), safetensors.numpy.save(tensors, metadata))


def load(path: str | os.PathLike[str]) -> Module:
    """Load a model of the library that `save` has written.

    Parameters
    ----------
    path : path

    Returns
    -------
    Module
        Of the class that was saved, with its hyperparameters.

    Raises
    ------
    OSError
        The file cannot be read.
    ModelFileError
        A ValueError: the file is damaged or truncated, no model of softstep, of a newer format, or
        of a class that is not the library's (which loads with its own ``load``).

    Notes
    -----
    Nothing is executed, and no memory is taken for sizes that the file does not have.
    """
    return load_as(Module, path)


def load_as(cls: type[AnyModule], path: str | os.PathLike[str]) -> AnyModule:
    """Load a model that is a `cls`."""
    path = Path(path)
    _check_regular(path)
    with path.open("rb") as file:
        description, tensors = _read(path, file)
    name = description["model"]
    model_class = cls if name == cls.__name__ else _MODELS.get(name)
    if model_class is None:
        raise ModelFileError(
            path, f"holds a model of the class {name!r}; accepted: {', '.join(sorted(_MODELS))}"
        )
    if not issubclass(model_class, cls):
        raise ModelFileError(path, f"holds a {name}; accepted: a {cls.__name__}")
    try:
        model = model_class(**description["hyperparameters"])
        model.accept_parameters(tensors)
    except (TypeError, ValueError) as error:
        raise ModelFileError(path, f"holds no valid {name}: {error}") from None
    return model


def _read(path: Path, file: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read description and arrays. The header is not believed before it fits the file's size."""
    import safetensors

    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8 or length > _MAX_HEADER:
        raise ModelFileError(path, "is no safetensors file, or a truncated one")
    raw = file.read(length)
    try:
        header = json.loads(raw)
        described = json.loads(header.pop("__metadata__")[_KEY])
        version, name, options = (described[key] for key in ("format", "model", "hyperparameters"))
        described_size = 8 + length + sum(_size(entry, size) for entry in header.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelFileError(path, "is damaged, or no model saved by softstep") from None
    if version != _FORMAT:
        raise ModelFileError(
            path, f"has the format {version!r}; accepted: {_FORMAT} (a newer softstep wrote it?)"
        )
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ModelFileError(path, "is damaged: the description of its model is not valid")
    if described_size != size:
        raise ModelFileError(
            path, f"is damaged: it has {size} bytes, and its header describes {described_size}"
        )
    try:
        content = start + raw + file.read(size - 8 - length)
        entries: Any = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ModelFileError(path, f"is damaged: {error}") from None
    tensors = {
        key: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]])
        .reshape(entry["shape"])
        .astype(_DTYPES[entry["dtype"]].newbyteorder("="))
        for key, entry in entries
    }
    return {"model": name, "hyperparameters": options}, tensors


def _size(entry: Any, most: int) -> int:
    """Return the bytes of an array that a header describes; ValueError if they cannot be."""
    shape = entry["shape"]
    if len(shape) > _MAX_RANK or not all(type(n) is int and 0 <= n <= most for n in shape):
        raise ValueError(shape)
    return int(math.prod(shape) * _DTYPES[entry["dtype"]].itemsize)


def _check_regular(path: Path) -> None:
    """Raise OSError for a device, a pipe or a folder, which are neither read nor replaced."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name always stands for the whole old or the whole new content."""
    _check_regular(path)
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
