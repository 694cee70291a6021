"""MNIST: 70,000 handwritten digits, read from IDX files on this machine."""

from __future__ import annotations

import os

from softstep.data.datasets import Dataset
from softstep.data.files import find_files
from softstep.data.images import ImageDataModule

__all__ = ["MNIST"]

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class MNIST(ImageDataModule):
    """The MNIST handwritten digits: 60,000 for training and 10,000 for validation, 28 x 28.

    The four files, plain or compressed with gzip, are looked for in ``root``, then in
    ``$SOFTSTEP_DATA``, then in softstep's folder of the user's cache, in each in a folder ``mnist``
    and in the place itself. They are found at once and read when first needed.

    Parameters
    ----------
    batch_size : int, default 64
        Rows of a batch, at least 1.
    resize : (28, 28), optional
        The size of the images; for now there is no other.
    root : path, optional
        The folder of the files, or one with a folder ``mnist``.
    seed : int, default 0
        Of the shuffle.
    val : bool, default True
        Whether to use the validation images.

    Raises
    ------
    FileNotFoundError
        The files are nowhere; the message says which to put where.
    DataFileError
        When the data are first used: a file is damaged or holds no MNIST images.
    TypeError, ValueError
        An argument is not as described.

    Notes
    -----
    Batches are (B, 1, 28, 28) float32 in [0, 1], the bytes times ``float32(1 / 255)``, and int64
    labels.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86, 1998.

    Examples
    --------
    With the files in ``data/mnist``::

        data = MNIST(batch_size=256, root="data")
        len(data.train), data.train[0][0].shape  # 60000, (1, 28, 28)
    """

    labels = tuple("0123456789")
    image_shape = (28, 28)
    scale = 1 / 255

    def __init__(
        self,
        batch_size: int = 64,
        resize: tuple[int, int] | list[int] | None = None,
        root: str | os.PathLike[str] | None = None,
        seed: int = 0,
        val: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, val=val, root=root)
        fits = isinstance(resize, (tuple, list)) and tuple(resize) == self.image_shape
        if resize is not None and not fits:
            raise ValueError(f"resize must be None or {self.image_shape}, got {resize!r}")
        names = _FILES[True] + (_FILES[False] if self.has_val else ())
        self.files = find_files("MNIST", "mnist", names, root)

    def dataset(self, train: bool) -> Dataset | None:
        """Read the training or validation images from their files."""
        images, labels = (self.files[name] for name in _FILES[bool(train)])
        return self.image_dataset(*self.read_images(images, labels))
