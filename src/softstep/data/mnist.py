"""MNIST and Fashion-MNIST: 70,000 images each, read from IDX files on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from softstep.data.downloads import PublishedFile
from softstep.data.encoding import one_hot
from softstep.data.files import find_or_fetch
from softstep.data.idx import DataFileError
from softstep.data.images import ImageDataModule
from softstep.data.transforms import Transform
from softstep.kernels._arrays import as_flag

__all__ = ["MNIST", "FashionMNIST", "load_mnist"]

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# The two data sets have files of the same names and shapes; their first labels tell them apart.
_FIRST_LABELS = {
    "MNIST": {True: b"\5\0\4\1\x09\2\1\3\1\4", False: b"\7\2\1\0\4\1\4\x09\5\x09"},
    "Fashion-MNIST": {True: b"\x09\0\0\3\0\2\7\2\5\5", False: b"\x09\2\1\1\6\1\4\6\5\7"},
}


class _FourFiles(ImageDataModule):
    """What MNIST and Fashion-MNIST have in common."""

    image_shape = (28, 28)
    scale = 1 / 255
    title: ClassVar[str]
    folder: ClassVar[str]
    mirror: ClassVar[str]
    published: ClassVar[Mapping[str, PublishedFile]]

    def __init__(
        self,
        batch_size: int = 64,
        resize: Sequence[int] | None = (28, 28),
        root: str | os.PathLike[str] | None = None,
        download: bool = False,
        seed: int = 0,
        val: bool = True,
        *,
        val_size: float | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            resize=resize,
            root=root,
            seed=seed,
            val=val,
            val_size=val_size,
            transform=transform,
        )
        if not isinstance(download, (bool, np.bool_)):
            raise TypeError(f"download must be True or False, got {type(download).__name__}")
        names = _FILES[True] + (_FILES[False] if self.has_val else ())
        source = (self.mirror, self.published) if download else None
        self.files = find_or_fetch(self.title, self.folder, names, root, source)

    def read_rows(self, train: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read the training or test images from their files."""
        train = bool(train)
        images, labels = (self.files[name] for name in _FILES[train])
        x, y = self.read_images(images, labels)
        for title, first in _FIRST_LABELS.items():
            if title != self.title and y[:10].tobytes() == first[train]:
                raise DataFileError(labels, f"these are the labels of {title}, not of {self.title}")
        return x, y


