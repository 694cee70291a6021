"""The rules of optimizers, as the fused path takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from softstep.kernels._arrays import Array, check_in_place


class OptimizerRule(NamedTuple):
    """The rule of an optimizer other than plain SGD, for a run over minibatches.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import OptimizerRule, train_softmax_regression
    >>> weight = np.zeros((2, 1))
    >>> average, square = np.zeros_like(weight), np.zeros_like(weight)
    >>> rule = OptimizerRule("adam", {"lr": 0.1}, [(average, None), (square, None)])
    >>> run = train_softmax_regression(
    ...     [[1.0], [-1.0]], [0, 1], [0, 1], weight, None, batch_size=2, rule=rule
    ... )
    >>> weight.round(6)
    array([[ 0.1],
           [-0.1]])
    """

    name: str
    """``"sgd"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"``."""
    settings: Mapping[str, Any]
    """The keyword arguments of `sgd_step`, `rmsprop_step`, `adam_step` or `adamw_step`, with their
    defaults; `step` is the number of the first minibatch."""
    states: Sequence[tuple[Array, Array | None] | None] = ()
    """The states of (weight, bias) in the order of those functions' arguments, changed in place:
    ``(momentum_buffer,)``; ``(square_avg, grad_avg, momentum_buffer)``; ``(exp_avg, exp_avg_sq,
    max_exp_avg_sq)``. None for one that is not used."""
    applied: Array | None = None
    """An int64 array (1,) that receives the number of minibatches applied, also when the call ends
    in an exception."""


_DEFAULTS: dict[str, dict[str, Any]] = {
    "sgd": {
        "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
        "maximize": False, "first_step": False,
    },
    "rmsprop": {
        "lr": 0.01, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0,
        "maximize": False,
    },
    "adam": {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "maximize": False,
        "step": 1,
    },
    "adamw": {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "maximize": False,
        "step": 1,
    },
}  # fmt: skip


def rule_settings(rule: OptimizerRule) -> dict[str, Any]:
    """Return all the settings of a rule under the names that the native function reads."""
    if rule.name not in _DEFAULTS:
        accepted = ", ".join(map(repr, _DEFAULTS))
        raise ValueError(f"the rule's name is {rule.name!r}; accepted: {accepted}")
    defaults = _DEFAULTS[rule.name]
    for name in rule.settings:
        if name not in defaults and name != "lr":
            raise TypeError(
                f"the rule {rule.name!r} has the setting {name!r}; accepted: {', '.join(defaults)}"
            )
    settings = {**defaults, **rule.settings}
    if "lr" not in settings:
        raise TypeError(f"the rule {rule.name!r} lacks the setting 'lr'")
    given = [state is not None for state in rule.states] + [False] * 3
    if rule.name == "rmsprop":
        settings["centered"] = given[1]
    elif rule.name != "sgd":
        settings["beta1"], settings["beta2"] = settings.pop("betas")
        settings["amsgrad"] = given[2]
    return settings


def rule_states(rule: OptimizerRule) -> tuple[list[Array | None], list[Array | None]]:
    """Return the states of the weight and those of the bias."""
    pairs = [state if state is not None else (None, None) for state in rule.states]
    for i, pair in enumerate(pairs):
        for array in pair:
            if array is not None:
                check_in_place(f"states[{i}]", array)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
