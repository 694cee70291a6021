"""Whole runs of minibatches, one plain step after the other.

Each minibatch is gathered, converted to float64 (``x * scale + shift``), sent forward and backward
through the other reference functions, and applied by :func:`sgd_step`; parameters keep their dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    FLOATS,
    Array,
    as_array,
    as_floats,
    as_labels,
    check_shape,
    check_writable,
    rounded,
)
from .cross_entropy import cross_entropy_with_grad
from .linear import linear, linear_backward
from .losses import mse_loss
from .optimizers import adam_step, adamw_step, check_settings, rmsprop_step, sgd_step
from .rules import OptimizerRule

# The losses (B,), the number of correct rows and dlogits (B, C) of a minibatch.
_Loss = Callable[[Array, Array], tuple[Array, int, Array]]


class TrainRun(NamedTuple):
    """What a run saw: the sum of the rows' losses, correct predictions, rows, minibatches.

    Parameters
    ----------
    loss, correct, rows, steps
        As in :class:`softstep.kernels.TrainRun`.
    """

    loss: float
    correct: int
    rows: int
    steps: int


def softmax_loss(logits: Array, target: Array) -> tuple[Array, int, Array]:
    """Return the losses of the rows, how many are correct, and the gradient of their mean."""
    losses, dlogits = cross_entropy_with_grad(logits, target, reduction="none", ignore_index=-1)
    correct = (logits.argmax(1) == target) & ~np.isnan(logits).any(1)
    return losses, int(correct.sum()), dlogits / len(target)


def _squared_loss(prediction: Array, target: Array) -> tuple[Array, int, Array]:
    with np.errstate(invalid="ignore"):
        losses = mse_loss(prediction, target, reduction="none").mean(1)
        return losses, 0, 2 * (prediction - target) / target.size


class Rows:
    """Features, targets and the order in which they are read, checked."""

    def __init__(
        self, x: object, target: object, order: object, weight: Array, scale: Any, shift: Any
    ) -> None:
        self.x = as_array(x, "x")
        if self.x.dtype.name not in ("uint8", "int8", "float16", "bfloat16"):
            self.x = as_floats(self.x, "x")
        columns = weight.shape[1]
        if self.x.ndim != 2 or self.x.shape[1] != columns:
            raise ValueError(f"x: expected shape (n, {columns}), got {self.x.shape}")
        n = len(self.x)
        self.target = as_array(target, "target")
        self.order = np.arange(n) if order is None else as_array(order, "order")
        if self.order.dtype.kind not in "iu":
            raise TypeError(f"order: expected integers, got dtype {self.order.dtype}")
        if self.order.ndim != 1:
            raise ValueError(f"order: expected shape (m,), got {self.order.shape}")
        wrong = (self.order < 0) | (self.order >= n)
        if wrong.any():
            at = int(wrong.argmax())
            raise IndexError(f"order: row {at} holds {self.order[at]}, expected 0 to {n - 1}")
        self.scale, self.shift = (
            None if factor is None else np.asarray(factor, np.float64) for factor in (scale, shift)
        )
        for name, factor in (("scale", self.scale), ("shift", self.shift)):
            if factor is not None and factor.shape not in ((), (columns,)):
                raise ValueError(f"{name}: expected a number or shape {(columns,)}")

    def batch(self, rows: Array) -> tuple[Array, Array]:
        """Return the features in float64, and the targets."""
        x = self.x[rows].astype(np.float64)
        if self.scale is not None:
            x = x * self.scale
        return (x if self.shift is None else x + self.shift), self.target[rows]


def check_layer(weight: object, bias: object) -> tuple[Array, Array | None]:
    """Return the parameters of a layer, fit to be written."""
    if not isinstance(weight, np.ndarray) or weight.dtype not in FLOATS:
        raise TypeError("weight: expected a NumPy array of float32 or float64")
    if weight.ndim != 2 or len(weight) == 0:
        raise ValueError(f"weight: expected shape (C, K) with C >= 1, got {weight.shape}")
    check_writable(weight, "weight", weight.dtype, weight.shape)
    if bias is None:
        return weight, None
    return weight, check_writable(bias, "bias", weight.dtype, weight.shape[:1])


def _check_buffers(
    weight: Array, bias: Array | None, buffers: tuple[Any, Any] | None
) -> tuple[Any, Any]:
    """Return both buffers, fit to be written; nothing that is written may overlap."""
    if buffers is None:
        buffers = (None, None)
    changed = [weight] if bias is None else [weight, bias]
    for parameter, buffer in zip(tuple(changed), buffers, strict=False):
        if buffer is not None:
            name = "momentum_buffers"
            changed.append(check_writable(buffer, name, parameter.dtype, parameter.shape))
    for number, array in enumerate(changed):
        if any(np.may_share_memory(array, other) for other in changed[:number]):
            raise ValueError("weight, bias and momentum_buffers: overlap each other")
    return buffers


def _forward(x: Array, weight: Array, bias: Array | None) -> Array:
    wide = None if bias is None else bias.astype(np.float64)
    return np.asarray(linear(x, weight.astype(np.float64), wide))


def _evaluate(rows: Rows, loss: _Loss, weight: Array, bias: Array | None) -> TrainRun:
    x, target = rows.batch(rows.order)
    with np.errstate(invalid="ignore"):
        losses, correct, _ = loss(_forward(x, weight, bias), target)
    return TrainRun(float(losses.sum()), correct, len(losses), 0)


_STATES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "sgd": (sgd_step, ("momentum_buffer",)),
    "rmsprop": (rmsprop_step, ("square_avg", "grad_avg", "momentum_buffer")),
    "adam": (adam_step, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
    "adamw": (adamw_step, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
}


def apply_rule(
    rule: Any,
    steps: int,
    parameters: list[Array | None],
    gradients: list[Array | None],
    max_norm: float | None,
) -> None:
    """Apply the step that follows `steps` steps of this run, with the kernel's function for it."""
    name, settings, states, _ = rule
    function, names = _STATES[name]
    options = dict(settings)
    if name == "sgd":
        options["first_step"] = bool(options.get("first_step")) and steps == 0
    elif name != "rmsprop":
        options["step"] = options.get("step", 1) + steps

    def there(arrays: Any) -> list[Any]:
        pairs = zip(arrays, parameters, strict=True)
        return [array for array, parameter in pairs if parameter is not None]

    for key, state in zip(names, states, strict=False):
        if state is not None:
            options[key] = there(state)
    function(there(parameters), there(gradients), max_norm=max_norm, **options)