class MNIST(_FourFiles):
    """The MNIST handwritten digits: 60,000 for training and 10,000 for testing, 28 x 28.

    The four files, plain or compressed with gzip, are looked for in ``root``, then in
    ``$SOFTSTEP_DATA``, then in softstep's folder of the user's cache, in each in a folder ``mnist``
    and in the place itself. They are found at once and read when first needed.

    Parameters
    ----------
    batch_size : int, default 64
        Rows of a batch, at least 1.
    resize : (int, int), default (28, 28)
        The height and width of the images in the batches.
    root : path, optional
        The folder of the files, or one with a folder ``mnist``.
    download : bool, default False
        Fetch the files that are nowhere from https://ossci-datasets.s3.amazonaws.com/mnist/ into
        ``root``, else into softstep's folder of the user's cache, and compare each with its
        published SHA-256 before it is opened. Needs pooch (``pip install 'softstep[datasets]'``).
        Without it no connection is ever made.
    seed : int, default 0
        Of the shuffle, and of the choice of validation images.
    val : bool, default True
        Whether to use the validation and test images.
    val_size : int or float, optional
        Hold so many training images, or a share of them (a float less than 1), out for validation;
        by default the validation images are the test images, as in the book.
    transform : callable, optional
        Changes the features of every batch; see `ImageDataModule`.

    Attributes
    ----------
    train, val, test : Dataset
        The images for training, for choices during the training, and for the measure at the end.
    files : dict of str to Path
        Where the files were found.

    Raises
    ------
    FileNotFoundError
        The files are nowhere; the message says which to put where.
    DataFileError
        When the data are first used: a file is damaged or holds no MNIST images.
    DownloadError, ImportError
        A download failed or brought another file; pooch is not installed.
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

        data = MNIST(batch_size=256, root="data", val_size=5000)
        len(data.train), len(data.val), len(data.test)  # 55000, 5000, 10000
        data.train[0][0].shape  # (1, 28, 28)
    """

    labels = tuple("0123456789")
    title = "MNIST"
    folder = "mnist"
    mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    published: ClassVar[Mapping[str, PublishedFile]] = {
        "train-images-idx3-ubyte": PublishedFile(
            9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        "train-labels-idx1-ubyte": PublishedFile(
            28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        "t10k-images-idx3-ubyte": PublishedFile(
            1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        "t10k-labels-idx1-ubyte": PublishedFile(
            4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    }


class FashionMNIST(_FourFiles):
    """Fashion-MNIST: pictures of ten kinds of clothing, 60,000 for training, 10,000 for testing.

    Like `MNIST` in everything else: the same arguments, attributes and errors, files of the same
    names in a folder ``fashion-mnist``, images of 28 x 28. Files of MNIST are refused. Downloads
    come from http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/.

    Parameters
    ----------
    batch_size, resize, root, download, seed, val, val_size, transform
        As in `MNIST`.

    Notes
    -----
    The labels, as text: t-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag and
    ankle boot. Licence of the data: MIT, Zalando Research.

    Debian has the files in its package ``dataset-fashion-mnist``; ``root="/usr/share/datasets"``
    finds them there.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747, 2017. A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive
    into Deep Learning", section 4.2.

    Examples
    --------
    With the files in ``data/fashion-mnist``::

        data = FashionMNIST(batch_size=256, resize=(32, 32), root="data")
        data.train[0][0].shape  # (1, 32, 32)
        data.text_labels([0, 9])  # ["t-shirt", "ankle boot"]
    """

    labels = (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
        "ankle boot",
    )  # fmt: skip
    title = "Fashion-MNIST"
    folder = "fashion-mnist"
    mirror = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    published: ClassVar[Mapping[str, PublishedFile]] = {
        "train-images-idx3-ubyte": PublishedFile(
            26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte": PublishedFile(
            29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte": PublishedFile(
            4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte": PublishedFile(
            5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    }


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Read all of MNIST into memory.

    Parameters
    ----------
    normalize : bool, default True
        Pixels as float32 from 0 to 1; otherwise the bytes.
    flatten : bool, default True
        Images as rows of 784 pixels; otherwise (1, 28, 28) each.
    one_hot_label : bool, default False
        Labels as one-hot vectors of float32; otherwise as int64 class indices.
    root, download
        As in `MNIST`.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : ndarrays
        60,000 and 10,000 images and their labels.

    Raises
    ------
    FileNotFoundError, DataFileError, DownloadError, ImportError, TypeError
        As `MNIST`.

    References
    ----------
    K. Saitoh, "Deep Learning from Scratch", section 3.6.1.

    Examples
    --------
    With the files in ``data/mnist``::

        (x_train, t_train), (x_test, t_test) = load_mnist(one_hot_label=True, root="data")
        x_train.shape, t_train.shape  # (60000, 784), (60000, 10)
    """
    normalize, flatten = as_flag("normalize", normalize), as_flag("flatten", flatten)
    one_hot_label = as_flag("one_hot_label", one_hot_label)
    data = MNIST(root=root, download=download)

    def part(train: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        pixels, classes = data.read_rows(train)
        x = pixels.reshape(len(pixels), -1) if flatten else pixels[:, None]
        if normalize:
            x = np.multiply(x, np.float32(data.scale), dtype=np.float32)
        return x, one_hot(classes, data.num_classes) if one_hot_label else classes.astype(np.int64)

    return part(True), part(False)
