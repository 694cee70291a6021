"""Data cut into parts: training, validation and test rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.data._permutation import permutation
from softstep.data.datasets import ArrayDataset, Batch, Dataset, IndexedDataset, at_epoch
from softstep.data.loaders import checked_rows, integer

__all__ = ["Subset", "part_size", "random_split", "split_rows", "train_val_test_split"]

# The order that cuts the rows is that of an epoch which no training reaches.
_SPLIT_EPOCH = 2**64


class Subset(IndexedDataset):
    """Some rows of a data set, which stay where they are.

    Parameters
    ----------
    dataset : Dataset
    rows : array_like of integers, (n,)
        Which rows, in this order; they may repeat.

    Raises
    ------
    TypeError
        ``dataset`` is no data set, or ``rows`` holds no integers.
    ValueError
        ``rows`` has another rank than 1.
    IndexError
        A row is not from 0 to ``len(dataset) - 1``.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.data import ArrayDataset, Subset
    >>> Subset(ArrayDataset(np.arange(5.0), np.arange(5)), [4, 2])[:]
    (array([4., 2.]), array([4, 2]))
    """

    def __init__(self, dataset: Dataset, rows: ArrayLike) -> None:
        if isinstance(dataset, np.ndarray) or not isinstance(dataset, Dataset):
            raise TypeError(
                f"dataset must have a length and take(rows), got {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.rows = checked_rows("rows", rows, len(dataset))

    def __len__(self) -> int:
        return len(self.rows)

    def at_epoch(self, epoch: int) -> Subset:
        """Return this data set as it is in an epoch."""
        return Subset(at_epoch(self.dataset, epoch), self.rows)

    def take(self, rows: slice | NDArray[np.int64]) -> Batch:
        """Return the batch of these rows of the subset."""
        return self.dataset.take(self.rows[rows])

    def __repr__(self) -> str:
        return f"Subset({self.dataset!r}, {len(self)} rows)"


def random_split(data: Dataset, sizes: Sequence[float], *, seed: int = 0) -> list[Dataset]:
    """Cut a data set into parts at random; every row is in one part.

    Parameters
    ----------
    data : Dataset
        An `ArrayDataset` in memory gives data sets of new arrays, which keep the fused path;
        one that is memory-mapped, and any other, stays where it is (`Subset`).
    sizes : sequence of int or of float
        The numbers of rows, whose sum is ``len(data)``, or the shares, whose sum is 1; what is
        left by rounding shares down goes to the parts one by one from the first.
    seed : int, default 0
        Of the order that is cut; at least 0.

    Returns
    -------
    list of Dataset
        One for each size; the rows of each stand in the order of ``data``.

    Raises
    ------
    TypeError, ValueError
        ``data`` is no data set, the sizes do not fit, or ``seed`` is no such integer.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.data import ArrayDataset, random_split
    >>> data = ArrayDataset(np.zeros((10, 2)), np.arange(10))
    >>> [len(part) for part in random_split(data, [0.8, 0.1, 0.1])]
    [8, 1, 1]
    """
    if isinstance(data, np.ndarray) or not isinstance(data, Dataset):
        raise TypeError(f"data must have a length and take(rows), got {type(data).__name__}")
    counts = _counts(sizes, len(data))
    return [subset(data, rows) for rows in split_rows(len(data), counts, seed)]


def train_val_test_split(
    *arrays: ArrayLike,
    val_size: float = 0.1,
    test_size: float = 0.1,
    seed: int = 0,
    shuffle: bool = True,
) -> tuple[Batch, Batch, Batch]:
    """Cut arrays into training, validation and test rows.

    Parameters
    ----------
    *arrays : array_like
        The features, then usually the targets; the same length each.
    val_size, test_size : int or float, default 0.1
        How many rows, or which share of them (a float less than 1); 0 for none.
    seed : int, default 0
        Of the order that is cut; at least 0.
    shuffle : bool, default True
        Choose the rows at random. Otherwise the last rows are for testing, those before them for
        validation, and the parts are views of the arrays: nothing is copied, which suits
        memory-mapped files whose rows stand in no order.

    Returns
    -------
    train, val, test : tuple of ndarray
        Each holds one array for each of ``arrays``.

    Raises
    ------
    TypeError, ValueError
        The arrays have no rows or differ in length; a size is negative or no such number; no
        training rows are left.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import ArrayDataModule
    >>> x, y = np.zeros((100, 5), np.float32), np.zeros(100, int)
    >>> train, val, test = train_val_test_split(x, y, val_size=0.2, test_size=10)
    >>> [len(part[0]) for part in (train, val, test)]
    [70, 20, 10]
    >>> data = ArrayDataModule(*train, *val)
    """
    if not arrays:
        raise ValueError("arrays must not be empty: give the features, then the targets")
    given = [np.asarray(array) for array in arrays]
    if any(array.ndim == 0 for array in given):
        raise ValueError("arrays must have rows, got a single number")
    if len({len(array) for array in given}) > 1:
        raise ValueError(f"arrays must have the same length, got {[len(a) for a in given]}")
    n = len(given[0])
    val, test = part_size("val_size", val_size, n), part_size("test_size", test_size, n)
    if val + test >= n:
        raise ValueError(
            f"val_size and test_size must leave rows for training, got {val} + {test} of {n}"
        )
    counts = [n - val - test, val, test]
    if not shuffle:
        integer("seed", seed, 0)
        ends = np.cumsum([0, *counts]).tolist()
        train, val_rows, test_rows = (
            tuple(array[start:stop] for array in given) for start, stop in itertools.pairwise(ends)
        )
        return train, val_rows, test_rows
    train, val_rows, test_rows = (
        tuple(array[rows] for array in given) for rows in split_rows(n, counts, seed)
    )
    return train, val_rows, test_rows


def subset(data: Dataset, rows: NDArray[np.int64]) -> Dataset:
    """Return some rows of a data set: copied if they are arrays in memory."""
    if type(data) is not ArrayDataset or data.is_mapped:
        return Subset(data, rows)
    return ArrayDataset(
        *(array[rows] for array in data.tensors),
        scale=data.scale,
        shift=data.shift,
        dtype=data.dtype if data.dtype.kind == "f" and data.dtype.itemsize > 2 else None,
        item_shape=data.item_shape,
    )


def split_rows(n: int, counts: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """Deal 0, ..., n - 1 at random into parts of so many; each part in ascending order."""
    order = permutation(n, seed, _SPLIT_EPOCH)[:]
    return [np.sort(part) for part in np.split(order, np.cumsum(counts)[:-1])]


def part_size(name: str, value: Any, n: int) -> int:
    """Return a number of rows, given as such or as a share of n less than 1."""
    if isinstance(value, (float, np.floating)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be a number of rows or a share less than 1, got {value}")
        return round(float(value) * n)
    count = integer(name, value, 0)
    if count > n:
        raise ValueError(f"{name} must be at most the {n} rows there are, got {count}")
    return count


def _counts(sizes: Sequence[float], n: int) -> list[int]:
    values = list(sizes)
    if not values:
        raise ValueError("sizes must not be empty")
    if all(isinstance(value, (float, np.floating)) for value in values):
        if not all(0 <= value <= 1 for value in values) or not math.isclose(sum(values), 1):
            raise ValueError(f"sizes must be shares whose sum is 1, got {values}")
        counts = [math.floor(value * n + 1e-9 * value) for value in values]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
        return counts
    counts = [integer(f"sizes[{i}]", value, 0) for i, value in enumerate(values)]
    if sum(counts) != n:
        raise ValueError(f"sizes must have the sum {n}, the number of rows, got {counts}")
    return counts
