"""What the command line prints, and the files that it is told to write."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

__all__ = [
    "CLOSED_PIPE", "ERROR", "INTERRUPTED", "check_writable", "discard_output", "fail",
    "finite", "name_file", "print_json",
]  # fmt: skip

ERROR, INTERRUPTED, CLOSED_PIPE = 2, 130, 141  # 128 + SIGINT, 128 + SIGPIPE: what shells report


def fail(message: str, status: int = ERROR) -> int:
    """Print one line on standard error; return the status."""
    kind = "error: " if status == ERROR else ""
    print(f"softstep: {kind}{' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def name_file(error: OSError) -> str:
    """Return the message of an error of a file, without its number."""
    if error.strerror is None:
        return str(error)
    file = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{file}{error.strerror}"


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on one line."""
    print(json.dumps(finite(value), allow_nan=False))


def finite(value: Any) -> Any:
    """Replace what JSON cannot say, NaN and infinities, by null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def discard_output() -> None:
    """If the output cannot be written, send the rest nowhere, lest Python try again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        devnull = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):  # an output without a descriptor
            os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def check_writable(option: str, path: Path) -> None:
    """Raise before the work, not after it, if a file cannot be written there."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{option} {path}: {folder} is no folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{option} {path} is not a regular file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {path}: no permission to write in {folder}")
