"""Minibatches of a multilayer perceptron, one plain step after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, rounded
from .linear import linear, linear_backward
from .rules import OptimizerRule
from .train_step import (
    TrainRun,
    apply_rule,
    check_layer,
    labelled_rows,
    sgd_rule,
    softmax_loss,
)


def _layers(parameters: Any) -> list[tuple[Array, Array | None]]:
    """Return (weight, bias) of each layer, each with as many inputs as the last has outputs."""
    arrays = list(parameters)
    if not arrays or len(arrays) % 2:
        raise ValueError(f"parameters: expected pairs of weight and bias, got {len(arrays)} arrays")
    layers = [check_layer(*arrays[i : i + 2]) for i in range(0, len(arrays), 2)]
    for (before, _), (weight, _) in itertools.pairwise(layers):
        if weight.dtype != before.dtype or weight.shape[1] != len(before):
            raise ValueError(f"parameters: expected a weight (C, {len(before)}) of {before.dtype}")
    return layers


def _gradients(
    layers: list[tuple[Array, Array | None]], inputs: list[Array], d: Array, activation: Any
) -> list[Array | None]:
    """Return the gradients of all parameters, in their order, given that of the logits."""
    found: list[Array | None] = []
    for i in reversed(range(len(layers))):
        weight = layers[i][0]
        dx, dweight, dbias = linear_backward(
            inputs[i], weight.astype(np.float64), d, x_activation=activation if i else None
        )
        found = [rounded(dweight, weight.dtype), rounded(dbias, weight.dtype), *found]
        d = dx
    return found


def train_mlp(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    parameters: Sequence[Any],
    *,
    activation: Any = "relu",
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: Sequence[Any] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: Any = None,
) -> TrainRun:
    """Train all layers on the mean cross-entropy of each minibatch.

    See :func:`softstep.kernels.train_mlp`.

    Parameters
    ----------
    x, target, order, parameters, activation, batch_size, lr, momentum, dampening, weight_decay
        As in :func:`softstep.kernels.train_mlp`.
    nesterov, maximize, momentum_buffers, first_step, rule, max_norm, scale, shift, threads
        As there.

    Examples
    --------
    >>> parameters = [np.ones((1, 1)), np.zeros(1), np.zeros((2, 1)), np.zeros(2)]
    >>> train_mlp([[1.0]], [1], [0], parameters, batch_size=1, lr=1.0)
    TrainRun(loss=0.6931471805599453, correct=0, rows=1, steps=1)
    >>> parameters[2]
    array([[-0.5],
           [ 0.5]])
    """
    layers = _layers(parameters)
    arrays = [array for layer in layers for array in layer]
    rows = labelled_rows(x, target, order, layers[0][0], scale, shift, len(layers[-1][0]))
    if rule is None:
        sgd = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "first_step": first_step,
        }  # fmt: skip
        rule = sgd_rule(sgd, momentum_buffers)
    if index(batch_size) < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")

    total, correct, steps = 0.0, 0, 0
    if rule.applied is not None:
        rule.applied[0] = 0
    for start in range(0, len(rows.order), batch_size):
        numbers = rows.order[start : start + batch_size]
        features, labels = rows.batch(numbers)
        inputs = [features]
        with np.errstate(invalid="ignore", over="ignore"):
            for i, (weight, bias) in enumerate(layers):
                inputs.append(
                    linear(
                        inputs[-1],
                        weight.astype(np.float64),
                        None if bias is None else bias.astype(np.float64),
                        activation=activation if i + 1 < len(layers) else None,
                    )
                )
            losses, hits, d = softmax_loss(inputs[-1], labels)
        finite = np.isfinite(losses) & np.isfinite(features).all(1)
        if not finite.all():
            raise FloatingPointError(
                f"step {steps}, row {numbers[finite.argmin()]} of x: features or loss are not "
                f"finite; parameters are those after {steps} steps of this run"
            )
        apply_rule(rule, steps, arrays, _gradients(layers, inputs, d, activation), max_norm)
        total, correct, steps = total + float(losses.sum()), correct + hits, steps + 1
        if rule.applied is not None:
            rule.applied[0] = steps
    return TrainRun(total, correct, len(rows.order), steps)
