"""The way of multilayer perceptrons through the data: one pass forward and backward for a batch.

The step-by-step way asks the model for the loss, and then for the gradients, which takes the pass
forward twice. Here both come from one pass, on rows as they are kept (bytes are converted inside of
the kernels) and in arrays that are used again for every batch. It is taken only when nothing that
the step-by-step way would call has been replaced, and agrees with it to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.data import permutation
from softstep.models.checks import check_integer
from softstep.models.layers import PLAIN, Reading, forward, reused
from softstep.models.module import Module
from softstep.models.rows import check_labels, first_bad_row
from softstep.training.clipping import clip_gradients
from softstep.training.fused import NOT_APPLIED, is_library_optimizer, is_plain_mlp
from softstep.training.history import Totals
from softstep.training.interrupts import whole_steps
from softstep.training.numbering import numbered, rename

__all__ = ["LayeredEvaluation", "LayeredTraining", "layered_evaluation", "layered_training"]

_EVALUATED_ROWS = 2048  # at a time: enough for the kernels, and a few megabytes


def layered_evaluation(model: Module, data: Any) -> LayeredEvaluation | None:
    """Return the evaluation of an `MLP` on the validation data, or None if it does not apply."""
    if not is_plain_mlp(model):
        return None
    arrays = _arrays(data, train=False)
    return None if arrays is None else LayeredEvaluation(model, arrays)


def layered_training(
    model: Module, optimizer: Any, data: Any, max_norm: float | None = None
) -> LayeredTraining | None:
    """Return the training of an `MLP` with gradients clipped to a norm, or None.

    It applies to an MLP with its own methods and an optimizer of the library.
    """
    if not is_plain_mlp(model) or not is_library_optimizer(optimizer):
        return None
    return LayeredTraining(model, optimizer, data, max_norm)


def _arrays(data: Any, *, train: bool) -> Any:
    """Return raw rows, targets, scale and shift; None where loaders are the way to the data."""
    arrays = getattr(data, "arrays", None)
    kept = getattr(data, "train" if train else "val", None)
    if arrays is None or getattr(kept, "is_mapped", False):
        return None  # a loader looks whether a mapped file is still what it was
    return arrays(train)


class Batch(NamedTuple):
    """What `MLP.gradients` takes, and where in the training data it stands."""

    x: NDArray[Any]
    y: NDArray[Any]
    reading: Reading = PLAIN
    numbers: NDArray[np.int64] | None = None


class _Rows:
    """Rows as they are kept, and batches of them."""

    def __init__(self, model: Any, arrays: Any) -> None:
        x, y, scale, shift = arrays
        model.infer(x.shape[1])
        self.x, self.dtype = np.asarray(x), model.dtype
        self.y = check_labels(y, len(self.x), model.num_outputs)
        self.reading = PLAIN
        if scale is not None or shift is not None:  # an array for each once, not at each batch
            scale, shift = (
                np.array(np.broadcast_to(value, x.shape[1:]), self.dtype)
                for value in (1.0 if scale is None else scale, 0.0 if shift is None else shift)
            )
            self.reading = Reading(None, scale, shift)
        self.empty = reused()

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """Return the features of a batch, its classes, and how the features are read.

        The kernels read the rows where they lie. Those of a dtype that they do not compute in are
        gathered and converted, in arrays that the next batch uses again.
        """
        y = self.empty("y", rows.shape, self.y.dtype)
        # "clip" writes without a detour; no row of a permutation is out of range
        np.take(self.y, rows, out=y, mode="clip")
        if self.x.dtype in (np.uint8, self.dtype):
            return Batch(self.x, y, self.reading._replace(order=rows), rows)
        x = self.empty("x", (len(rows), self.x.shape[1]), self.x.dtype)
        np.take(self.x, rows, axis=0, out=x, mode="clip")
        return Batch(self.converted(x), y, self.reading, rows)

    def converted(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return rows in the dtype computed in, unless they are bytes."""
        if x.dtype in (np.uint8, self.dtype):
            return x
        converted = self.empty("converted", x.shape, self.dtype)
        np.copyto(converted, x, casting="same_kind")
        return converted


