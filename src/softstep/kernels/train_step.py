"""The fused path: whole runs of minibatches in one native call."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    as_affine,
    as_features,
    as_float,
    as_real,
    as_targets,
    check_all_apart,
    check_in_place,
    exactly,
)
from softstep.kernels.rules import (
    OptimizerRule,
    as_batch_size,
    chosen_rule,
    rule_settings,
    rule_states,
)
from softstep.runtime import resolve_threads


class TrainRun(NamedTuple):
    """What a run over minibatches amounts to.

    Parameters
    ----------
    loss, correct, rows, steps
        The attributes of these names.
    """

    loss: float
    """Sum of the row losses, each with the parameters its minibatch met."""
    correct: int
    """Rows whose class was predicted; 0 for linear regression."""
    rows: int
    """Rows seen."""
    steps: int
    """Minibatches applied."""


def train_softmax_regression(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    weight: Array,
    bias: Array | None,
    *,
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: tuple[Array, Array | None] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> TrainRun:
    """Train softmax regression over minibatches, in one native call.

    For each minibatch: the logits, the mean cross-entropy and its gradient, one step of SGD, or of
    `rule`, on `weight` and `bias`.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16, float32 or float64
        The features of all rows. Rows may be any stride apart, and memory-mapped; copied only if
        the columns are not contiguous or the byte order is foreign.
    target : array_like of any integer dtype, (n,)
        The classes. Only those of rows in `order` are looked at. Copied if not int64 and
        contiguous, as is `order`.
    order : array_like of integers, (m,)
        Row numbers in the order they are seen. Minibatches are ``order[:batch_size]`` and so on;
        the last may be short.
    weight : ndarray, (C, K), float32 or float64
        Changed in place, as are `bias` and the buffers: C-contiguous, aligned, writable, apart from
        each other and the inputs. Its dtype is that of the computation.
    bias : ndarray, (C,), dtype of `weight`, or None
    batch_size : int
        At least 1.
    lr, momentum, dampening, weight_decay, nesterov, maximize
        As `sgd_step`; `lr` is needed unless there is a `rule`.
    momentum_buffers : tuple of ndarrays like (weight, bias)
        Needed when `momentum` is not 0.
    first_step : bool
        Fill the buffers in the first minibatch instead of reading them.
    rule : OptimizerRule, optional
        Another optimizer, in the place of SGD and its arguments above.
    max_norm : float, optional
        Clip the gradients of each minibatch to this global norm, as `clip_grad_norm` does.
    scale, shift : float or array_like (K,), optional
        The features are ``x * scale + shift``.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    TrainRun
        `loss` (sum of row losses), `correct`, `rows`, `steps`.

    Raises
    ------
    TypeError, ValueError
        Arrays or numbers that are not accepted; nothing has been changed then.
    IndexError
        A row number or a label out of range; nothing has been changed then.
    FloatingPointError
        A minibatch whose features or loss are not finite: its step and first such row are named,
        and it has not been applied.
    KeyboardInterrupt
        The parameters are those of the last whole step.

    References
    ----------
    Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, sections 4.1 to 4.5.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import train_softmax_regression
    >>> x = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    >>> weight, bias = np.zeros((2, 2)), np.zeros(2)
    >>> run = train_softmax_regression(
    ...     x, [0, 1], [0, 1], weight, bias, batch_size=2, lr=1.0, scale=1 / 255
    ... )
    >>> weight
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    >>> run.rows, run.steps, round(run.loss / run.rows, 4)
    (2, 1, 0.6931)
    """
    return _train(True, x, target, order, weight, bias, **_options(locals()))


def train_linear_regression(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    weight: Array,
    bias: Array | None,
    *,
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: tuple[Array, Array | None] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> TrainRun:
    """Train linear regression over minibatches, in one native call.

    For each minibatch: the predictions, their mean squared error and its gradient, one step of SGD,
    or of `rule`, on `weight` and `bias`.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16, float32 or float64
    target : array_like, (n, C), or (n,) for one output, dtype of `weight`
    order : array_like of integers, (m,)
    weight : ndarray, (C, K), float32 or float64
    bias : ndarray, (C,), or None
    batch_size : int
    lr, momentum, dampening, weight_decay, nesterov, maximize, momentum_buffers, first_step, rule
        As `train_softmax_regression`.
    max_norm, scale, shift, threads
        As `train_softmax_regression`.

    Returns
    -------
    TrainRun
        `loss` is the sum over the rows of the mean squared error over the outputs.

    Raises
    ------
    TypeError, ValueError, IndexError, FloatingPointError, KeyboardInterrupt
        As `train_softmax_regression`.

    References
    ----------
    Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, sections 3.1 to 3.5.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import train_linear_regression
    >>> weight, bias = np.zeros((1, 1)), np.zeros(1)
    >>> order = [0, 1] * 1000
    >>> run = train_linear_regression(
    ...     [[1.0], [2.0]], [2.0, 4.0], order, weight, bias, batch_size=2, lr=0.1
    ... )
    >>> weight.round(3), abs(bias).round(3)
    (array([[2.]]), array([0.]))
    """
    return _train(False, x, target, order, weight, bias, **_options(locals()))


def evaluate_softmax_regression(
    x: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> TrainRun:
    """Loss and correct predictions of softmax regression; nothing is changed.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16, float32 or float64
    target : array_like of any integer dtype, (n,)
    weight : array_like, (C, K), float32 or float64
    bias : array_like, (C,), or None
    order : array_like of integers, (m,), optional
        The rows to look at; all of them when None.
    scale, shift, threads
        As `train_softmax_regression`.

    Returns
    -------
    TrainRun
        With `steps` 0. A row with NaN makes the loss NaN and is not correct.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `train_softmax_regression`.

    References
    ----------
    Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, section 4.3.

    Examples
    --------
    >>> from softstep.kernels import evaluate_softmax_regression
    >>> evaluate_softmax_regression([[1.0], [-1.0]], [1, 1], [[-1.0], [1.0]], None).correct
    1
    """
    return _evaluate(True, x, target, weight, bias, order, scale, shift, threads)


def evaluate_linear_regression(
    x: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    *,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> TrainRun:
    """Mean squared error of linear regression, summed over the rows; nothing is changed.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16, float32 or float64
    target : array_like, (n, C), or (n,) for one output, dtype of `weight`
    weight : array_like, (C, K), float32 or float64
    bias : array_like, (C,), or None
    order, scale, shift, threads
        As `evaluate_softmax_regression`.

    Returns
    -------
    TrainRun
        With `correct` and `steps` 0.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `train_softmax_regression`.

    References
    ----------
    Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, section 3.1.

    Examples
    --------
    >>> from softstep.kernels import evaluate_linear_regression
    >>> evaluate_linear_regression([[1.0], [2.0]], [2.0, 5.0], [[2.0]], None).loss
    1.0
    """
    return _evaluate(False, x, target, weight, bias, order, scale, shift, threads)


def _options(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in arguments if name not in _ARRAYS}


_ARRAYS = {"x", "target", "order", "weight", "bias"}


def _train(
    labels: bool,
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    weight: Array,
    bias: Array | None,
    *,
    batch_size: int,
    lr: float | None,
    momentum_buffers: tuple[Array, Array | None] | None,
    rule: OptimizerRule | None,
    max_norm: float | None,
    scale: ArrayLike | None,
    shift: ArrayLike | None,
    threads: int | None,
    **sgd: Any,
) -> TrainRun:
    check_in_place("weight", weight)
    if bias is not None:
        check_in_place("bias", bias)
    rule = chosen_rule(rule, lr, momentum_buffers, sgd, 2)
    states = rule_states(rule, 2)
    weight_states, bias_states = ([state[i] for state in states] for i in range(2))
    size = as_batch_size(batch_size)
    features, targets = as_features("x", x), _targets(labels, target, weight)
    places = as_targets("order", order)
    scales, shifts = _affine(scale, shift, weight)
    changed = {"weight": weight, "bias": bias, "applied": rule.applied}
    changed |= {f"states[{k}] of weight": state for k, state in enumerate(weight_states)}
    changed |= {f"states[{k}] of bias": state for k, state in enumerate(bias_states)}
    inputs = (
        ("x", x, features), ("target", target, targets), ("order", order, places),
        ("scale", scale, scales), ("shift", shift, shifts),
    )  # fmt: skip
    for name, array in changed.items():
        check_all_apart(array, inputs, name)
    try:
        run = _native.module.train(
            rule.applied,
            weight,
            bias,
            weight_states,
            bias_states,
            features,
            targets,
            labels,
            places,
            scales,
            shifts,
            size,
            rule.name,
            rule_settings(rule),
            None if max_norm is None else as_real("max_norm", max_norm),
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, target=target, order=order) from None
    return as_run(*run)


def as_run(loss: float, correct: int, rows: int, steps: int, bad_row: int) -> TrainRun:
    """Return what a run amounts to, or raise FloatingPointError if a row has ended it."""
    if bad_row >= 0:
        raise FloatingPointError(
            f"features or loss are not finite in step {steps} of this run, first in row {bad_row}; "
            "the step was not applied, the parameters are those of the last whole step"
        )
    return TrainRun(loss, correct, rows, steps)


def _evaluate(
    labels: bool,
    x: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    order: ArrayLike | None,
    scale: ArrayLike | None,
    shift: ArrayLike | None,
    threads: int | None,
) -> TrainRun:
    w = as_float("weight", weight)
    scales, shifts = _affine(scale, shift, w)
    try:
        loss, correct, rows, steps, _ = _native.module.evaluate(
            w,
            None if bias is None else as_float("bias", bias, w, "weight"),
            as_features("x", x),
            _targets(labels, target, w),
            labels,
            None if order is None else as_targets("order", order),
            scales,
            shifts,
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, target=target, order=order) from None
    return TrainRun(loss, correct, rows, steps)


def _targets(labels: bool, target: ArrayLike, weight: Array) -> Array:
    if labels:
        return as_targets("target", target)
    array = as_float("target", target, weight, "weight")
    if array.ndim != 1:
        return array
    if weight.ndim and weight.shape[0] != 1:
        raise ValueError(
            f"target has shape {array.shape}; accepted: (n, {weight.shape[0]}), or (n,) for one "
            "output"
        )
    return array.reshape(-1, 1)


def _affine(
    scale: ArrayLike | None, shift: ArrayLike | None, weight: Array
) -> tuple[Array | None, Array | None]:
    scales, shifts = as_affine(scale, shift, weight, weight.dtype)
    return scales, None if shift is None else shifts  # a scale alone is folded into the weights
