"""Where the rows of a batch stand in the data: errors name a row of the data, not of a batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from softstep.data.loaders import DataLoader

__all__ = ["Numbers", "numbered", "rename"]

Numbers: TypeAlias = NDArray[np.int64] | None
"""Which rows of the data a batch holds; None where a loader does not tell."""

# How models and kernels name a row: of targets (at the beginning, and for distributions once more
# at the end), and of features.
_TARGET = re.compile(r"^(y|target)\[(\d+)\](?=(\[\d+\])? (is|sums to) .*; accepted: )")
_REPEATED = re.compile(r"\(row (\d+)\)(?=; accepted: )")
_FEATURES = re.compile(r"\brow (\d+) of the batch\b")


def numbered(loader: Iterable[Any]) -> Iterator[tuple[Numbers, Any]]:
    """Begin a pass of a loader whose batches come with the rows that they hold."""
    if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
        return ((None, batch) for batch in loader)
    return loader.numbered()


def rename(error: Exception, numbers: Numbers, batch: Any, what: str) -> None:
    """Let an error of a model name the rows of the data in the place of those of the batch.

    Parameters
    ----------
    error : Exception
        What it says is replaced, if it names a row.
    numbers : ndarray or None
        The rows of the batch, see `numbered`.
    batch : tuple of arrays
        As the model got it. If it has another number of rows than were loaded, the text stays.
    what : str
        What the rows are of, such as "training data".
    """
    known = numbers is not None and len(numbers) == len(batch[-1])
    if not known or len(error.args) != 1 or not isinstance(error.args[0], str):
        return

    def number(row: str) -> str:
        assert numbers is not None
        return str(numbers[int(row)]) if int(row) < len(numbers) else row

    text, found = _TARGET.subn(lambda match: f"{match[1]}[{number(match[2])}]", error.args[0])
    if found:
        text = _REPEATED.sub(lambda match: f"(row {number(match[1])})", text)
    text = _FEATURES.sub(lambda match: f"row {number(match[1])} of the {what}", text)
    error.args = (text,)
