"""Data modules of labelled images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softstep.data.datasets import ArrayDataset, Dataset
from softstep.data.idx import DataFileError, read_idx
from softstep.data.modules import DataModule
from softstep.data.resizing import resize_images
from softstep.data.splits import part_size, split_rows
from softstep.data.transformed import TransformedDataset, transformed
from softstep.data.transforms import Compose, Transform
from softstep.data.transforms.images import image_size

__all__ = ["ImageDataModule"]

_MAX_BYTES = 1 << 30  # the largest relatives of MNIST have 640 MB
_MAX_RESIZED = 1 << 30  # larger ones are resized batch by batch


class ImageDataModule(DataModule):
    """Labelled images of one size: float32 (B, 1, height, width) in [0, 1] and int64 labels.

    A subclass sets ``labels``, ``image_shape`` and ``scale``, and defines ``read_rows``.

    Parameters
    ----------
    batch_size : int, default 64
        Rows of a batch, at least 1.
    resize : (int, int), optional
        The height and width of the images in the batches; default: as they are. They are resized
        once, when they are first used, by bilinear interpolation
        (`softstep.data.transforms.Resize`).
    root : path, optional
        For modules that read files.
    seed : int, default 0
        Of the shuffle and of the choice of validation rows.
    val : bool, default True
        Whether there are validation data; without them there are no test data either.
    val_size : int or float, optional
        Hold so many training images, or a share of them (a float less than 1), out for validation,
        chosen at random by the seed. By default the validation images are the test images, as in
        the book; a choice made by looking at them, like early stopping, then spoils the test.
    transform : callable, optional
        Changes the features of every batch, a transform of `softstep.data.transforms` or any
        function: of the training images as it is, of the others without its random parts. With
        ``ToTensor`` and ``Normalize`` alone, training by native calls stays possible.

    Attributes
    ----------
    train, val : Dataset
        The training and the validation images; ``val`` is None without them.
    test : Dataset
        The test images, to be measured once at the end; the same as ``val`` without ``val_size``.
    image_shape : (int, int)
        The height and width of the images in the batches.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described, or ``val_size`` leaves no training or validation images.
    """

    labels: ClassVar[tuple[str, ...]]
    image_shape: tuple[int, int]
    scale: ClassVar[float]

    val_size: float | None = None
    transform: Transform | None = None

    def __init__(
        self,
        *,
        batch_size: int = 64,
        resize: Sequence[int] | None = None,
        root: str | os.PathLike[str] | None = None,
        seed: int = 0,
        val: bool = True,
        val_size: float | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, val=val, root=root)
        if resize is not None:
            self.image_shape = image_size("resize", resize)
        if val_size is not None:
            if not self.has_val:
                raise ValueError("val_size must be None with val=False")
            part_size("val_size", val_size, 2**62)
        self.val_size = val_size
        if transform is not None:
            self.transform = Compose([transform])

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

    def visualize(
        self,
        batch: Sequence[Any],
        nrows: int = 1,
        ncols: int = 8,
        labels: Sequence[str] | None = None,
    ) -> Any:
        """Draw the first ``nrows * ncols`` images of a batch.

        Parameters
        ----------
        batch : (X, y)
            Images (B, 1, height, width), and class indices (B,).
        nrows, ncols : int
            Rows and columns of the grid.
        labels : sequence of str, optional
            A title for each image; default: the names of the classes.

        Returns
        -------
        What `softstep.plotting.show_images` returns.

        Raises
        ------
        ImportError
            matplotlib is not installed: ``pip install 'softstep[plot]'``.
        TypeError, ValueError, IndexError
            The batch holds no such images, or a label is no class.

        References
        ----------
        A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.2.3.
        """
        from softstep.plotting import show_images

        images, classes = (np.asarray(part) for part in batch)
        if images.ndim == 4 and images.shape[1] == 1:
            images = images[:, 0]
        count = nrows * ncols
        titles = self.text_labels(classes[:count]) if labels is None else list(labels[:count])
        return show_images(images[:count], nrows, ncols, titles=titles)

    # The data

    def read_rows(self, train: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the bytes (n, height, width) and labels (n,) of the training or test images.

        Called when they are first needed; a subclass defines it.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no read_rows(train)")

    def dataset(self, train: bool) -> Dataset | None:
        """Return the training or validation images."""
        if self.val_size is not None:
            return self._parts[0 if train else 1]
        return self.image_dataset(*self.read_rows(True), train=True) if train else self.test

    def test_dataset(self) -> Dataset | None:
        """Return the test images."""
        return self.image_dataset(*self.read_rows(False)) if self.has_val else None

    @cached_property
    def _parts(self) -> tuple[Dataset, Dataset]:
        """The training images that are trained on, and those that are held out."""
        assert self.val_size is not None
        x, y = self.read_rows(True)
        held = part_size("val_size", self.val_size, len(x))
        if not 0 < held < len(x):
            raise ValueError(
                f"val_size must leave training and validation images, got {self.val_size} "
                f"of {len(x)}"
            )
        chosen, rest = split_rows(len(x), [len(x) - held, held], self.seed)
        return (
            self.image_dataset(x[chosen], y[chosen], train=True),
            self.image_dataset(x[rest], y[rest]),
        )

    def image_dataset(
        self, x: NDArray[np.uint8], y: NDArray[np.uint8], *, train: bool = False
    ) -> Dataset:
        """Make bytes (n, height, width) and their labels a data set of float32 images."""
        if x.shape[1:] == self.image_shape or len(x) * math.prod(self.image_shape) <= _MAX_RESIZED:
            if x.shape[1:] != self.image_shape:
                x = resize_images(x, self.image_shape)
            rows = x.reshape(len(x), math.prod(self.image_shape))
            data = ArrayDataset(rows, y, scale=self.scale, item_shape=(1, *self.image_shape))
            return transformed(data, self.transform, train=train)
        small = ArrayDataset(x, y)  # resized, they do not fit in memory: batch by batch
        return transformed(TransformedDataset(small, self._resized), self.transform, train=train)

    def _resized(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        large = resize_images(x, self.image_shape)[:, None]
        pixels: NDArray[np.float32] = np.multiply(large, np.float32(self.scale), dtype=np.float32)
        return pixels

    def read_images(self, images: Path, labels: Path) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read a pair of IDX files and check that they are what this module holds.

        Raises
        ------
        DataFileError
            They are damaged, or have another type or shape, or labels that are no classes.
        """
        height, width = shape = type(self).image_shape
        x = read_idx(images, max_bytes=_MAX_BYTES)
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != shape:
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
