"""What a fit needs before it begins: an optimizer, and a way through the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from softstep.models.module import Module
from softstep.optimizers import make_optimizer
from softstep.optimizers.named import check_optimizer_name
from softstep.training.fused import FusedTraining, fused_training
from softstep.training.layered import LayeredTraining, layered_training
from softstep.training.stepwise import StepwiseTraining

__all__ = ["OptimizerChoice", "Training", "check_optimizer", "optimizer_of", "require", "way_of"]

OptimizerChoice: TypeAlias = str | Callable[[list[Any]], Any] | None
Training: TypeAlias = FusedTraining | LayeredTraining | StepwiseTraining


def check_optimizer(choice: Any) -> OptimizerChoice:
    """Return the name of an optimizer, a function that makes one, or None; errors otherwise."""
    if isinstance(choice, str):
        return check_optimizer_name(choice)
    if choice is not None and not callable(choice):
        raise TypeError(
            f"optimizer is a {type(choice).__name__}; accepted: a name, a function of the "
            "parameters, None"
        )
    return choice  # type: ignore[no-any-return]


def optimizer_of(choice: OptimizerChoice, model: Module) -> Any:
    """Return a new optimizer of a model's parameters."""
    if choice is None:
        optimizer, what = model.configure_optimizers(), "configure_optimizers() returned"
    elif isinstance(choice, str):
        if not hasattr(model, "lr"):
            raise TypeError(
                f"this {type(model).__name__} has no attribute lr, the learning rate of the "
                f"optimizer {choice!r}"
            )
        return make_optimizer(choice, model.parameters(), model.lr)
    else:
        optimizer, what = choice(model.parameters()), "optimizer(parameters) returned"
    require(what, optimizer, "step", "zero_grad")
    return optimizer


def way_of(
    model: Module,
    optimizer: Any,
    data: Any,
    prepare: Callable[[Any], Any],
    clip: Callable[[float, Module], None],
    max_norm: float | None,
    *,
    plain: bool,
) -> Training:
    """Choose the way through the data; step by step unless everything is the library's own."""
    if plain:
        found = fused_training(model, optimizer, data, max_norm) or layered_training(
            model, optimizer, data, max_norm
        )
        if found is not None:
            return found
    clipping = None if max_norm is None else lambda: clip(max_norm, model)
    return StepwiseTraining(model, optimizer, data.train_dataloader(), prepare, clipping)


def require(what: str, thing: object, *methods: str) -> None:
    """Raise TypeError unless an object has the methods."""
    if not all(callable(getattr(thing, method, None)) for method in methods):
        raise TypeError(
            f"{what} a {type(thing).__name__}; accepted: an object with {' and '.join(methods)}"
        )
