"""Loaders: a data set cut into batches, in order or in the shuffled order of an epoch."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep.data._permutation import Permutation, permutation
from softstep.data.datasets import Batch, Dataset

__all__ = ["DataLoader"]

_ORDER_ROWS = 8192  # how much of the order is computed at a time: cheap per row, and 64 KiB


def integer(name: str, value: Any, least: int) -> int:
    """Return the argument as an int >= ``least``; TypeError or ValueError with its name."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {number}")
    return number


class DataLoader:
    """Batches of a data set, as often as they are asked for.

    The shuffled order of epoch e is ``permutation(len(dataset), seed, e)``: it depends on nothing
    else, so it is known without running the epochs before it.

    Parameters
    ----------
    dataset : Dataset
        Has a length and ``take(rows)``; see `ArrayDataset`.
    batch_size : int
        Rows of a batch, at least 1.
    shuffle : bool, default False
        Read the rows in the order of the epoch instead of their own.
    seed : int, default 0
        Of the shuffle; at least 0.
    drop_last : bool, default False
        Leave out a last batch that is shorter than the others.

    Attributes
    ----------
    epoch : int
        The epoch of the next pass. It is 0 at first and goes up by one whenever a pass begins, also
        one that is abandoned halfway.

    Raises
    ------
    TypeError, ValueError
        ``dataset`` is no data set, ``batch_size`` or ``seed`` no such integer.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(np.arange(5.0), np.arange(5)), batch_size=2)
    >>> len(loader), [y.tolist() for X, y in loader]
    (3, [[0, 1], [2, 3], [4]])
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        # An ndarray has a length and a take(), too, but that gives single values.
        if isinstance(dataset, np.ndarray) or not isinstance(dataset, Dataset):
            raise TypeError(
                f"dataset must have a length and take(rows), got {type(dataset).__name__}; "
                "arrays are wrapped in an ArrayDataset"
            )
        self.dataset = dataset
        self.batch_size = integer("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.seed = integer("seed", seed, 0)
        self.drop_last = bool(drop_last)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, and with it the order, of the next pass; an integer >= 0."""
        self.epoch = integer("epoch", epoch, 0)

    def order(self, epoch: int | None = None) -> Permutation:
        """Return the shuffled order of an epoch; default: of the next pass."""
        return permutation(len(self.dataset), self.seed, self.epoch if epoch is None else epoch)

    def __len__(self) -> int:
        """Return the number of batches of a pass."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        order = self.order() if self.shuffle else None
        self.epoch += 1
        return self._batches(order)

    def _batches(self, order: Permutation | None) -> Iterator[Batch]:
        size = self.batch_size
        stop = min(len(self.dataset), len(self) * size)
        if order is None:
            for start in range(0, stop, size):
                yield self.dataset.take(slice(start, min(start + size, stop)))
            return
        block = size * max(1, _ORDER_ROWS // size)
        for first in range(0, stop, block):
            rows = order.take(first, min(first + block, stop))
            for start in range(0, len(rows), size):
                yield self.dataset.take(rows[start : start + size])

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, shuffle={self.shuffle}, "
            f"seed={self.seed}, drop_last={self.drop_last})"
        )
