"""The fused way through the data: native calls that run many minibatches each.

It does what the step-by-step way does, so it is taken only when nothing that the step-by-step way
would call has been replaced: see `fused_kernels`, `fused_training` and `fused_evaluation`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.data import permutation
from softstep.data.mapped import MappedFiles
from softstep.kernels.linear import Activation
from softstep.models.affine import AffineModel
from softstep.models.checks import check_integer
from softstep.models.layers import Layer
from softstep.models.linear_regression import LinearRegression
from softstep.models.mlp import MLP
from softstep.models.module import Module
from softstep.models.parameter import Parameter
from softstep.models.rows import check_labels, first_bad_row
from softstep.models.softmax_regression import SoftmaxRegression
from softstep.optimizers import SGD, Adam, AdamW, RMSprop
from softstep.optimizers.optimizer import Optimizer
from softstep.training.history import Totals

__all__ = ["FusedEvaluation", "FusedTraining", "fused_evaluation", "fused_training"]

NOT_APPLIED = "the step was not applied, the parameters are those of the last whole step"
_CALL_NS = 20e6  # how long a native call should take: longer than any overhead, short for a person
_MAX_CALL_ROWS = 1 << 20  # 8 MB of order


class FusedKernels(NamedTuple):
    """The native functions that stand for an affine model."""

    train: Callable[..., kernels.TrainRun]
    evaluate: Callable[..., kernels.TrainRun]
    has_classes: bool


_KERNELS: dict[type[AffineModel], FusedKernels] = {
    SoftmaxRegression: FusedKernels(
        kernels.train_softmax_regression, kernels.evaluate_softmax_regression, True
    ),
    LinearRegression: FusedKernels(
        kernels.train_linear_regression, kernels.evaluate_linear_regression, False
    ),
}
_MODEL_METHODS = (
    "__call__", "accuracy", "backward", "features", "forward", "loss", "loss_with_grad", "targets",
    "training_step", "validation_step",
)  # fmt: skip
_MLP_METHODS = (
    "__call__", "accuracy", "backward", "features", "forward", "gradients", "infer", "loss",
    "masks", "targets", "training_step", "validation_step",
)  # fmt: skip
_OPTIMIZER_METHODS = ("settings", "step", "zero_grad", "_arrays", "_begun", "_kernel", "_move")
_RULES: dict[type[Optimizer], str] = {
    SGD: "sgd", RMSprop: "rmsprop", Adam: "adam", AdamW: "adamw"
}  # fmt: skip


def methods(owner: type, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the methods that a class has now, so that a later replacement can be told."""
    return {name: getattr(owner, name, None) for name in names}


_ORIGINAL = {owner: methods(owner, _MODEL_METHODS) for owner in _KERNELS}
_ORIGINAL_MLP = methods(MLP, _MLP_METHODS)
_ORIGINAL_LAYER = methods(Layer, ("__call__", "forward"))
_ORIGINAL_OPTIMIZERS = {owner: methods(owner, _OPTIMIZER_METHODS) for owner in _RULES}


def unchanged(thing: object, original: dict[str, Any]) -> bool:
    """Whether neither a subclass, nor the object, nor a change of its class replaced a method."""
    here = vars(thing)
    return all(
        getattr(type(thing), name, None) is method and name not in here
        for name, method in original.items()
    )


def is_library_optimizer(optimizer: Any) -> bool:
    """Whether an optimizer is one of the library's with its own methods."""
    original = _ORIGINAL_OPTIMIZERS.get(type(optimizer))
    return original is not None and unchanged(optimizer, original)


def fused_kernels(model: Module) -> FusedKernels | None:
    """Return the kernels that compute what the model computes, or None."""
    for owner, chosen in _KERNELS.items():
        if isinstance(model, owner) and unchanged(model, _ORIGINAL[owner]):
            return chosen
    return None


def is_plain_mlp(model: Module) -> TypeGuard[MLP]:
    """Whether a model is an `MLP` of which nothing has been replaced."""
    return (
        isinstance(model, MLP)
        and unchanged(model, _ORIGINAL_MLP)
        and all(
            type(layer) is Layer and unchanged(layer, _ORIGINAL_LAYER) for layer in model.layers
        )
        and len(model.parameters()) == 2 * len(model.layers)
    )


def fused_evaluation(model: Module, data: Any) -> FusedEvaluation | None:
    """Return the fused evaluation on the validation data, or None if it does not apply."""
    chosen, arrays = fused_kernels(model), _arrays(data, train=False)
    if chosen is None or arrays is None or not isinstance(model, AffineModel):
        return None
    return FusedEvaluation(chosen, model, arrays)