def sgd_rule(sgd: dict[str, Any], momentum_buffers: Any) -> OptimizerRule:
    """Return the rule of these settings of SGD."""
    names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
    check_settings(*(sgd[name] for name in names))
    if sgd["momentum"] and momentum_buffers is None:
        raise ValueError("momentum_buffers: expected one for each parameter, with a momentum")
    return OptimizerRule("sgd", sgd, (momentum_buffers,))


def _train(
    rows: Rows,
    loss: _Loss,
    weight: Array,
    bias: Array | None,
    *,
    batch_size: int,
    momentum_buffers: tuple[Any, Any] | None,
    rule: Any,
    max_norm: float | None,
    **sgd: Any,
) -> TrainRun:
    if rule is None:
        rule = sgd_rule(sgd, momentum_buffers)
        _check_buffers(weight, bias, momentum_buffers)
    if index(batch_size) < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")

    total, correct, steps = 0.0, 0, 0
    if rule.applied is not None:
        rule.applied[0] = 0
    for start in range(0, len(rows.order), batch_size):
        numbers = rows.order[start : start + batch_size]
        x, target = rows.batch(numbers)
        with np.errstate(invalid="ignore", over="ignore"):
            logits = _forward(x, weight, bias)
            losses, hits, dlogits = loss(logits, target)
            finite = np.isfinite(rounded(logits, weight.dtype)).all(1)
        finite &= np.isfinite(losses) & np.isfinite(x).all(1)
        if not finite.all():
            raise FloatingPointError(
                f"step {steps}, row {numbers[finite.argmin()]} of x: features, logits or loss are "
                f"not finite; parameters are those after {steps} steps of this run"
            )
        _, dweight, dbias = linear_backward(x, weight.astype(np.float64), dlogits)
        gradients = [rounded(dweight, weight.dtype), rounded(dbias, weight.dtype)]
        apply_rule(rule, steps, [weight, bias], gradients, max_norm)
        total, correct, steps = total + float(losses.sum()), correct + hits, steps + 1
        if rule.applied is not None:
            rule.applied[0] = steps
    return TrainRun(total, correct, len(rows.order), steps)


def labelled_rows(
    x: object, target: object, order: object, weight: Array, scale: Any, shift: Any, classes: int
) -> Rows:
    """Return rows that `weight` takes, and their classes."""
    rows = Rows(x, target, order, weight, scale, shift)
    check_shape(rows.target, "target", (len(rows.x),))
    seen = np.isin(np.arange(len(rows.x)), rows.order)  # only labels that are read must be right
    rows.target = as_labels(np.where(seen, rows.target, 0), len(rows.x), classes, None)
    return rows


