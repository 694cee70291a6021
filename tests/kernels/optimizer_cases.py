"""What the tests of optimizer steps share: every rule with its states, settings and peers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from kernel_cases import Array, eps, tiny


class Rule(NamedTuple):
    """A step, the names of its states in order, and what PyTorch calls the optimizer."""

    name: str
    states: tuple[str, ...]
    peer: str
    counts: bool  # has the argument `step`

    def options(self, settings: dict[str, Any], step: int) -> dict[str, Any]:
        """What the step takes besides arrays, at its step counted from 1."""
        given = {k: v for k, v in settings.items() if k not in ("centered", "amsgrad")}
        if self.counts:
            given["step"] = step
        if self.name == "sgd_step":
            given["first_step"] = step == 1
        return given

    def used(self, settings: dict[str, Any]) -> tuple[str, ...]:
        """The states that a step with these settings has."""
        wanted = {
            "momentum_buffer": settings.get("momentum", 0) != 0,
            "grad_avg": settings.get("centered", False),
            "max_exp_avg_sq": settings.get("amsgrad", False),
        }
        return tuple(name for name in self.states if wanted.get(name, True))


RULES = {
    rule.name: rule
    for rule in (
        Rule("sgd_step", ("momentum_buffer",), "SGD", False),
        Rule("rmsprop_step", ("square_avg", "grad_avg", "momentum_buffer"), "RMSprop", False),
        Rule("adam_step", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "Adam", True),
        Rule("adamw_step", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), "AdamW", True),
    )
}


def random_settings(rule: Rule, rng: np.random.Generator) -> dict[str, Any]:
    """Settings under PyTorch's names, all of them given."""

    def some(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    settings = {
        "lr": float(rng.uniform(0, 0.1)),
        "weight_decay": float(some(0, 0.01, 0.3)),
        "maximize": bool(some(True, False)),
    }
    if rule.name == "sgd_step":
        settings |= {"momentum": some(0.0, 0.5, 0.9), "nesterov": False}
        if settings["momentum"] and some(True, False):
            settings["nesterov"] = True
        else:
            settings["dampening"] = some(0.0, 0.3)
    elif rule.name == "rmsprop_step":
        settings |= {"alpha": some(0.5, 0.9, 0.99), "eps": some(1e-8, 1e-3)}
        settings |= {"momentum": some(0.0, 0.9), "centered": some(True, False)}
    else:
        settings |= {"betas": some((0.9, 0.999), (0.5, 0.9), (0.0, 0.99), (0.9, 0.0))}
        settings |= {"eps": some(1e-8, 1e-3), "amsgrad": some(True, False)}
    return settings


def random_state(
    rule: Rule, settings: dict[str, Any], rng: np.random.Generator, shape: Any, dtype: Any
) -> dict[str, Array]:
    """States as they might be after some steps: averages of squares are at least a mean's square.

    Zeros now and then, as before the first step.
    """
    scale = rng.choice([0, 1], p=[0.2, 0.8])
    mean = np.asarray(rng.normal(0, 1, shape)) * scale
    spread = mean**2 + np.asarray(rng.uniform(0.01, 2, shape)) * scale
    values = {
        "momentum_buffer": np.asarray(rng.normal(0, 1, shape)) * scale,
        "exp_avg": mean,
        "grad_avg": mean,
        "exp_avg_sq": spread,
        "square_avg": spread,
        "max_exp_avg_sq": spread * 1.1,
    }
    return {name: np.asarray(values[name]).astype(dtype) for name in rule.used(settings)}


def one_step_bounds(
    rule: Rule,
    settings: dict[str, Any],
    param: Array,
    grad: Array,
    before: dict[str, Array],
    after: dict[str, Array],
    step: int,
    dtype: Any,
) -> dict[str, Array]:
    """How wrong one step may be from the same start, in "param" and in each state.

    First-order error analysis: each operation and each rounded setting is wrong by half an eps of
    its result, the three or so on each line are taken as 2 eps of the magnitudes that are added.
    `before` and `after` are the exact states; arrays are float64.
    """
    unit, least = 2 * eps(dtype), tiny(dtype)
    decay = 0.0 if rule.name == "adamw_step" else settings["weight_decay"]
    size = np.abs(grad) + decay * np.abs(param)  # of what the gradient is added from
    bounds: dict[str, Array] = {}
    lr = settings["lr"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if rule.name == "sgd_step":
            moved = size
            error = unit * size
            if settings["momentum"]:
                moved = size + np.abs(before["momentum_buffer"])
                error = bounds["momentum_buffer"] = 2 * unit * moved
            bounds["param"] = unit * np.abs(param) + 4 * lr * (error + unit * moved)
        else:
            adam = rule.counts
            kept = settings["betas"][1] if adam else settings["alpha"]
            squares = "exp_avg_sq" if adam else "square_avg"
            mean = "exp_avg" if adam else "grad_avg"
            # v = kept v + (1 - kept) g^2, where g may come of a cancellation
            error = bounds[squares] = unit * (2 * after[squares] + 2 * (1 - kept) * size**2) + least
            if mean in before:
                bounds[mean] = 2 * unit * (np.abs(before[mean]) + size) + least
            second = after[squares]
            if settings.get("amsgrad"):
                second, bounds["max_exp_avg_sq"] = after["max_exp_avg_sq"], error
            if settings.get("centered"):
                a = np.abs(after[mean])
                second = np.maximum(second - a**2, 0)
                error = error + 2 * a * bounds[mean] + unit * (after[squares] + a**2)
            scale = 1 / np.sqrt(1 - kept**step) if adam else 1.0
            root = np.sqrt(second) * scale + settings["eps"]
            # A root moves by error / (2 root), and by no more than the root of the error.
            root_error = np.fmin(error / np.sqrt(second), np.sqrt(error)) * scale + unit * root
            above = np.abs(after[mean]) if adam else size
            above_error = bounds[mean] if adam else unit * size
            lower = np.maximum(root - root_error, settings["eps"] * (1 - unit))
            moved = above / root
            error = above_error / lower + moved * root_error / lower + unit * moved
            if settings.get("momentum"):
                moved = moved + np.abs(before["momentum_buffer"])
                error = bounds["momentum_buffer"] = error + unit * moved + least
            factor = lr / (1 - settings["betas"][0] ** step) if adam else lr
            bounds["param"] = 2 * unit * np.abs(param) + factor * (error + unit * moved)
    return {name: np.broadcast_to(bound + least, param.shape) for name, bound in bounds.items()}