def fused_training(
    model: Module, optimizer: Any, data: Any, max_norm: float | None = None
) -> FusedTraining | None:
    """Return the fused training, with gradients clipped to a norm, or None if it does not apply.

    It applies to a library model with its own methods, without dropout, an optimizer of the library
    over exactly its parameters, all as far on, and data whose arrays are to be had.
    """
    fused = _fused_model(model)
    if fused is None or not is_library_optimizer(optimizer):
        return None
    mine = {id(parameter) for parameter in fused.parameters}
    if {id(p) for p in optimizer.params} != mine or {id(p) for p in model.parameters()} != mine:
        return None
    if isinstance(optimizer, Adam) and len(set(optimizer.steps)) > 1:
        return None
    if isinstance(optimizer, SGD) and len({b is None for b in optimizer.momentum_buffers}) > 1:
        return None
    arrays = _arrays(data, train=True)
    if arrays is None:
        return None
    return FusedTraining(fused, optimizer, arrays, data, max_norm)


class _FusedModel(NamedTuple):
    """A model whose training has a native function."""

    model: AffineModel | MLP
    train: Callable[..., kernels.TrainRun]
    """Called with rows, targets, an order, the parameters, and options by their names."""
    parameters: list[Parameter]
    has_classes: bool


def _fused_model(model: Module) -> _FusedModel | None:
    if is_plain_mlp(model):
        activations = [layer.activation for layer in model.layers]
        between = activations[:-1] or [None]
        if any(model.dropout) or activations[-1] is not None or len(set(between)) > 1:
            return None
        train = functools.partial(_train_mlp, between[0])
        parameters = [p for layer in model.layers for p in (layer.weight, layer.bias)]
        return _FusedModel(model, train, parameters, True)
    chosen = fused_kernels(model)
    if chosen is None or not isinstance(model, AffineModel):
        return None
    train = functools.partial(_train_affine, chosen.train)
    return _FusedModel(model, train, [model.weight, model.bias], chosen.has_classes)


def _train_mlp(
    activation: Activation | None, x: Any, y: Any, order: Any, parameters: list[Any], **options: Any
) -> kernels.TrainRun:
    return kernels.train_mlp(x, y, order, parameters, activation=activation, **options)


def _train_affine(
    train: Callable[..., kernels.TrainRun],
    x: Any, y: Any, order: Any, parameters: list[Any], **options: Any,
) -> kernels.TrainRun:  # fmt: skip
    return train(x, y, order, *parameters, **options)


def _arrays(data: Any, *, train: bool) -> Any:
    arrays = getattr(data, "arrays", None)
    return None if arrays is None else arrays(train)


class _Rows:
    """Rows as the kernels take them without a copy at each call."""

    def __init__(self, model: AffineModel | MLP, arrays: Any) -> None:
        self.x, y, scale, shift = arrays
        if isinstance(model, MLP):  # which is not to draw its parameters for nothing
            y = check_labels(y, len(self.x), model.num_outputs)
        model.infer(self.x.shape[1])
        self.target = np.ascontiguousarray(model.targets(y))
        self.options = {"scale": scale, "shift": shift}
        self.files = MappedFiles((self.x, self.target))


class FusedEvaluation:
    """The loss and the accuracy on all validation rows, in one native call."""

    def __init__(self, chosen: FusedKernels, model: AffineModel, arrays: Any) -> None:
        self.kernels, self.model, self.rows = chosen, model, _Rows(model, arrays)

    def run(self) -> Totals:
        """Evaluate the model as it is now."""
        model = self.model
        self.rows.files.check()
        run = self.kernels.evaluate(
            self.rows.x, self.rows.target, model.weight.data, model.bias.data,
            threads=model.threads, **self.rows.options,
        )  # fmt: skip
        return Totals(run.loss, run.correct if self.kernels.has_classes else None, run.rows)


