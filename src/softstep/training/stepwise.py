"""The step-by-step way through the data: loaders and the model's own methods, for any model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from softstep.models.module import Module
from softstep.training.history import Totals
from softstep.training.interrupts import uninterrupted

__all__ = ["StepwiseEvaluation", "StepwiseTraining"]

Prepare = Callable[[Any], Any]


class StepwiseTraining:
    """Epochs of a loader, a step of the optimizer after each batch."""

    def __init__(self, model: Module, optimizer: Any, loader: Any, prepare: Prepare) -> None:
        self.model, self.optimizer = model, optimizer
        self.loader, self.prepare = loader, prepare
        self.steps: int | None = len(loader) if hasattr(loader, "__len__") else None

    def epoch(self, epoch: int, progress: Callable[[int], None]) -> Totals:
        """Train on every batch once, in the order of the epoch if the loader knows epochs."""
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)
        totals = Totals()
        for step, batch in enumerate(self.loader):
            batch = self.prepare(batch)
            loss = measures("training_step", self.model.training_step(batch))["loss"]
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss} in step {step} of epoch {epoch} (both counted from 0); "
                    "the step was not applied, the parameters are those of the last whole step"
                )
            self.optimizer.zero_grad()
            self.model.backward(batch)
            with uninterrupted():
                self.optimizer.step()
            rows = len(batch[-1])
            totals.add(loss * rows, None, rows)
            progress(1)
        if totals.rows == 0:
            raise ValueError("the training data have no rows")
        return totals


class StepwiseEvaluation:
    """The measures of a model on the batches of a loader, weighted by rows."""

    def __init__(self, model: Module, loader: Any, prepare: Prepare) -> None:
        self.model, self.loader, self.prepare = model, loader, prepare

    def run(self) -> Totals:
        """Evaluate the model as it is now."""
        totals = Totals()
        for batch in self.loader:
            batch = self.prepare(batch)
            found = self.model.validation_step(batch)
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
