"""Data: modules, data sets, loaders, transforms, file readers and the shuffle without storage."""

from __future__ import annotations

from softstep.data._permutation import Permutation, permutation
from softstep.data.arrays import ArrayDataModule
from softstep.data.datasets import ArrayDataset, Dataset
from softstep.data.digits import Digits
from softstep.data.downloads import DownloadError
from softstep.data.encoding import from_one_hot, one_hot
from softstep.data.generated import GeneratedDataModule, GeneratedLoader
from softstep.data.idx import DataFileError, read_idx
from softstep.data.images import ImageDataModule
from softstep.data.loaders import DataLoader
from softstep.data.mnist import MNIST, FashionMNIST, load_mnist
from softstep.data.modules import DataModule
from softstep.data.npy import read_npy
from softstep.data.splits import Subset, random_split, train_val_test_split
from softstep.data.synthetic import SyntheticRegressionData
from softstep.data.transformed import TransformedDataset
from softstep.data.transforms import (
    Compose,
    Normalize,
    RandomHorizontalFlip,
    Resize,
    ToTensor,
)

__all__ = [
    "MNIST",
    "ArrayDataModule",
    "ArrayDataset",
    "Compose",
    "DataFileError",
    "DataLoader",
    "DataModule",
    "Dataset",
    "Digits",
    "DownloadError",
    "FashionMNIST",
    "GeneratedDataModule",
    "GeneratedLoader",
    "ImageDataModule",
    "Normalize",
    "Permutation",
    "RandomHorizontalFlip",
    "Resize",
    "Subset",
    "SyntheticRegressionData",
    "ToTensor",
    "TransformedDataset",
    "from_one_hot",
    "load_mnist",
    "one_hot",
    "permutation",
    "random_split",
    "read_idx",
    "read_npy",
    "train_val_test_split",
]
