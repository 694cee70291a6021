"""Data sets whose features are transformed, batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.data.datasets import ArrayDataset, Batch, Dataset, IndexedDataset, at_epoch
from softstep.data.transforms import Compose, Normalize, ToTensor, Transform

__all__ = ["TransformedDataset", "transformed"]


class TransformedDataset(IndexedDataset):
    """A data set and a transform of its features.

    Parameters
    ----------
    dataset : Dataset
        Its batches' first array holds the features.
    transform : callable
        A transform of `softstep.data.transforms`, or any function of the features of a batch.
    epoch : int, default 0
        Of the random transforms; a loader asks for its own epoch with `at_epoch`.

    Raises
    ------
    TypeError
        ``dataset`` is no data set, ``transform`` cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.data import ArrayDataset, TransformedDataset
    >>> data = TransformedDataset(ArrayDataset(np.ones((4, 2)), np.arange(4)), lambda x: 3 * x)
    >>> data[1:]
    (array([[3., 3.],
           [3., 3.],
           [3., 3.]]), array([1, 2, 3]))
    """

    def __init__(self, dataset: Dataset, transform: Transform, epoch: int = 0) -> None:
        if isinstance(dataset, np.ndarray) or not isinstance(dataset, Dataset):
            raise TypeError(
                f"dataset must have a length and take(rows), got {type(dataset).__name__}"
            )
        self.dataset = dataset
        self.transform = Compose([transform])
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def at_epoch(self, epoch: int) -> TransformedDataset:
        """Return this data set as it is in an epoch."""
        return TransformedDataset(at_epoch(self.dataset, epoch), self.transform, epoch)

    def take(self, rows: slice | NDArray[np.int64]) -> Batch:
        """Return the transformed batch of these rows.

        Raises
        ------
        TypeError, ValueError
            The transform gave no array of as many rows; or it refuses its input.
        """
        features, *targets = self.dataset.take(rows)
        n = len(self)
        numbers = np.arange(*rows.indices(n)) if isinstance(rows, slice) else rows % n
        result = self.transform(features, numbers, self.epoch)
        if not isinstance(result, np.ndarray) or result.ndim == 0:
            raise TypeError(f"the transform must return an array, got {type(result).__name__}")
        if len(result) != len(features):
            raise ValueError(
                f"the transform must return {len(features)} rows, as it was given, "
                f"got {len(result)}"
            )
        return (result, *targets)

    def __repr__(self) -> str:
        return f"TransformedDataset({self.dataset!r}, {self.transform.transforms[0]!r})"


def transformed(data: Dataset, transform: Transform | None, *, train: bool) -> Dataset:
    """Apply a transform to a data set of images of floats, without its random parts unless `train`.

    What only converts and normalises becomes the scale and shift of an `ArrayDataset`, which native
    calls can train on.
    """
    steps = [step for step in _steps(transform) if train or not getattr(step, "random", False)]
    if type(data) is ArrayDataset:
        scale, shift = data.scale, data.shift
        while steps and type(steps[0]) in (ToTensor, Normalize):
            first = steps.pop(0)
            if type(first) is Normalize:  # floats are tensors already
                scale, shift = first.fold(scale, shift, data.item_shape)
        if scale is not data.scale or shift is not data.shift:
            data = ArrayDataset(
                *data.tensors,
                scale=scale,
                shift=shift,
                dtype=data.dtype,
                item_shape=data.item_shape,
            )
    return TransformedDataset(data, Compose(steps)) if steps else data


def _steps(transform: Any) -> list[Any]:
    """List the transforms that Compose objects, one in another, hold."""
    if transform is None:
        return []
    if type(transform) is Compose:
        return [step for inner in transform.transforms for step in _steps(inner)]
    if isinstance(transform, type) or not callable(transform):
        raise TypeError(f"transform must be a function of a batch or None, got {transform!r}")
    return [transform]
