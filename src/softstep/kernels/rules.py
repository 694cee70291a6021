"""The rules of optimizers, as the fused path takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from softstep.kernels._arrays import Array, as_pair, check_in_place
from softstep.kernels.optimizers import adam_step, adamw_step, rmsprop_step, sgd_step


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
    states: Sequence[tuple[Array, Array | None] | None] = ()
    """The states of (weight, bias) in the order of those functions' arguments, changed in place:
    ``(momentum_buffer,)``; ``(square_avg, grad_avg, momentum_buffer)``; ``(exp_avg, exp_avg_sq,
    max_exp_avg_sq)``. None for one that is not used."""
    applied: Array | None = None
    """An int64 array (1,) that receives the number of minibatches applied, also when the call ends
    in an exception."""


_STEPS: dict[str, Callable[..., Any]] = {
    "sgd": sgd_step, "rmsprop": rmsprop_step, "adam": adam_step, "adamw": adamw_step
}  # fmt: skip
_NO_SETTINGS = {"max_norm", "threads", "momentum_buffer", "grad_avg", "max_exp_avg_sq"}


def rule_settings(rule: OptimizerRule) -> dict[str, Any]:
    """Return all the settings of a rule under the names that the native function reads."""
    if rule.name not in _STEPS:
        accepted = ", ".join(map(repr, _STEPS))
        raise ValueError(f"the rule's name is {rule.name!r}; accepted: {accepted}")
    given = _STEPS[rule.name].__kwdefaults__ or {}
    defaults = {name: value for name, value in given.items() if name not in _NO_SETTINGS}
    if rule.name in ("adam", "adamw"):
        defaults["step"] = 1
    for name in rule.settings:
        if name not in defaults and name != "lr":
            raise TypeError(
                f"the rule {rule.name!r} has the setting {name!r}; accepted: {', '.join(defaults)}"
            )
    settings = {**defaults, **rule.settings}
    if "lr" not in settings:
        raise TypeError(f"the rule {rule.name!r} lacks the setting 'lr'")
    there = [state is not None for state in rule.states] + [False] * 3
    if rule.name == "rmsprop":
        settings["centered"] = there[1]
    elif rule.name != "sgd":
        settings["beta1"], settings["beta2"] = as_pair("betas", settings.pop("betas"))
        settings["amsgrad"] = there[2]
    return settings


def rule_states(rule: OptimizerRule) -> tuple[list[Array | None], list[Array | None]]:
    """Return the states of the weight and those of the bias."""
    pairs = [state if state is not None else (None, None) for state in rule.states]
    for i, pair in enumerate(pairs):
        for array in pair:
            if array is not None:
                check_in_place(f"states[{i}]", array)
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
