"""Optimizers by their names, for command lines and settings in files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from softstep.models.parameter import Parameter
from softstep.optimizers.adaptive import Adam, AdamW, RMSprop
from softstep.optimizers.optimizer import Optimizer
from softstep.optimizers.sgd import SGD

__all__ = ["OPTIMIZERS", "check_optimizer_name", "make_optimizer"]


def _momentum(params: Iterable[Parameter], lr: float, **settings: Any) -> SGD:
    return SGD(params, lr, **{"momentum": 0.9, **settings})


def _nesterov(params: Iterable[Parameter], lr: float, **settings: Any) -> SGD:
    return SGD(params, lr, **{"momentum": 0.9, "nesterov": True, **settings})


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def make_optimizer(name: str, params: Iterable[Parameter], lr: float, **settings: Any) -> Optimizer:
    """Return an optimizer by its name.

    Parameters
    ----------
    name : {"sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"}
        `momentum` and `nesterov` are `SGD` with a momentum of 0.9 unless told otherwise.
    params : iterable of Parameter
    lr : float
        The learning rate: finite, at least 0.
    **settings
        More settings of that optimizer.

    Returns
    -------
    Optimizer

    Raises
    ------
    ValueError
        There is no optimizer of this name; a setting is not accepted.
    TypeError
        A setting is of the wrong type, or unknown to this optimizer.

    Examples
    --------
    >>> from softstep import Parameter
    >>> from softstep.optimizers import make_optimizer
    >>> make_optimizer("momentum", [Parameter([1.0])], lr=0.1).momentum
    0.9
    """
    return OPTIMIZERS[check_optimizer_name(name)](params, lr, **settings)


def check_optimizer_name(name: Any) -> str:
    """Return the name of an optimizer; ValueError if there is none of that name."""
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}; accepted: {', '.join(map(repr, OPTIMIZERS))}")
    return name
