"""Data: modules, data sets, loaders, file readers and the shuffle that stores no permutation."""

from __future__ import annotations

from softstep.data._permutation import Permutation, permutation
from softstep.data.datasets import ArrayDataset, Dataset
from softstep.data.digits import Digits
from softstep.data.idx import DataFileError, read_idx
from softstep.data.images import ImageDataModule
from softstep.data.loaders import DataLoader
from softstep.data.mnist import MNIST
from softstep.data.modules import ArrayDataModule, DataModule
from softstep.data.synthetic import SyntheticRegressionData

__all__ = [
    "MNIST",
    "ArrayDataModule",
    "ArrayDataset",
    "DataFileError",
    "DataLoader",
    "DataModule",
    "Dataset",
    "Digits",
    "ImageDataModule",
    "Permutation",
    "SyntheticRegressionData",
    "permutation",
    "read_idx",
]
