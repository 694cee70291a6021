"""Data that are made while they are used, and never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from softstep.data.datasets import Batch
from softstep.data.loaders import integer
from softstep.data.modules import DataModule
from softstep.kernels._arrays import as_flag

__all__ = ["GeneratedDataModule", "GeneratedLoader", "Maker"]

Maker: TypeAlias = Callable[[np.random.Generator, int], tuple[ArrayLike, ...]]
"""Makes a batch of so many rows, usually (X, y), from a generator of random numbers."""


class GeneratedLoader:
    """Batches made one by one, as often as they are asked for.

    Each batch of each epoch is made from a generator of random numbers of its own, whose seed is
    made of the loader's, the epoch and the batch's number: it is the same in every run, whatever
    came before.

    Parameters
    ----------
    make : callable
        ``make(rng, count)`` returns arrays of ``count`` rows each.
    num_rows : int
        Rows of an epoch, at least 1.
    batch_size : int
        Rows of a batch, at least 1; the last one may be short.
    seed : int, default 0
        At least 0.
    validation : bool, default False
        Make the same batches in every epoch, and others than those for training.

    Attributes
    ----------
    epoch : int
        The epoch of the next pass, as that of a `DataLoader`.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; at a pass: ``make`` returned no tuple of such arrays.

    Examples
    --------
    >>> loader = GeneratedLoader(lambda rng, n: (rng.normal(size=(n, 2)), np.zeros(n)), 10, 4)
    >>> len(loader), [len(y) for X, y in loader]
    (3, [4, 4, 2])
    """

    def __init__(
        self,
        make: Maker,
        num_rows: int,
        batch_size: int,
        *,
        seed: int = 0,
        validation: bool = False,
    ) -> None:
        if not callable(make):
            raise TypeError(f"make must be a function of (rng, count), got {type(make).__name__}")
        self.make = make
        self.num_rows = integer("num_rows", num_rows, 1)
        self.batch_size = integer("batch_size", batch_size, 1)
        self.seed = integer("seed", seed, 0)
        self.validation = as_flag("validation", validation)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; an integer >= 0."""
        self.epoch = integer("epoch", epoch, 0)

    def __len__(self) -> int:
        """Return the number of batches of a pass."""
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch = 0 if self.validation else self.epoch
        self.epoch += 1
        return (self._batch(epoch, number) for number in range(len(self)))

    def _batch(self, epoch: int, number: int) -> Batch:
        count = min(self.batch_size, self.num_rows - number * self.batch_size)
        key = (int(self.validation), epoch, number)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        made = self.make(rng, count)
        if not isinstance(made, tuple) or not made:
            raise TypeError(f"make must return a tuple of arrays, got {type(made).__name__}")
        arrays = tuple(np.asarray(array) for array in made)
        lengths = [len(array) if array.ndim else None for array in arrays]
        if any(length != count for length in lengths):
            raise ValueError(f"make must return {count} rows in each array, got {lengths}")
        return arrays


class GeneratedDataModule(DataModule):
    """Train on batches that a function makes: new ones in every epoch, none of them stored.

    Parameters
    ----------
    make : callable
        ``make(rng, count)`` returns (X, y) of ``count`` rows, drawn from the NumPy generator
        ``rng``.
    num_train : int
        Rows of an epoch, at least 1.
    num_val : int, default 0
        Rows for validation, the same in every epoch; none with 0.
    batch_size, seed
        As in `DataModule`; the seed is that of the data.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; at a pass: ``make`` returned something else.

    Examples
    --------
    >>> import numpy as np
    >>> def line(rng, count):
    ...     x = rng.standard_normal((count, 2), dtype=np.float32)
    ...     return x, x @ np.float32([[2], [-3.4]]) + np.float32(4.2)
    >>> data = GeneratedDataModule(line, num_train=1000, batch_size=32)
    >>> from softstep import LinearRegression, Trainer
    >>> model = LinearRegression(lr=0.03)
    >>> history = Trainer(max_epochs=5).fit(model, data)
    >>> model.get_w_b()[0].round(1)
    array([[ 2. , -3.4]], dtype=float32)
    """

    def __init__(
        self,
        make: Maker,
        num_train: int,
        num_val: int = 0,
        *,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.num_train = integer("num_train", num_train, 1)
        self.num_val = integer("num_val", num_val, 0)
        super().__init__(batch_size=batch_size, seed=seed, val=self.num_val > 0)
        if not callable(make):
            raise TypeError(f"make must be a function of (rng, count), got {type(make).__name__}")
        self.make = make

    def get_dataloader(self, train: bool) -> Any:
        """Return the loader of new training batches or of the validation batches."""
        if train:
            return GeneratedLoader(self.make, self.num_train, self.batch_size, seed=self.seed)
        if not self.has_val:
            return None
        return GeneratedLoader(
            self.make, self.num_val, self.batch_size, seed=self.seed, validation=True
        )
