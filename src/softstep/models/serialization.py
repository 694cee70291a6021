"""Model files: safetensors, with one line of JSON that says which model the arrays are.

Equal models give equal bytes: the file holds no time, path or thread count.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from softstep.models.linear_regression import LinearRegression
from softstep.models.mlp import MLP
from softstep.models.module import Module
from softstep.models.scratch import (
    LinearRegressionScratch,
    MLPScratch,
    SoftmaxRegressionScratch,
    WeightDecayScratch,
)
from softstep.models.softmax_regression import SoftmaxRegression
from softstep.models.tensor_file import (
    TensorFileError,
    read_tensors,
    tensors_as_bytes,
    write_whole,
)
from softstep.models.weight_decay import WeightDecay

__all__ = ["ModelFileError", "load", "load_as", "save"]

_FORMAT = 1
_MODELS: dict[str, type[Module]] = {
    model.__name__: model
    for model in (
        MLP, LinearRegression, LinearRegressionScratch, MLPScratch, SoftmaxRegression,
        SoftmaxRegressionScratch, WeightDecay, WeightDecayScratch,
    )
}  # fmt: skip

AnyModule = TypeVar("AnyModule", bound=Module)


class ModelFileError(TensorFileError):
    """A model file is damaged, or not what it should be; the message names file and reason.

    Parameters
    ----------
    path : path
        The file.
    reason : str
        What is wrong with it: what follows its name in the message.
    """


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Save a model as a safetensors file.

    The file appears complete or not at all: it is written beside its place under another name,
    flushed to the disk and then renamed, over an older file if there is one.

    Parameters
    ----------
    model : Module
        Its parameters and `hyperparameters` are saved; optimizer state is not.
    path : path
        A file that exists already is replaced; a link is followed.

    Raises
    ------
    RuntimeError
        The model has seen no data.
    TypeError
        A hyperparameter is none that a file holds.
    OSError
        The file cannot be written there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import softstep
    >>> model = softstep.SoftmaxRegression(num_outputs=3, lr=0.1)
    >>> logits = model(np.eye(4, dtype=np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     model.save(path)
    ...     again = softstep.load(path)
    >>> type(again).__name__, np.array_equal(again.weight, model.weight)
    ('SoftmaxRegression', True)
    """
    model.require_data()
    description = {
        "format": _FORMAT,
        "model": type(model).__name__,
        "hyperparameters": model.hyperparameters(),
    }
    tensors = {name: parameter.data for name, parameter in model.named_parameters().items()}
    try:
        content = tensors_as_bytes(description, tensors)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the hyperparameters of this {type(model).__name__} cannot be saved: {error}; "
            "accepted: finite numbers, strings, booleans, None, and lists and dictionaries of these"
        ) from None
    write_whole(Path(path), content)


def load(path: str | os.PathLike[str]) -> Module:
    """Load a model of the library that `save` has written.

    Parameters
    ----------
    path : path

    Returns
    -------
    Module
        Of the class that was saved, with its hyperparameters.

    Raises
    ------
    OSError
        The file cannot be read.
    ModelFileError
        A ValueError: the file is damaged or truncated, no model of softstep, of a newer format, or
        of a class that is not the library's (which loads with its own ``load``).

    Notes
    -----
    Nothing is executed, and no memory is taken for sizes that the file does not have.
    """
    return load_as(Module, path)


def load_as(cls: type[AnyModule], path: str | os.PathLike[str]) -> AnyModule:
    """Load a model that is a `cls`."""
    path = Path(path)
    description, tensors = read_tensors(path, "model saved by softstep", ModelFileError)
    name, options = _checked(path, description)
    model_class = cls if name == cls.__name__ else _MODELS.get(name)
    if model_class is None:
        raise ModelFileError(
            path, f"holds a model of the class {name!r}; accepted: {', '.join(sorted(_MODELS))}"
        )
    if not issubclass(model_class, cls):
        raise ModelFileError(path, f"holds a {name}; accepted: a {cls.__name__}")
    try:
        model_class.check_file(options, tensors)
        model = model_class(**options)
        model.accept_parameters(tensors)
    except (TypeError, ValueError) as error:
        raise ModelFileError(path, f"holds no valid {name}: {error}") from None
    return model


def _checked(path: Path, description: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the class and the hyperparameters of a description."""
    try:
        version, name, options = (
            description[key] for key in ("format", "model", "hyperparameters")
        )
    except KeyError:
        raise ModelFileError(path, "is damaged, or no model saved by softstep") from None
    if version != _FORMAT:
        raise ModelFileError(
            path, f"has the format {version!r}; accepted: {_FORMAT} (a newer softstep wrote it?)"
        )
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ModelFileError(path, "is damaged: the description of its model is not valid")
    return name, options
