"""Models: parameters, the base classes, the library's models, and their files."""

from __future__ import annotations

from softstep.models.classifier import Classifier
from softstep.models.linear_regression import LinearRegression
from softstep.models.mlp import MLP
from softstep.models.module import Module
from softstep.models.parameter import Parameter
from softstep.models.scratch import (
    LinearRegressionScratch,
    MLPScratch,
    SoftmaxRegressionScratch,
    WeightDecayScratch,
)
from softstep.models.serialization import ModelFileError, load, save
from softstep.models.softmax_regression import SoftmaxRegression
from softstep.models.weight_decay import WeightDecay

__all__ = [
    "MLP",
    "Classifier",
    "LinearRegression",
    "LinearRegressionScratch",
    "MLPScratch",
    "ModelFileError",
    "Module",
    "Parameter",
    "SoftmaxRegression",
    "SoftmaxRegressionScratch",
    "WeightDecay",
    "WeightDecayScratch",
    "load",
    "save",
]
