"""The rules of optimizers, as the fused path takes them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from softstep.kernels._arrays import Array, as_flag, as_pair, as_real, check_in_place
from softstep.kernels.optimizers import (
    adam_step,
    adamw_step,
    check_sgd,
    rmsprop_step,
    sgd_step,
)


class OptimizerRule(NamedTuple):
    """The rule of an optimizer other than plain SGD, for a run over minibatches.

    Parameters
    ----------
    name, settings, states, applied
        The attributes of these names.

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
    states: Sequence[Sequence[Array | None] | None] = ()
    """The states in the order of those functions' arguments, changed in place:
    ``(momentum_buffer,)``; ``(square_avg, grad_avg, momentum_buffer)``; ``(exp_avg, exp_avg_sq,
    max_exp_avg_sq)``. Each is one array for each parameter, such as (weight, bias), in their order;
    None for one that is not used."""
    applied: Array | None = None
    """An int64 array (1,) that receives the number of minibatches applied, also when the call ends
    in an exception."""


_STEPS: dict[str, Callable[..., Any]] = {
    "sgd": sgd_step, "rmsprop": rmsprop_step, "adam": adam_step, "adamw": adamw_step
}  # fmt: skip
_NUMBER_OF_STATES = {"sgd": 1, "rmsprop": 3, "adam": 3, "adamw": 3}
_FLAGS = ("nesterov", "maximize", "first_step", "amsgrad")
_NO_SETTINGS = {"max_norm", "threads", "momentum_buffer", "grad_avg", "max_exp_avg_sq"}


def rule_settings(rule: OptimizerRule) -> dict[str, Any]:
    """Return all the settings of a rule under the names that the native function reads."""
    if not isinstance(rule.settings, Mapping):
        raise TypeError(
            f"the rule's settings are {rule.settings!r}; accepted: a mapping of names to values"
        )
    given = _STEPS[rule.name].__kwdefaults__ or {}
    defaults = {name: value for name, value in given.items() if name not in _NO_SETTINGS}
    if rule.name in ("adam", "adamw"):
        defaults["step"] = 1
    accepted = dict.fromkeys(("lr", *defaults))
    for name in rule.settings:
        if name not in accepted:
            raise TypeError(
                f"the rule {rule.name!r} has the setting {name!r}; accepted: {', '.join(accepted)}"
            )
    settings = {**defaults, **rule.settings}
    if "lr" not in settings:
        raise TypeError(f"the rule {rule.name!r} lacks the setting 'lr'")
    settings |= {name: as_flag(name, settings[name]) for name in _FLAGS if name in settings}
    there = [state is not None for state in rule.states] + [False] * 3
    if rule.name == "rmsprop":
        settings["centered"] = there[1]
    elif rule.name != "sgd":
        betas = as_pair("betas", settings.pop("betas"))
        settings |= {f"beta{i + 1}": as_real(f"betas[{i}]", betas[i]) for i in range(2)}
        settings["amsgrad"] = there[2]
    return settings


def rule_states(rule: OptimizerRule, count: int) -> list[list[Array | None]]:
    """Return the states, each as a list of one for each of `count` parameters."""
    try:
        states: list[list[Array | None]] = [
            [None] * count if state is None else list(state) for state in rule.states
        ]
    except TypeError:
        raise TypeError(
            f"states is {rule.states!r}; accepted: for each state one array for each parameter"
        ) from None
    most = _NUMBER_OF_STATES[rule.name]
    if len(states) > most:
        raise ValueError(f"states holds {len(states)}; accepted: at most {most}, of {rule.name!r}")
    for k, state in enumerate(states):
        if len(state) != count:
            raise ValueError(
                f"states[{k}] holds {len(state)} arrays; accepted: {count}, one for each parameter"
            )
        for array in state:
            if array is not None:
                check_in_place(f"states[{k}]", array)
    return states


def chosen_rule(
    rule: OptimizerRule | None,
    lr: float | None,
    momentum_buffers: Sequence[Array | None] | None,
    sgd: dict[str, Any],
    count: int,
) -> OptimizerRule:
    """Return the rule that is given, or that of SGD with its settings for `count` parameters."""
    if rule is not None:
        for name, value in {"lr": lr, "momentum_buffers": momentum_buffers, **sgd}.items():
            if value is not None and not (isinstance(value, (int, float)) and value == 0):
                raise TypeError(f"{name} is given beside a rule; accepted: one of the two")
        if not isinstance(rule, OptimizerRule):
            raise TypeError(f"rule is {rule!r}; accepted: an OptimizerRule")
        if not isinstance(rule.name, str) or rule.name not in _STEPS:
            accepted = ", ".join(map(repr, _STEPS))
            raise ValueError(f"the rule's name is {rule.name!r}; accepted: {accepted}")
        return rule
    if lr is None:
        raise TypeError("lr is missing; accepted: a learning rate, or a rule")
    check_sgd(lr, sgd["momentum"], sgd["dampening"], sgd["weight_decay"], sgd["nesterov"])
    if momentum_buffers is not None:
        if not isinstance(momentum_buffers, (tuple, list)) or len(momentum_buffers) != count:
            what = "a pair of ndarrays, like weight and bias"
            if count != 2:
                what = f"{count} ndarrays, like the parameters"
            raise TypeError(f"momentum_buffers is {momentum_buffers!r}; accepted: {what}")
        for i, buffer in enumerate(momentum_buffers):
            if buffer is not None:
                check_in_place(f"momentum_buffers[{i}]", buffer)
    return OptimizerRule("sgd", {"lr": lr, **sgd}, [momentum_buffers])


def as_batch_size(batch_size: int) -> int:
    """Return the rows of a minibatch as an int that the native functions take."""
    try:
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size is {batch_size!r}; accepted: an integer of at least 1"
        ) from None
    if size < 1:
        raise ValueError(f"batch_size is {size}; accepted: an integer of at least 1")
    return min(size, np.iinfo(np.int64).max)