class FusedTraining:
    """Epochs of minibatches, a few native calls each."""

    def __init__(
        self,
        fused: _FusedModel,
        optimizer: Optimizer,
        arrays: Any,
        data: Any,
        max_norm: float | None,
    ) -> None:
        self.fused, self.model, self.optimizer = fused, fused.model, optimizer
        self.max_norm = max_norm
        self.rows = _Rows(self.model, arrays)
        n = len(self.rows.x)
        if n == 0:
            raise ValueError("the training data have no rows")
        self.seed = data.seed
        self.batch_size = min(check_integer("batch_size", data.batch_size, 1), n)
        weights = [p.shape for p in fused.parameters if len(p.shape) == 2]
        self.call_rows = rows_per_call(weights, self.batch_size)
        self.steps: int | None = -(-n // self.batch_size)
        self._positions = [
            next(i for i, p in enumerate(optimizer.params) if p is mine)
            for mine in fused.parameters
        ]

    def epoch(
        self,
        epoch: int,
        first: int,
        before: Callable[[], int],
        after: Callable[[int, float, float | None, int], None],
    ) -> None:
        """Train on the rows of an epoch once, in its order, from the step `first` on.

        `before` is called before each native call and says how many steps it may make; `after` gets
        the steps, the sum of the losses, the number of correct rows and the rows.
        """
        order = permutation(len(self.rows.x), self.seed, epoch)
        start = first * self.batch_size
        while start < len(order):
            allowed = before() * self.batch_size
            self.rows.files.check()
            # Where calls end does not depend on where the epoch was begun: sums of losses, too, are
            # the same when a training goes on.
            stop = min(start - start % self.call_rows + self.call_rows, start + allowed, len(order))
            try:
                run = self._train(order[start:stop])
            except FloatingPointError as error:
                steps = start // self.batch_size
                raise FloatingPointError(self._explained(str(error), epoch, steps)) from None
            start = stop
            after(run.steps, run.loss, run.correct if self.fused.has_classes else None, run.rows)
        self.optimizer.zero_grad()  # older ones are not of these parameters

    def _explained(self, message: str, epoch: int, steps: int) -> str:
        """Say which row holds what, or else the step within its epoch and not its native call."""
        found = re.search(r"step (\d+) of this run, first in row (\d+)", message)
        if found is None:
            return message
        row, where = int(found[2]), f"in step {steps + int(found[1])} of epoch {epoch}"
        where += " (both counted from 0)"
        features = kernels.gather_rows(
            self.rows.x, [row], dtype=self.model.dtype, **self.rows.options
        )
        problem = first_bad_row(features)
        if problem is not None:
            return f"row {row} of the training data holds {problem[1]}, {where}; {NOT_APPLIED}"
        return f"the loss is not finite {where}, first in row {row}; {NOT_APPLIED}"

    def _train(self, order: NDArray[np.int64]) -> kernels.TrainRun:
        optimizer, positions = self.optimizer, self._positions
        parameters = [parameter.data for parameter in self.fused.parameters]
        settings, buffers, applied = optimizer.settings(), None, np.zeros(1, np.int64)
        used = used_states(optimizer)
        if isinstance(optimizer, SGD) and used[0]:
            buffers = [optimizer.momentum_buffers[i] for i in positions]
            settings["first_step"] = any(buffer is None for buffer in buffers)
            if settings["first_step"]:  # filled by the first step, kept only then
                buffers = [np.empty_like(data) for data in parameters]
            states: list[Any] = [buffers]
        else:
            states = [
                optimizer._arrays(name, positions, parameters) if needed else None
                for name, needed in zip(optimizer.states, used, strict=True)
            ]
        if isinstance(optimizer, Adam):
            settings["step"] = optimizer.steps[positions[0]] + 1
        rule = kernels.OptimizerRule(_RULES[type(optimizer)], settings, states, applied)
        try:
            return self.fused.train(
                self.rows.x, self.rows.target, order, parameters, batch_size=self.batch_size,
                rule=rule, max_norm=self.max_norm, threads=self.model.threads, **self.rows.options,
            )  # fmt: skip
        finally:
            steps = int(applied[0])
            if isinstance(self.model, MLP):
                self.model.batches += steps
            for number, i in enumerate(positions):
                if isinstance(optimizer, Adam):
                    optimizer.steps[i] += steps
                elif isinstance(optimizer, SGD) and buffers is not None and steps > 0:
                    optimizer.momentum_buffers[i] = buffers[number]


def used_states(optimizer: Optimizer) -> list[bool]:
    """Tell which of the states that an optimizer names its present settings need."""
    if isinstance(optimizer, SGD):
        return [optimizer.momentum != 0]
    if isinstance(optimizer, RMSprop):
        return [True, optimizer.centered, optimizer.momentum != 0]
    return [True, True, isinstance(optimizer, Adam) and optimizer.amsgrad]


def rows_per_call(weights: Sequence[tuple[int, ...]], batch_size: int) -> int:
    """Return how many rows, in whole minibatches, keep a native call busy for about 20 ms.

    From the sizes alone, not from a clock: the loss is summed call by call, and two runs must sum
    it in the same order. The rate is that of two cores with AVX-512 on MNIST; elsewhere, and with
    many outputs, calls are a few times longer, which does not matter.
    """
    row_ns = 20 + sum(features * (outputs + 4) * 0.0125 for outputs, features in weights)
    rows = min(_MAX_CALL_ROWS, _CALL_NS / row_ns)
    return batch_size * max(1, int(rows // batch_size))
