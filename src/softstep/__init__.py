"""Training linear and softmax models on a CPU at the speed of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# First of all: on a processor that is too old NumPy may crash, where _native says what is wrong.
from softstep import _native as _native  # isort: split

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
    from softstep.losses import (
        cross_entropy_error,
        mean_squared_error,
        sigmoid,
        softmax,
        sum_squares_error,
    )
    from softstep.numerical import (
        gradient_descent,
        numerical_diff,
        numerical_gradient,
        simpleNet,
        tangent_line,
    )
    from softstep.optimizers import RMSprop as RMSProp
    from softstep.plotting import show_images

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
    "RMSProp",
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
    "cross_entropy_error",
    "evaluate",
    "from_one_hot",
    "gradient_descent",
    "information",
    "kernels",
    "load",
    "load_mnist",
    "losses",
    "make_optimizer",
    "mean_squared_error",
    "numerical",
    "numerical_diff",
    "numerical_gradient",
    "one_hot",
    "plotting",
    "reference",
    "save",
    "show_config",
    "show_images",
    "sigmoid",
    "simpleNet",
    "softmax",
    "sum_squares_error",
    "tangent_line",
    "threads",
]

# Modules that are loaded when they are first asked for,
_LATER = frozenset({"information", "losses", "numerical", "plotting"})
# and names of the courses that live in them.
_NAMES = {
    "RMSProp": "optimizers.RMSprop",
    "cross_entropy_error": "losses.cross_entropy_error",
    "gradient_descent": "numerical.gradient_descent",
    "mean_squared_error": "losses.mean_squared_error",
    "numerical_diff": "numerical.numerical_diff",
    "numerical_gradient": "numerical.numerical_gradient",
    "show_images": "plotting.show_images",
    "sigmoid": "losses.sigmoid",
    "simpleNet": "numerical.simpleNet",
    "softmax": "losses.softmax",
    "sum_squares_error": "losses.sum_squares_error",
    "tangent_line": "numerical.tangent_line",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        import importlib

        if name in _LATER:
            return importlib.import_module(f"softstep.{name}")
        if name in _NAMES:
            module, _, original = _NAMES[name].rpartition(".")
            return getattr(importlib.import_module(f"softstep.{module}"), original)
        raise AttributeError(f"module 'softstep' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER, *_NAMES})
