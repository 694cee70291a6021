"""Loaders: a data set cut into batches, in order, shuffled, drawn, or as a sampler says."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.data._permutation import Permutation, permutation
from softstep.data.datasets import ArrayDataset, Batch, Dataset, at_epoch
from softstep.data.draws import draws
from softstep.data.memory import ReusedMemory
from softstep.kernels._arrays import as_flag

__all__ = ["DataLoader", "Sampler"]

Sampler: TypeAlias = Iterable[int] | Callable[[int], Iterable[int]]
"""Row numbers, or a function that gives those of an epoch."""

_ORDER_ROWS = 8192  # how much of the order is computed at a time: cheap per row, and 64 KiB
_READ_BYTES = 1 << 22  # of small batches, read in one call: caches hold as much


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


def checked_rows(name: str, rows: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return row numbers as int64, each from 0 to n - 1."""
    array = np.asarray(rows)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of rows, got the shape {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {array.dtype}")
    wrong = (array < 0) | (array >= n)
    if wrong.any():
        at = int(wrong.argmax())
        raise IndexError(f"{name}[{at}] is {array[at]}, accepted: 0 to {n - 1}")
    return array.astype(np.int64, copy=False)


class _Order(Protocol):
    """The rows of a pass, as many at a time as are asked for."""

    def __len__(self) -> int: ...

    def take(self, start: int, stop: int) -> NDArray[np.int64]: ...


class _Rows:
    """An order that is written down."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        return self.rows[start:stop].copy()  # whose array the rows are may change it meanwhile


class _Drawn:
    """Rows drawn with replacement: each of n with the same probability at each of n places."""

    def __init__(self, n: int, seed: int, epoch: int) -> None:
        self.n, self.seed, self.epoch = n, seed, epoch

    def __len__(self) -> int:
        return self.n

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        numbers = draws("replacement", self.seed, self.epoch, np.arange(start, stop))
        return (numbers * self.n).astype(np.int64)


def _rows_at_once(dataset: Dataset) -> int:
    """How many rows may be read at a time, to be cut into batches.

    Of arrays in memory, whose rows do not depend on each other. Files are read, and looked at, for
    each batch; and what other data sets do for one, and what it costs, is theirs to know.
    """
    if type(dataset) is not ArrayDataset or dataset.is_mapped:
        return 1
    row = sum(array.nbytes for array in dataset.take(slice(0, 1)))
    return min(_READ_BYTES // max(row, 1), _ORDER_ROWS)


def _parts(rows: _Order | None, stop: int, size: int) -> Iterator[slice | NDArray[np.int64]]:
    """Cut the first `stop` rows of a pass into parts of `size`."""
    if rows is None:
        for start in range(0, stop, size):
            yield slice(start, min(start + size, stop))
        return
    block = size * max(1, _ORDER_ROWS // size)
    for first in range(0, stop, block):
        order = rows.take(first, min(first + block, stop))
        for start in range(0, len(order), size):
            yield order[start : start + size]


def _cut(array: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Parts of so many rows; the last may be shorter."""
    size = min(size, len(array) or 1)
    whole, rest = divmod(len(array), size)
    parts = list(array[: whole * size].reshape(whole, size, *array.shape[1:]))  # faster than slices
    return [*parts, array[whole * size :]] if rest else parts


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
    replacement : bool, default False
        Draw ``len(dataset)`` rows with replacement instead: some come twice, some not at all. What
        is drawn depends on seed and epoch alone.
    sampler : iterable of int, or callable, optional
        Which rows come, in which order: row numbers (a list, an array, any object that can be
        iterated over again and again and ends), or a function of the epoch that returns such.
        Without ``shuffle`` and ``replacement``.

    Attributes
    ----------
    epoch : int
        The epoch of the next pass. It is 0 at first and goes up by one whenever a pass begins, also
        one that is abandoned halfway.

    Raises
    ------
    TypeError, ValueError
        ``dataset`` is no data set, ``batch_size`` or ``seed`` no such integer; more than one of
        ``shuffle``, ``replacement`` and ``sampler`` is given; ``sampler`` can be iterated over only
        once or, at a pass, gives no integers.
    IndexError
        At a pass: a row of the sampler is not from 0 to ``len(dataset) - 1``.

    Notes
    -----
    Small batches of an `ArrayDataset` in memory are read several at a time, up to 4 MB and 8192
    rows, and are parts of the arrays that were read: who keeps one batch keeps up to 4 MB, unless
    it is a copy. What is changed in the data set during a pass, scale and shift included, may be
    seen some batches later, or in the next pass only.

    A loader reads into the memory of earlier batches of an `ArrayDataset` that nothing refers to
    any more, and keeps up to 64 MB of it for its next pass.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(np.arange(5.0), np.arange(5)), batch_size=2)
    >>> len(loader), [y.tolist() for X, y in loader]
    (3, [[0, 1], [2, 3], [4]])
    >>> loader = DataLoader(loader.dataset, batch_size=2, sampler=lambda epoch: [4, 1, epoch])
    >>> [y.tolist() for X, y in loader], [y.tolist() for X, y in loader]
    ([[4, 1], [0]], [[4, 1], [1]])
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        replacement: bool = False,
        sampler: Sampler | None = None,
    ) -> None:
        # An ndarray has a length and a take(), too, but that gives single values.
        if isinstance(dataset, np.ndarray) or not isinstance(dataset, Dataset):
            raise TypeError(
                f"dataset must have a length and take(rows), got {type(dataset).__name__}; "
                "arrays are wrapped in an ArrayDataset"
            )
        self.dataset = dataset
        self.batch_size = integer("batch_size", batch_size, 1)
        self.shuffle = as_flag("shuffle", shuffle)
        self.seed = integer("seed", seed, 0)
        self.drop_last = as_flag("drop_last", drop_last)
        self.replacement = as_flag("replacement", replacement)
        if self.shuffle + self.replacement + (sampler is not None) > 1:
            raise ValueError("only one of shuffle, replacement and sampler may be given")
        if sampler is not None and not callable(sampler):
            if not isinstance(sampler, Iterable) or isinstance(sampler, (str, bytes)):
                raise TypeError(
                    "sampler must be row numbers or a function of the epoch, "
                    f"got {type(sampler).__name__}"
                )
            if iter(sampler) is sampler:
                raise TypeError(
                    "sampler must be something that can be iterated over again and again, such "
                    f"as a list or a function of the epoch, got {type(sampler).__name__}"
                )
        self.sampler = sampler
        self.epoch = 0
        self._memory = ReusedMemory()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, and with it the order, of the next pass; an integer >= 0."""
        self.epoch = integer("epoch", epoch, 0)

    def order(self, epoch: int | None = None) -> Permutation:
        """Return the shuffled order of an epoch; default: of the next pass."""
        return permutation(len(self.dataset), self.seed, self.epoch if epoch is None else epoch)

    def _rows(self, epoch: int) -> _Order | None:
        """Return the rows of a pass; None for all in their order."""
        n = len(self.dataset)
        if self.sampler is not None:
            sampler = self.sampler
            given = sampler(epoch) if callable(sampler) else sampler
            rows = given if isinstance(given, np.ndarray) else np.array(list(given))
            return _Rows(checked_rows("sampler", rows, n))
        if self.replacement:
            return _Drawn(n, self.seed, epoch)
        return self.order(epoch) if self.shuffle else None

    def __len__(self) -> int:
        """Return the number of batches of a pass; with a sampler, of the next one."""
        rows = self.dataset if self.sampler is None else self._rows(self.epoch)
        return self._batch_count(len(rows))  # type: ignore[arg-type]

    def _batch_count(self, rows: int) -> int:
        whole, rest = divmod(rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        return self._batches(*self._begun())

    def numbered(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Begin a pass whose batches come with the rows of the data set that they hold."""
        return self._numbered(*self._begun())

    def _begun(self) -> tuple[Dataset, _Order | None]:
        epoch = self.epoch
        self.epoch += 1
        return at_epoch(self.dataset, epoch), self._rows(epoch)

    def _batches(self, dataset: Dataset, rows: _Order | None) -> Iterator[Batch]:
        for _, batches in self._reads(dataset, rows):
            yield from batches

    def _numbered(
        self, dataset: Dataset, rows: _Order | None
    ) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        for part, batches in self._reads(dataset, rows):
            numbers = np.arange(part.start, part.stop) if isinstance(part, slice) else part
            yield from zip(_cut(numbers, self.batch_size), batches, strict=True)

    def _reads(
        self, dataset: Dataset, rows: _Order | None
    ) -> Iterator[tuple[slice | NDArray[np.int64], Iterable[Batch]]]:
        """Read the batches of a pass, as many at a time as may be."""
        size = self.batch_size
        n = len(dataset) if rows is None else len(rows)
        stop = min(n, self._batch_count(n) * size)
        together = size * max(1, _rows_at_once(dataset) // size)
        for part in _parts(rows, stop, together):
            if type(dataset) is not ArrayDataset:
                yield part, [dataset.take(part)]
                continue
            read = dataset.take_into(part, self._memory.empty)
            yield part, zip(*[_cut(array, size) for array in read], strict=True)

    def __repr__(self) -> str:
        how = "replacement=True" if self.replacement else f"shuffle={self.shuffle}"
        how = how if self.sampler is None else f"sampler={type(self.sampler).__name__}"
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, {how}, "
            f"seed={self.seed}, drop_last={self.drop_last})"
        )
