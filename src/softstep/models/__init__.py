"""Models: parameters, the base classes, the library's models, and their files."""

from __future__ import annotations

from softstep.models.classifier import Classifier
from softstep.models.linear_regression import LinearRegression
from softstep.models.module import Module
from softstep.models.parameter import Parameter
from softstep.models.serialization import ModelFileError, load, save
from softstep.models.softmax_regression import SoftmaxRegression

__all__ = [
    "Classifier",
    "LinearRegression",
    "ModelFileError",
    "Module",
    "Parameter",
    "SoftmaxRegression",
    "load",
    "save",
]
