"""A data module on arrays that exist already."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from softstep.data.datasets import ArrayDataset
from softstep.data.modules import DataModule
from softstep.data.splits import part_size, split_rows, subset

__all__ = ["ArrayDataModule"]


class ArrayDataModule(DataModule):
    """Train on arrays you already have, in memory or memory-mapped, without a copy of most.

    Parameters
    ----------
    x : (n, ...) array_like
        Features: real numbers of any type. uint8, int8, float16, float32 and float64 rows take the
        fused path; those that do not lie one after the other are copied first, unless they are
        mapped from a file.
    y : (n,) or (n, C) array_like
        Targets: class indices of any integer type, or real numbers.
    x_val, y_val : array_like, optional
        The same for validation.
    x_test, y_test : array_like, optional
        The same for the measure at the end; see `DataModule.test`.
    val_size : int or float, optional
        Hold so many training rows, or a share of them (a float less than 1), out for validation,
        chosen at random by the seed; instead of ``x_val`` and ``y_val``. Both parts are copies,
        except of memory-mapped arrays, which stay in their files and are then trained on batch by
        batch; `train_val_test_split` without ``shuffle`` keeps the fused path for them.
    batch_size, seed
        As in `DataModule`.
    scale, shift : float or (K,) array_like, optional
        Train on ``x * scale + shift``, for example ``scale=1 / 255`` for images of bytes.

    Raises
    ------
    TypeError, ValueError
        The arrays hold no numbers, differ in length, or the shapes of training and validation rows
        differ; only one of ``x_val`` and ``y_val`` was given, or of ``x_test`` and ``y_test``;
        ``val_size`` was given beside them or leaves no rows; other arguments as in `DataModule`.

    Examples
    --------
    >>> import numpy as np
    >>> data = ArrayDataModule(np.eye(4, dtype=np.float32), [0, 1, 1, 0], batch_size=2)
    >>> len(data.train), data.val is None
    (4, True)
    >>> [X.shape for X, y in data.train_dataloader()]
    [(2, 4), (2, 4)]
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        x_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        x_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        val_size: float | None = None,
        batch_size: int = 32,
        scale: ArrayLike | None = None,
        shift: ArrayLike | None = None,
        seed: int = 0,
    ) -> None:
        for name, given in (("val", (x_val, y_val)), ("test", (x_test, y_test))):
            if (given[0] is None) != (given[1] is None):
                raise ValueError(f"x_{name} and y_{name} must be given together")
        if val_size is not None and x_val is not None:
            raise ValueError("val_size must be None with x_val and y_val")
        has_val = x_val is not None or val_size is not None
        super().__init__(batch_size=batch_size, seed=seed, val=has_val)
        rows = _float_dataset(x, y, scale, shift)
        self.train = rows
        if x_val is not None and y_val is not None:
            self.val = _float_dataset(x_val, y_val, scale, shift)
            _check_rows("val", self.val, rows)
        if x_test is not None and y_test is not None:
            self.test = _float_dataset(x_test, y_test, scale, shift)
            _check_rows("test", self.test, rows)
        if val_size is not None:
            held = part_size("val_size", val_size, len(rows))
            if not 0 < held < len(rows):
                raise ValueError(
                    "val_size must leave training and validation rows, "
                    f"got {val_size} of {len(rows)}"
                )
            self.train, self.val = (
                subset(rows, part) for part in split_rows(len(rows), [len(rows) - held, held], seed)
            )


def _check_rows(part: str, data: ArrayDataset, train: ArrayDataset) -> None:
    for name, mine, other in zip("xy", train.tensors, data.tensors, strict=True):
        if mine.shape[1:] != other.shape[1:]:
            raise ValueError(
                f"{name}_{part} must have rows of shape {mine.shape[1:]} as {name} has, "
                f"got {other.shape[1:]}"
            )


def _float_dataset(
    x: ArrayLike, y: ArrayLike, scale: ArrayLike | None, shift: ArrayLike | None
) -> ArrayDataset:
    features = np.asarray(x)
    dtype = np.float64 if features.dtype.newbyteorder("=") == np.float64 else np.float32
    return ArrayDataset(features, y, scale=scale, shift=shift, dtype=dtype)
