"""Data modules of labelled images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softstep.data.datasets import ArrayDataset
from softstep.data.idx import DataFileError, read_idx
from softstep.data.modules import DataModule

__all__ = ["ImageDataModule"]

_MAX_BYTES = 1 << 30  # the largest relatives of MNIST have 640 MB


class ImageDataModule(DataModule):
    """Labelled images of one size: float32 (B, 1, height, width) in [0, 1] and int64 labels."""

    labels: ClassVar[tuple[str, ...]]
    image_shape: ClassVar[tuple[int, int]]
    scale: ClassVar[float]

    @property
    def num_classes(self) -> int:
        """How many classes the labels tell apart."""
        return len(self.labels)

    def text_labels(self, indices: Iterable[Any]) -> list[str]:
        """Return the names of class indices.

        Raises
        ------
        IndexError
            An index is no class.
        """
        names = []
        for index in indices:
            if not 0 <= int(index) < len(self.labels):
                raise IndexError(f"label {index} is no class: 0 to {len(self.labels) - 1}")
            names.append(self.labels[int(index)])
        return names

    def image_dataset(self, x: NDArray[np.uint8], y: NDArray[np.uint8]) -> ArrayDataset:
        """Make bytes (n, height, width) and their labels a data set of float32 images."""
        rows = x.reshape(len(x), -1) if len(x) else x.reshape(0, x.shape[1] * x.shape[2])
        return ArrayDataset(rows, y, scale=self.scale, item_shape=(1, *self.image_shape))

    def read_images(self, images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read a pair of IDX files and check that they are what this module holds.

        Raises
        ------
        DataFileError
            They are damaged, or have another type or shape, or labels that are no classes.
        """
        height, width = self.image_shape
        x = read_idx(images, max_bytes=_MAX_BYTES)
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != self.image_shape:
            raise DataFileError(
                images,
                f"expected uint8 images of shape (n, {height}, {width}), got {x.dtype} {x.shape}",
            )
        y = read_idx(labels, max_bytes=_MAX_BYTES)
        if y.dtype != np.uint8 or y.ndim != 1:
            raise DataFileError(
                labels, f"expected uint8 labels of shape (n,), got {y.dtype} {y.shape}"
            )
        if len(x) != len(y):
            raise DataFileError(
                labels, f"{len(y)} labels for the {len(x)} images in {os.fspath(images)}"
            )
        if len(y) == 0:
            raise DataFileError(labels, "holds no rows")
        wrong = y >= len(self.labels)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataFileError(
                labels, f"row {row} holds the label {y[row]}, expected 0 to {len(self.labels) - 1}"
            )
        return x, y
