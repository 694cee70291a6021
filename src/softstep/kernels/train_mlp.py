"""The fused path of multilayer perceptrons: whole runs of minibatches in one native call."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    as_affine,
    as_features,
    as_real,
    as_targets,
    check_all_apart,
    check_in_place,
    exactly,
)
from softstep.kernels.linear import Activation, check_activation
from softstep.kernels.rules import (
    OptimizerRule,
    as_batch_size,
    chosen_rule,
    rule_settings,
    rule_states,
)
from softstep.kernels.train_step import TrainRun, as_run
from softstep.runtime import resolve_threads


def train_mlp(
    x: ArrayLike,
    target: ArrayLike,
    order: ArrayLike,
    parameters: Sequence[Array | None],
    *,
    activation: Activation | None = "relu",
    batch_size: int,
    lr: float | None = None,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_buffers: Sequence[Array | None] | None = None,
    first_step: bool = False,
    rule: OptimizerRule | None = None,
    max_norm: float | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> TrainRun:
    """Train a multilayer perceptron for classification over minibatches, in one native call.

    For each minibatch: all layers forward, the mean cross-entropy of the last one's outputs, all
    layers backward, one step of SGD, or of `rule`, on all parameters. To the bit what `linear`,
    `cross_entropy_with_grad`, `linear_backward` and the optimizer's function make of it.

    Parameters
    ----------
    x : array_like, (n, K), uint8, int8, float16, bfloat16, float32 or float64
    target : array_like of any integer dtype, (n,)
        The classes. Copied if not int64 and contiguous, as is `order`.
    order : array_like of integers, (m,)
        The rows, in this order; each may come any number of times. Minibatches are cut from it.
    parameters : sequence of ndarray, float32 or float64
        ``weight_1, bias_1, weight_2, bias_2, ...``: weights (outputs, inputs), the inputs of the
        first being K and those of each other the outputs of the one before; biases (outputs,), or
        None. Changed in place, as are the buffers: C-contiguous, aligned, writable, apart from each
        other and the inputs. Their dtype is that of the computation.
    activation : {"relu", "sigmoid", "tanh"}, optional
        Of all layers but the last.
    batch_size : int
        At least 1.
    lr, momentum, dampening, weight_decay, nesterov, maximize
        As `sgd_step`; `lr` is needed unless there is a `rule`.
    momentum_buffers : sequence of ndarrays like the parameters
        Needed when `momentum` is not 0.
    first_step : bool
        Fill the buffers in the first minibatch instead of reading them.
    rule : OptimizerRule, optional
        Another optimizer, in the place of SGD and its arguments above; each of its states is a
        sequence of arrays like the parameters.
    max_norm : float, optional
        Clip the gradient of each minibatch to this global norm, as `clip_grad_norm` does.
    scale, shift : float or array_like, (K,), optional
        Train on ``x * scale + shift``, computed as the features are read.
    threads : int, optional
        See `softstep.threads`.

    Returns
    -------
    TrainRun
        `loss` (sum of row losses), `correct`, `rows`, `steps`.

    Raises
    ------
    TypeError, ValueError
        An argument has another dtype, shape or value than those above; nothing has changed.
    IndexError
        A row number or a class is out of range; nothing has changed.
    FloatingPointError
        A feature or a loss was not finite; its minibatch has not been applied.
    KeyboardInterrupt
        Ctrl-C: between minibatches, so that each is applied as a whole or not at all.

    References
    ----------
    Zhang, Lipton, Li, Smola, *Dive into Deep Learning*, sections 5.1 to 5.3.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.kernels import train_mlp
    >>> x, target = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> rng = np.random.default_rng(0)
    >>> w1, w2 = rng.normal(0, 1, (8, 2)), rng.normal(0, 1, (2, 8))
    >>> parameters = [w1, np.zeros(8), w2, np.zeros(2)]
    >>> run = train_mlp(x, target, [0, 1, 2, 3] * 200, parameters, batch_size=4, lr=0.5)
    >>> train_mlp(x, target, [0, 1, 2, 3], parameters, batch_size=4, lr=0.0).correct
    4
    """
    arrays = _parameters(parameters)
    check_activation("activation", activation)
    sgd = {
        "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
        "nesterov": nesterov, "maximize": maximize, "first_step": first_step,
    }  # fmt: skip
    rule = chosen_rule(rule, lr, momentum_buffers, sgd, len(arrays))
    states = rule_states(rule, len(arrays))
    size = as_batch_size(batch_size)
    features, labels = as_features("x", x), as_targets("target", target)
    places = as_targets("order", order)
    dtype = features.dtype if arrays[0] is None else arrays[0].dtype
    scales, shifts = as_affine(scale, shift, features, dtype)
    inputs = (
        ("x", x, features), ("target", target, labels), ("order", order, places),
        ("scale", scale, scales), ("shift", shift, shifts),
    )  # fmt: skip
    changed = {f"parameters[{i}]": array for i, array in enumerate(arrays)}
    changed["applied"] = rule.applied
    for k, state in enumerate(states):
        where = "momentum_buffers" if rule.name == "sgd" else f"states[{k}]"
        changed |= {f"{where}[{i}]": array for i, array in enumerate(state)}
    for name, changed_array in changed.items():
        check_all_apart(changed_array, inputs, name)
    try:
        run = _native.module.train_mlp(
            rule.applied,
            arrays,
            states,
            features,
            labels,
            places,
            scales,
            shifts,
            activation or "none",
            size,
            rule.name,
            rule_settings(rule),
            None if max_norm is None else as_real("max_norm", max_norm),
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, target=target, order=order) from None
    return as_run(*run)


def _parameters(parameters: Sequence[Array | None]) -> list[Array | None]:
    """Return the parameters as a list, or raise TypeError."""
    try:
        arrays = list(parameters)
    except TypeError:
        raise TypeError(
            f"parameters is a {type(parameters).__name__}; accepted: a sequence of ndarrays, a "
            "weight and a bias for each layer"
        ) from None
    for i, array in enumerate(arrays):
        if array is not None:
            check_in_place(f"parameters[{i}]", array)
    if len(arrays) == 0 or len(arrays) % 2:
        raise ValueError(
            f"parameters holds {len(arrays)} arrays; accepted: a weight and a bias (or None) for "
            "each layer"
        )
    return arrays
