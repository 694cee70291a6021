"""What a model says of data, batch by batch: the ground of the pictures of its mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.models.classifier import Classifier
from softstep.models.module import Module

__all__ = ["Classified", "as_classes", "classify", "names_of"]


class Classified(NamedTuple):
    """A batch, and the most probable class of each of its rows."""

    x: NDArray[Any]
    y: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[Any]
    """Of the predicted class."""


def classify(model: Module, data: Any) -> Iterator[Classified]:
    """Go through data with a classifier, as in evaluation: dropout is off meanwhile.

    Parameters
    ----------
    model : Module
        Gives logits (N, C).
    data : DataModule or (X, y)
        The validation rows of a data module, or one batch.

    Raises
    ------
    RuntimeError
        The model has seen no data.
    TypeError, ValueError
        Something else was given, or there are no validation data.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model is a {type(model).__name__}; accepted: a Module")
    model.require_data()
    if isinstance(data, (tuple, list)) and len(data) == 2:
        batches: Any = [data]
    elif callable(getattr(data, "val_dataloader", None)):
        batches = data.val_dataloader()
        if batches is None:
            raise ValueError("the data module has no validation data")
    else:
        raise TypeError(f"data is a {type(data).__name__}; accepted: a DataModule, or (X, y)")
    for batch in batches:
        x, y = np.asarray(batch[0]), np.asarray(batch[-1])
        before = model.training
        model.eval()
        try:
            logits = np.asarray(model(x))
            # Not softmax for all: what a model calls forward may give probabilities already.
            probabilities = (
                model.predict_proba(x)
                if isinstance(model, Classifier)
                else kernels.softmax(logits.astype(np.float64))
            )
        finally:
            model.train(before)
        if logits.ndim != 2 or y.shape != logits.shape[:1]:
            raise ValueError(
                f"the model gave the shape {logits.shape} for labels {y.shape}; "
                "accepted: logits (N, C) of class indices (N,)"
            )
        predicted = logits.argmax(axis=1)
        probability = probabilities[np.arange(len(logits)), predicted]
        yield Classified(x, as_classes("y", y), predicted, probability)


def as_classes(name: str, value: Any) -> NDArray[np.int64]:
    """Return class indices (n,) as int64; ValueError for others, with the row of a negative one."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.dtype.kind not in "biu" and array.size):
        raise ValueError(
            f"{name} holds {array.dtype} of shape {array.shape}; accepted: integers (n,)"
        )
    if (array < 0).any():
        row = int((array < 0).argmax())
        raise ValueError(f"{name}[{row}] is {array[row]}; accepted: class indices from 0")
    return array.astype(np.int64)


def names_of(labels: Sequence[Any] | None, data: Any, count: int) -> list[str]:
    """Return the names of classes: those given, else those of the data, else their numbers."""
    if labels is None:
        labels = getattr(data, "labels", None)
    if labels is None or (isinstance(labels, np.ndarray) and labels.ndim != 1):
        return [str(number) for number in range(count)]
    names = [str(name) for name in labels]
    if len(names) < count:
        raise ValueError(f"labels has {len(names)} names; accepted: one for each of {count}")
    return names
