"""The loss and the accuracy of a model on validation data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from softstep.models.module import Module
from softstep.runtime import check_threads
from softstep.training.exclusive import exclusive
from softstep.training.fused import FusedEvaluation, fused_evaluation
from softstep.training.history import Totals
from softstep.training.layered import LayeredEvaluation, layered_evaluation
from softstep.training.stepwise import StepwiseEvaluation

__all__ = ["evaluate"]


def evaluate(model: Module, data: Any, *, threads: int | None = None) -> Totals:
    """Evaluate a model on the validation data of a data module.

    Parameters
    ----------
    model : Module
    data : DataModule
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    Totals
        With `mean_loss`, `accuracy` (None for models without classes) and `rows`.

    Raises
    ------
    RuntimeError
        The model has seen no data, or is being trained.
    ValueError
        There are no validation data, or their rows have another number of features.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer, evaluate
    >>> model, data = SoftmaxRegression(10, lr=0.5), Digits()
    >>> history = Trainer(max_epochs=3).fit(model, data)
    >>> evaluate(model, data).accuracy == history[-1].val_accuracy
    True
    """
    model.require_data()
    with exclusive(model), limited(threads, *model.modules()):
        evaluation = evaluation_of(model, data, lambda batch: batch)
        if evaluation is None:
            raise ValueError("the data module has no validation data")
        before = model.training
        model.eval()
        try:
            return evaluation.run()
        finally:
            model.train(before)


def evaluation_of(
    model: Module, data: Any, prepare: Callable[[Any], Any], *, fused: bool = True
) -> FusedEvaluation | LayeredEvaluation | StepwiseEvaluation | None:
    """Return the way to evaluate a model; None without validation data."""
    loader = data.val_dataloader()
    if loader is None:
        return None
    found: FusedEvaluation | LayeredEvaluation | None = None
    if fused:
        found = fused_evaluation(model, data) or layered_evaluation(model, data)
    return found or StepwiseEvaluation(model, loader, prepare)


@contextlib.contextmanager
def limited(threads: int | None, *objects: Any) -> Iterator[None]:
    """Set the `threads` of models and optimizers for the length of a block; None leaves them."""
    if threads is None:
        yield
        return
    count = check_threads(threads)
    before = [(thing, thing.threads) for thing in objects if hasattr(thing, "threads")]
    for thing, _ in before:
        thing.threads = count
    try:
        yield
    finally:
        for thing, value in before:
            thing.threads = value
