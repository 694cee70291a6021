"""The step-by-step way through the data: loaders and the model's own methods, for any model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from softstep.models.module import Module
from softstep.training.history import Totals
from softstep.training.interrupts import whole_steps
from softstep.training.numbering import numbered, rename

__all__ = ["StepwiseEvaluation", "StepwiseTraining"]

Prepare = Callable[[Any], Any]

_OF_A_ROW = (IndexError, ValueError, FloatingPointError)


class StepwiseTraining:
    """Epochs of a loader, a step of the optimizer after each batch.

    `clip`, if there is one, is called between a batch's gradients and the step.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Any,
        loader: Any,
        prepare: Prepare,
        clip: Callable[[], None] | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.loader, self.prepare, self.clip = loader, prepare, clip
        self.steps: int | None = len(loader) if hasattr(loader, "__len__") else None

    def epoch(
        self,
        epoch: int,
        first: int,
        before: Callable[[], int],
        after: Callable[[int, float, float | None, int], None],
    ) -> None:
        """Train on the batches of an epoch once, from the step `first` on.

        They come in the order of the epoch if the loader knows epochs. `before` and `after` are
        those of `FusedTraining.epoch`, called at each step.
        """
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)
        with whole_steps() as whole:
            batches = itertools.islice(numbered(self.loader), first, None)
            for step, (numbers, batch) in enumerate(batches, first):
                before()
                batch = self.prepare(batch)
                try:
                    loss = measures("training_step", self.model.training_step(batch))["loss"]
                    if not math.isfinite(loss):
                        raise FloatingPointError(
                            f"the loss is {loss} in step {step} of epoch {epoch} (both counted "
                            f"from 0){_bad_row(batch)}; the step was not applied, the parameters "
                            "are those of the last whole step"
                        )
                    self.optimizer.zero_grad()
                    self.model.backward(batch)
                except _OF_A_ROW as error:
                    rename(error, numbers, batch, "training data")
                    raise
                if self.clip is not None:
                    self.clip()
                with whole:
                    self.optimizer.step()
                rows = len(batch[-1])
                after(1, loss * rows, None, rows)


class StepwiseEvaluation:
    """The measures of a model on the batches of a loader, weighted by rows."""

    def __init__(self, model: Module, loader: Any, prepare: Prepare) -> None:
        self.model, self.loader, self.prepare = model, loader, prepare

    def run(self) -> Totals:
        """Evaluate the model as it is now."""
        totals = Totals()
        for numbers, batch in numbered(self.loader):
            batch = self.prepare(batch)
            try:
                found = self.model.validation_step(batch)
            except _OF_A_ROW as error:
                rename(error, numbers, batch, "validation data")
                raise
            if found is None:  # a step may plot, or do nothing at all
                continue
            found, rows = measures("validation_step", found), len(batch[-1])
            accuracy = found.get("accuracy")
            totals.add(found["loss"] * rows, None if accuracy is None else accuracy * rows, rows)
        return totals


def measures(step: str, found: Any) -> dict[str, float]:
    """Return what a step of a model found as a dictionary; a number is the loss."""
    if not isinstance(found, Mapping):
        found = {"loss": found}
    try:
        return {"loss": float(found["loss"])} | {
            name: float(found[name]) for name in ("accuracy",) if name in found
        }
    except (KeyError, TypeError, ValueError):
        raise TypeError(
            f"{step} returned {found.get('loss', found)!r}; "
            "accepted: the loss as a number, or a dictionary with 'loss'"
        ) from None


def _bad_row(batch: Any) -> str:
    """Name the first row of a batch with a value that is not finite, if there is one."""
    for array in batch:
        values = np.asarray(array)
        if values.dtype.kind == "f" and values.ndim > 0:
            bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if bad.any():
                row = int(bad.argmax())
                kind = "NaN" if np.isnan(values[row]).any() else "an infinite value"
                return f": row {row} of the batch holds {kind}"
    return ""
