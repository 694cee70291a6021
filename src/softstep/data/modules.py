"""Data modules: training and validation data with the loaders that `Trainer` asks for."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.data.datasets import ArrayDataset, Arrays, Dataset
from softstep.data.loaders import DataLoader, integer
from softstep.hyperparameters import HyperParameters

__all__ = ["DataModule"]

_LOADERS = ("get_dataloader", "train_dataloader", "val_dataloader", "get_tensorloader")


class DataModule(HyperParameters):
    """Training and, unless ``val=False``, validation data: the base class of all of them.

    A subclass overrides ``dataset(train)``, which keeps the fused path when it returns an
    `ArrayDataset`, or ``get_dataloader(train)`` as in the book, or
    ``train_dataloader()`` and ``val_dataloader()``. Any of them is enough.

    Parameters
    ----------
    batch_size : int, default 32
        Rows of a batch, at least 1.
    seed : int, default 0
        Of the shuffle of the training rows; at least 0.
    val : bool, default True
        Whether there are validation data.
    root : path, optional
        A folder with data files, for modules that read files.

    Attributes
    ----------
    batch_size, seed, has_val, root
        The arguments; the loaders read them when they are made.
    train, val : Dataset
        The data sets, made when first asked for; ``val`` is None without validation data.
    test : Dataset
        Rows that are neither trained on nor looked at during the training; None if there are none.
    shuffle : bool
        True; set it to False to train on the rows in their own order, for debugging.

    Raises
    ------
    TypeError, ValueError
        ``batch_size`` or ``seed`` is not such an integer, ``val`` no bool, ``root`` no path.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", sections 3.2 and 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> class Line(DataModule):
    ...     def get_dataloader(self, train):
    ...         x = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    ...         return self.get_tensorloader((x, 2 * x), train)
    >>> X, y = next(iter(Line(batch_size=10).train_dataloader()))
    >>> X.shape, y.shape
    ((10, 1), (10, 1))
    """

    # So that a subclass whose __init__ does not call this one works, too.
    batch_size: int = 32
    seed: int = 0
    has_val: bool = True
    root: str | os.PathLike[str] | None = None
    shuffle: bool = True

    def __init__(
        self,
        *,
        batch_size: int = 32,
        seed: int = 0,
        val: bool = True,
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.batch_size = integer("batch_size", batch_size, 1)
        self.seed = integer("seed", seed, 0)
        if not isinstance(val, (bool, np.bool_)):
            raise TypeError(f"val must be True or False, got {type(val).__name__}")
        self.has_val = bool(val)
        if root is not None and not isinstance(root, (str, os.PathLike)):
            raise TypeError(f"root must be a path or None, got {type(root).__name__}")
        self.root = root

    def dataset(self, train: bool) -> Dataset | None:
        """Make the training or the validation data set; the base class has none.

        Called once for each, by ``train`` and ``val``.
        """
        return None

    # Cached properties, so that a subclass may also assign self.train and self.val.
    @cached_property
    def train(self) -> Dataset | None:
        """The training data set."""
        return self.dataset(True)

    @cached_property
    def val(self) -> Dataset | None:
        """The validation data set, None if there is none."""
        return self.dataset(False) if self.has_val else None

    def test_dataset(self) -> Dataset | None:
        """Make the test data set, when it is first asked for; the base class has none."""
        return None

    @cached_property
    def test(self) -> Dataset | None:
        """The test data set, None if there is none."""
        return self.test_dataset()

    def arrays(self, train: bool) -> Arrays | None:
        """Return raw rows for the fused path: (x, y, scale, shift).

        The features are ``x * scale + shift``, without either where it is None.

        Parameters
        ----------
        train : bool
            Training or validation data.

        Returns
        -------
        tuple or None
            ``x`` (n, K) uint8, float32 or float64, ``y`` (n,) or (n, C), scale and shift None,
            scalar or (K,). None when the loaders are the only way to the data: the data set is no
            plain `ArrayDataset`, or a subclass or the object has a loader of its own, which then
            decides what is trained on.
        """
        if self._loaders_replaced() or (train and not self.shuffle):
            return None  # native calls shuffle
        return _arrays(self.train if train else self.val)

    def _loaders_replaced(self) -> bool:
        above = type(self).__mro__[: type(self).__mro__.index(DataModule)]
        return any(name in vars(owner) for owner in (self, *above) for name in _LOADERS)

    def get_dataloader(self, train: bool) -> DataLoader | None:
        """Return a loader of the training data, shuffled, or of the validation data, in order.

        Returns
        -------
        DataLoader or None
            None if there are no validation data.

        Raises
        ------
        NotImplementedError
            There are no training data: the subclass has to override one of the methods.
        """
        data = self.train if train else self.val
        if data is None:
            if not train:
                return None
            raise NotImplementedError(
                f"{type(self).__name__} has no training data: override dataset(train), "
                "get_dataloader(train) or train_dataloader()"
            )
        shuffle = bool(train) and self.shuffle
        return DataLoader(data, self.batch_size, shuffle=shuffle, seed=self.seed)

    def train_dataloader(self) -> Any:
        """Return the loader of the training data."""
        return self.get_dataloader(True)

    def val_dataloader(self) -> Any:
        """Return the loader of the validation data; None if there are none."""
        return self.get_dataloader(False) if self.has_val else None

    def test_dataloader(self) -> Any:
        """Return the loader of the test data, in their order; None if there are none."""
        if self.test is None:
            return None
        return DataLoader(self.test, self.batch_size, seed=self.seed)

    def on_test(self) -> DataModule:
        """Return a data module whose validation data are the test data of this one.

        Evaluate a model on them once, at the end: ``evaluate(model, data.on_test())``.

        Raises
        ------
        ValueError
            There are no test data.

        Examples
        --------
        >>> from softstep import Digits
        >>> data = Digits(val_size=137)
        >>> len(data.train), len(data.val), len(data.on_test().val)
        (1300, 137, 360)
        """
        return _TestData(self)

    def get_tensorloader(
        self,
        tensors: tuple[ArrayLike, ...] | list[ArrayLike],
        train: bool,
        indices: slice | NDArray[Any] = slice(0, None),
    ) -> DataLoader:
        """Return a loader of some rows of arrays: features, then targets.

        Parameters
        ----------
        tensors : sequence of array_like
            Arrays of equal length.
        train : bool
            Whether to shuffle.
        indices : slice or integer array
            Which rows.

        Returns
        -------
        DataLoader
            Its batches hold one array for each of ``tensors``.
        """
        chosen = tuple(np.asarray(array)[indices] for array in tensors)
        return DataLoader(
            ArrayDataset(*chosen),
            self.batch_size,
            shuffle=bool(train) and self.shuffle,
            seed=self.seed,
        )


class _TestData(DataModule):
    """The test data of a module, as validation data."""

    def __init__(self, data: DataModule) -> None:
        if data.test_dataloader() is None:
            raise ValueError(f"{type(data).__name__} has no test data")
        super().__init__(batch_size=data.batch_size, seed=data.seed, root=data.root)
        self.data = data
        self.val = data.test

    def arrays(self, train: bool) -> Arrays | None:
        """Return the raw test rows, for the fused path."""
        replaced = "test_dataloader" in vars(self.data) or (
            type(self.data).test_dataloader is not DataModule.test_dataloader
        )
        return None if train or replaced else _arrays(self.val)

    def val_dataloader(self) -> Any:
        """Return the loader of the test data."""
        return self.data.test_dataloader()


def _arrays(data: Dataset | None) -> Arrays | None:
    # Not a subclass of ArrayDataset either: it may change what take() gives.
    return data.arrays() if type(data) is ArrayDataset else None