class LayeredEvaluation:
    """The loss and the accuracy on all validation rows."""

    def __init__(self, model: Any, arrays: Any) -> None:
        self.model, self.rows = model, _Rows(model, arrays)

    def run(self) -> Totals:
        """Evaluate the model as it is now, without dropout."""
        model, rows, totals = self.model, self.rows, Totals()
        for start in range(0, len(rows.x), _EVALUATED_ROWS):
            part = slice(start, start + _EVALUATED_ROWS)
            x, y = rows.converted(rows.x[part]), rows.y[part]
            trace = forward(model.layers, x, rows.reading, empty=rows.empty, threads=model.threads)
            loss, more = kernels.cross_entropy(
                trace.logits, y, reduction="sum", byproducts=("correct",), threads=model.threads
            )
            totals.add(float(loss), more.correct, len(x))
        return totals


class LayeredTraining:
    """Epochs of minibatches, one pass forward and backward for each."""

    def __init__(self, model: Any, optimizer: Any, data: Any, max_norm: float | None) -> None:
        self.model, self.optimizer, self.max_norm = model, optimizer, max_norm
        self.empty = reused()
        arrays = _arrays(data, train=True)
        self.rows: _Rows | None = None
        self.steps: int | None
        if arrays is None:
            self.loader = data.train_dataloader()
            self.steps = len(self.loader) if hasattr(self.loader, "__len__") else None
            return
        self.rows = _Rows(model, arrays)
        n = len(self.rows.x)
        if n == 0:
            raise ValueError("the training data have no rows")
        self.seed = data.seed
        self.batch_size = min(check_integer("batch_size", data.batch_size, 1), n)
        self.steps = -(-n // self.batch_size)

    def epoch(
        self,
        epoch: int,
        first: int,
        before: Callable[[], int],
        after: Callable[[int, float, float | None, int], None],
    ) -> None:
        """Train on the rows of an epoch once, in its order, from the step `first` on.

        `before` and `after` are those of `FusedTraining.epoch`, called at each step.
        """
        with whole_steps() as whole:
            for step, batch in enumerate(self._batches(epoch, first), first):
                before()
                try:
                    loss, correct, gradients = self.model.gradients(*batch[:3], self.empty)
                except IndexError as error:
                    rename(error, batch.numbers, batch[:2], "training data")
                    raise
                self._check(batch, loss, gradients[0][0], step, epoch)
                for layer, (dweight, dbias) in zip(self.model.layers, gradients, strict=True):
                    layer.weight.grad, layer.bias.grad = dweight, dbias
                if self.max_norm is not None:
                    clip_gradients(
                        self.model.parameters(), self.max_norm, threads=self.model.threads
                    )
                with whole:
                    self.optimizer.step()
                after(1, loss * len(batch.y), correct, len(batch.y))
        self.optimizer.zero_grad()  # the arrays are not the caller's

    def _check(
        self, batch: Batch, loss: float, gradient: NDArray[Any], step: int, epoch: int
    ) -> None:
        """Raise FloatingPointError if the features or the loss are not finite.

        A ReLU may hide features from the loss. But each of them enters every sum of the first
        layer's gradient, of which one that is not finite makes another one: only then the rows are
        looked at. (Its squares are as good, and a product of vectors warns of nothing.)
        """
        if math.isfinite(loss) and math.isfinite(np.vdot(gradient[0], gradient[0])):
            return
        where = f"in step {step} of epoch {epoch} (both counted from 0)"
        order = batch.reading.order
        problem = first_bad_row(batch.x if order is None else batch.x[order])
        if problem is not None:
            row, kind = problem
            place = f"row {row} of the batch {where}"
            if batch.numbers is not None:
                place = f"row {batch.numbers[row]} of the training data"
            raise FloatingPointError(f"{place} holds {kind}; {NOT_APPLIED}")
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} {where}; {NOT_APPLIED}")

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        if self.rows is None:
            if hasattr(self.loader, "set_epoch"):
                self.loader.set_epoch(epoch)
            for rows, (x, y) in itertools.islice(numbered(self.loader), first, None):
                known = rows if rows is not None and len(rows) == len(y) else None
                yield Batch(self.model.features(x), self.model.targets(y), numbers=known)
            return
        order = permutation(len(self.rows.x), self.seed, epoch)
        block = self.batch_size * max(1, 8192 // self.batch_size)  # of the order, at a time
        start = first * self.batch_size
        while start < len(order):
            rows = order[start : start - start % block + block]
            for at in range(0, len(rows), self.batch_size):
                yield self.rows.take(rows[at : at + self.batch_size])
            start += len(rows)
