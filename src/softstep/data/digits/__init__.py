"""Digits: 1,797 real handwritten digits that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from softstep.data.images import ImageDataModule
from softstep.data.transforms import Transform

__all__ = ["Digits"]

_HERE = Path(__file__).parent


class Digits(ImageDataModule):
    """The embedded data set: 1,797 handwritten digits of 8 x 8 pixels with values from 0 to 16.

    The test part of the UCI set "Optical Recognition of Handwritten Digits", the rows in the order
    of scikit-learn's ``load_digits``. The first 1,437 are for training, the last 360 for
    validation. This split is harder than a random one: logistic regression reaches an accuracy of
    about 0.90 on it, of about 0.97 when the rows are mixed before they are split.

    Parameters
    ----------
    batch_size : int, default 64
        Rows of a batch, at least 1.
    seed : int, default 0
        Of the shuffle.
    val : bool, default True
        Whether to use the validation rows. Without them the training rows stay the same.
    resize, val_size, transform : optional
        As in `ImageDataModule`. With ``val_size`` validation rows are held out from the 1,437, and
        the last 360 are for testing.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Notes
    -----
    Batches are (B, 1, 8, 8) float32 in [0, 1], the pixels divided by 16 (exact), and int64 labels.
    Licence of the data: CC BY 4.0, see the file ``LICENSE.txt`` beside them.

    References
    ----------
    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49.

    Examples
    --------
    >>> data = Digits(batch_size=256)
    >>> len(data.train), len(data.val)
    (1437, 360)
    >>> X, y = next(iter(data.train_dataloader()))
    >>> X.shape, X.dtype, y.dtype
    ((256, 1, 8, 8), dtype('float32'), dtype('int64'))
    """

    labels = tuple("0123456789")
    image_shape = (8, 8)
    scale = 1 / 16
    num_train = 1437

    def __init__(
        self,
        batch_size: int = 64,
        seed: int = 0,
        val: bool = True,
        *,
        resize: Sequence[int] | None = None,
        val_size: float | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            resize=resize,
            seed=seed,
            val=val,
            val_size=val_size,
            transform=transform,
        )

    @cached_property
    def _rows(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.read_images(
            _HERE / "digits-images-idx3-ubyte.gz", _HERE / "digits-labels-idx1-ubyte.gz"
        )

    def read_rows(self, train: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the first or the last rows."""
        x, y = self._rows
        rows = slice(0, self.num_train) if train else slice(self.num_train, None)
        return x[rows], y[rows]
