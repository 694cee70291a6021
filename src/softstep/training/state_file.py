"""Checkpoint files: nested values as JSON and their arrays as safetensors; nothing is pickled."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.models.tensor_file import (
    TensorFileError,
    read_tensors,
    tensors_as_bytes,
    write_whole,
)

__all__ = ["CheckpointError", "pack", "read_state", "write_state"]

_FORMAT = 1
_DTYPES = ("F32", "F64", "U8")
_MAX_HEADER = 16 << 20
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # what JSON cannot say
_MAX_DEPTH = 32


class CheckpointError(TensorFileError):
    """A checkpoint is damaged, or not of this model or data; the message names file and reason.

    Parameters
    ----------
    path : path
        The file.
    reason : str
        What is wrong with it: what follows its name in the message.
    """


def write_state(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state; the file appears complete or not at all.

    Raises
    ------
    TypeError
        The state holds something that `pack` does not take.
    OSError
        The file cannot be written there.
    """
    tensors: dict[str, NDArray[Any]] = {}
    packed = pack(state, "", tensors)
    content = tensors_as_bytes({"format": _FORMAT, "checkpoint": packed}, tensors)
    write_whole(Path(path), content)


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_state` has written.

    Raises
    ------
    OSError
        The file cannot be read.
    CheckpointError
        It is damaged, or no checkpoint of a training, or of a newer format.
    """
    what = "checkpoint of a training"
    path = Path(path)
    description, tensors = read_tensors(
        path, what, CheckpointError, dtypes=_DTYPES, max_header=_MAX_HEADER
    )
    if "checkpoint" not in description:
        kind = "a model, not a" if "model" in description else "no"
        raise CheckpointError(path, f"holds {kind} {what}")
    if description.get("format") != _FORMAT:
        raise CheckpointError(
            path,
            f"has the format {description.get('format')!r}; accepted: {_FORMAT} "
            "(a newer softstep wrote it?)",
        )
    try:
        state = _unpack(description["checkpoint"], tensors)
        if tensors:
            raise ValueError(f"the arrays {sorted(tensors)} belong to nothing")
        if not isinstance(state, dict):
            raise TypeError("it is no dictionary")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(path, f"is damaged: {error}") from None
    return state


def pack(value: Any, name: str, tensors: dict[str, NDArray[Any]]) -> Any:
    """Return a value as JSON has it; its arrays go to `tensors`, under names that begin so.

    Raises
    ------
    TypeError
        Something other than numbers, strings, booleans, None, float32, float64 and uint8 arrays,
        and dictionaries (with strings as keys) and sequences of these.
    """
    if isinstance(value, np.ndarray):
        if value.dtype not in (np.float32, np.float64, np.uint8):
            raise TypeError(
                f"{name} is an array of {value.dtype}; accepted: float32, float64, uint8"
            )
        tensors[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"$array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    start = f"{name}." if name else ""
    if isinstance(value, (list, tuple)):
        return [pack(item, f"{start}{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"{name} has the key {key!r}; accepted: strings without '$'")
        return {key: pack(item, f"{start}{key}", tensors) for key, item in value.items()}
    raise TypeError(
        f"{name} is a {type(value).__name__}; accepted: numbers, strings, booleans, None, arrays, "
        "and lists and dictionaries of these"
    )


def _unpack(value: Any, tensors: dict[str, NDArray[Any]], depth: int = 0) -> Any:
    """Return the value that `pack` was given, with lists for tuples; takes `tensors` away."""
    if depth > _MAX_DEPTH:
        raise ValueError("its description is nested too deeply")
    if isinstance(value, list):
        return [_unpack(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        return tensors.pop(value["$array"])
    if "$float" in value:
        return _SPECIAL[value["$float"]]
    return {key: _unpack(item, tensors, depth + 1) for key, item in value.items()}
