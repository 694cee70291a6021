"""Training linear and softmax models on a CPU at the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softstep import kernels, reference
from softstep.data import (
    MNIST,
    ArrayDataModule,
    Compose,
    DataLoader,
    DataModule,
    Digits,
    FashionMNIST,
    Normalize,
    RandomHorizontalFlip,
    Resize,
    SyntheticRegressionData,
    ToTensor,
    from_one_hot,
    load_mnist,
    one_hot,
)
from softstep.hyperparameters import HyperParameters, add_to_class
from softstep.models import (
    MLP,
    Classifier,
    LinearRegression,
    LinearRegressionScratch,
    MLPScratch,
    ModelFileError,
    Module,
    Parameter,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    WeightDecay,
    WeightDecayScratch,
    load,
    save,
)
from softstep.optimizers import (
    SGD,
    Adam,
    AdamW,
    ConstantLR,
    CosineLR,
    RMSprop,
    StepLR,
    WarmUp,
    make_optimizer,
)
from softstep.runtime import show_config, threads
from softstep.training import (
    Callback,
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    EpochRecord,
    LearningRateSchedule,
    ProgressBoard,
    ProgressPlot,
    Trainer,
    compare_learning_rates,
    evaluate,
)

if TYPE_CHECKING:
    from softstep import information, losses, numerical, plotting

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "MNIST",
    "SGD",
    "Adam",
    "AdamW",
    "ArrayDataModule",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "Classifier",
    "Compose",
    "ConstantLR",
    "CosineLR",
    "DataLoader",
    "DataModule",
    "Digits",
    "EarlyStopping",
    "EpochRecord",
    "FashionMNIST",
    "HyperParameters",
    "LearningRateSchedule",
    "LinearRegression",
    "LinearRegressionScratch",
    "MLPScratch",
    "ModelFileError",
    "Module",
    "Normalize",
    "Parameter",
    "ProgressBoard",
    "ProgressPlot",
    "RMSprop",
    "RandomHorizontalFlip",
    "Resize",
    "SoftmaxRegression",
    "SoftmaxRegressionScratch",
    "StepLR",
    "SyntheticRegressionData",
    "ToTensor",
    "Trainer",
    "WarmUp",
    "WeightDecay",
    "WeightDecayScratch",
    "__version__",
    "add_to_class",
    "compare_learning_rates",
    "evaluate",
    "from_one_hot",
    "information",
    "kernels",
    "load",
    "load_mnist",
    "losses",
    "make_optimizer",
    "numerical",
    "one_hot",
    "plotting",
    "reference",
    "save",
    "show_config",
    "threads",
]

# Modules that are loaded when they are first asked for.
_LATER = frozenset({"information", "losses", "numerical", "plotting"})

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            import importlib

            return importlib.import_module(f"softstep.{name}")
        raise AttributeError(f"module 'softstep' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
