"""What a transform is, and several of them in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BatchTransform", "Compose", "Transform"]

Transform: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
"""A function of the features of a batch."""


class BatchTransform:
    """The base class of transforms that know the rows and the epoch of a batch.

    A subclass defines ``apply(x, rows, epoch)``, and sets ``random = True`` if it is random:
    validation and test batches are not changed at random.
    """

    random = False

    def __call__(
        self, x: ArrayLike, rows: NDArray[np.int64] | None = None, epoch: int = 0
    ) -> NDArray[Any]:
        """Transform a batch.

        Parameters
        ----------
        x : (B, ...) array_like
            The features.
        rows : (B,) int64 ndarray, optional
            The numbers of the rows in their data set; default: 0 to B - 1.
        epoch : int, default 0

        Returns
        -------
        ndarray (B, ...)
        """
        array = np.asarray(x)
        if array.ndim == 0:
            raise ValueError("x must be a batch of rows, got a single number")
        return self.apply(array, np.arange(len(array)) if rows is None else rows, epoch)

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Transform the features of these rows in this epoch."""
        raise NotImplementedError(f"{type(self).__name__} defines no apply(x, rows, epoch)")


class Compose(BatchTransform):
    """Transforms one after the other.

    Parameters
    ----------
    transforms : sequence of callables
        Those of this module, and any functions of the features of a batch.

    Raises
    ------
    TypeError
        One of them cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.full((2, 28, 28), 255, np.uint8)
    >>> from softstep.data.transforms import Compose, Normalize, Resize, ToTensor
    >>> x = Compose([Resize((32, 32)), ToTensor(), Normalize(0.5, 0.5)])(images)
    >>> x.shape, x.dtype, float(x.max())
    ((2, 1, 32, 32), dtype('float32'), 1.0)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = [_callable(transform) for transform in transforms]

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether one of the transforms is random."""
        return any(getattr(transform, "random", False) for transform in self.transforms)

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Apply the transforms in their order."""
        for transform in self.transforms:
            known = isinstance(transform, BatchTransform)
            x = transform(x, rows, epoch) if known else transform(x)
        return x

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


def _callable(transform: Any) -> Any:
    if isinstance(transform, type) or not callable(transform):
        raise TypeError(f"a transform must be a function of a batch, got {transform!r}")
    return transform