def _regression_rows(
    x: object, target: object, order: object, weight: Array, scale: Any, shift: Any
) -> Rows:
    rows = Rows(x, target, order, weight, scale, shift)
    shape = (len(rows.x), len(weight))
    wanted = as_floats(rows.target, "target").astype(np.float64)
    if len(weight) == 1 and wanted.ndim == 1:
        wanted = wanted[:, None]
    rows.target = check_shape(wanted, "target", shape)
    return rows


def train_softmax_regression(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    weight: Any,
    bias: Any,
    *,
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: tuple[Any, Any] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: Any = None,
) -> TrainRun:
    """SGD on the mean cross-entropy of each minibatch.

    See :func:`softstep.kernels.train_softmax_regression`.

    Parameters
    ----------
    x, target, order, weight, bias, batch_size, lr, momentum, dampening, weight_decay
        As in :func:`softstep.kernels.train_softmax_regression`.
    nesterov, maximize, momentum_buffers, first_step, rule, max_norm, scale, shift, threads
        As there.

    Examples
    --------
    >>> weight, bias = np.zeros((2, 1)), np.zeros(2)
    >>> train_softmax_regression([[1.0]], [1], [0], weight, bias, batch_size=1, lr=1.0)
    TrainRun(loss=0.6931471805599453, correct=0, rows=1, steps=1)
    >>> weight
    array([[-0.5],
           [ 0.5]])
    """
    check_layer(weight, bias)
    rows = labelled_rows(x, target, order, weight, scale, shift, len(weight))
    return _train(
        rows, softmax_loss, weight, bias, batch_size=batch_size, lr=lr, momentum=momentum,
        dampening=dampening, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize,
        momentum_buffers=momentum_buffers, first_step=first_step, rule=rule, max_norm=max_norm,
    )  # fmt: skip


def train_linear_regression(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    weight: Any,
    bias: Any,
    *,
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: tuple[Any, Any] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: Any = None,
) -> TrainRun:
    """SGD on the mean squared error of each minibatch.

    See :func:`softstep.kernels.train_linear_regression`.

    Parameters
    ----------
    x, target, order, weight, bias, batch_size, lr, momentum, dampening, weight_decay
        As in :func:`softstep.kernels.train_linear_regression`.
    nesterov, maximize, momentum_buffers, first_step, rule, max_norm, scale, shift, threads
        As there.

    Examples
    --------
    >>> weight, bias = np.zeros((1, 1)), np.zeros(1)
    >>> train_linear_regression([[1.0]], [3.0], [0], weight, bias, batch_size=1, lr=0.25)
    TrainRun(loss=9.0, correct=0, rows=1, steps=1)
    >>> weight, bias
    (array([[1.5]]), array([1.5]))
    """
    check_layer(weight, bias)
    rows = _regression_rows(x, target, order, weight, scale, shift)
    return _train(
        rows, _squared_loss, weight, bias, batch_size=batch_size, lr=lr, momentum=momentum,
        dampening=dampening, weight_decay=weight_decay, nesterov=nesterov, maximize=maximize,
        momentum_buffers=momentum_buffers, first_step=first_step, rule=rule, max_norm=max_norm,
    )  # fmt: skip


def evaluate_softmax_regression(
    x: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: Any = None,
) -> TrainRun:
    """Sum of losses and correct predictions; nothing is updated.

    See :func:`softstep.kernels.evaluate_softmax_regression`.

    Parameters
    ----------
    x, target, weight, bias, order, scale, shift, threads
        As in :func:`softstep.kernels.evaluate_softmax_regression`.

    Examples
    --------
    >>> evaluate_softmax_regression([[1.0]], [1], [[-0.5], [0.5]], None).correct
    1
    """
    weights = as_floats(weight, "weight")
    rows = labelled_rows(x, target, order, weights, scale, shift, len(weights))
    biases = None if bias is None else as_floats(bias, "bias", weights.dtype)
    return _evaluate(rows, softmax_loss, weights, biases)


def evaluate_linear_regression(
    x: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: Any = None,
) -> TrainRun:
    """Sum of the rows' mean squared errors; nothing is updated.

    See :func:`softstep.kernels.evaluate_linear_regression`.

    Parameters
    ----------
    x, target, weight, bias, order, scale, shift, threads
        As in :func:`softstep.kernels.evaluate_linear_regression`.

    Examples
    --------
    >>> evaluate_linear_regression([[1.0]], [3.0], [[1.0]], None).loss
    4.0
    """
    weights = as_floats(weight, "weight")
    rows = _regression_rows(x, target, order, weights, scale, shift)
    biases = None if bias is None else as_floats(bias, "bias", weights.dtype)
    return _evaluate(rows, _squared_loss, weights, biases)
