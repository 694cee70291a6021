"""Training linear and softmax models on a CPU at the speed of memory."""

from __future__ import annotations

from softstep import kernels, reference
from softstep.data import (
    MNIST,
    ArrayDataModule,
    DataModule,
    Digits,
    SyntheticRegressionData,
)
from softstep.models import (
    Classifier,
    LinearRegression,
    ModelFileError,
    Module,
    Parameter,
    SoftmaxRegression,
    load,
    save,
)
from softstep.optimizers import SGD, Adam, AdamW, RMSprop
from softstep.runtime import show_config, threads
from softstep.training import EpochRecord, Trainer, evaluate

__version__ = "0.1.0"

__all__ = [
    "MNIST",
    "SGD",
    "Adam",
    "AdamW",
    "ArrayDataModule",
    "Classifier",
    "DataModule",
    "Digits",
    "EpochRecord",
    "LinearRegression",
    "ModelFileError",
    "Module",
    "Parameter",
    "RMSprop",
    "SoftmaxRegression",
    "SyntheticRegressionData",
    "Trainer",
    "__version__",
    "evaluate",
    "kernels",
    "load",
    "reference",
    "save",
    "show_config",
    "threads",
]
