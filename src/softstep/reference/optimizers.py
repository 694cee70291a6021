"""SGD, RMSprop, Adam and AdamW in the order of ``torch.optim``, and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from ._checks import FLOATS, Array, as_floats, check_shape, check_writable, rounded


def check_settings(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    """Raise ``ValueError`` for settings that PyTorch's SGD refuses too, and for NaN."""
    _check_numbers(lr=lr, momentum=momentum, weight_decay=weight_decay)
    if not math.isfinite(dampening):
        raise ValueError(f"dampening: expected a finite number, got {dampening}")
    if nesterov and not (momentum > 0 and dampening == 0):
        raise ValueError("nesterov: expected momentum > 0 and dampening = 0 with it")


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: expected a finite number >= 0, got {value}")


def _check_betas(betas: tuple[float, float]) -> None:
    for i, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"betas[{i}]: expected a number from 0 to below 1, got {beta}")


def _check_max_norm(max_norm: float | None) -> None:
    if max_norm is not None and not max_norm >= 0:
        raise ValueError(f"max_norm: expected a number >= 0, got {max_norm}")


def _as_list(value: Any, name: str, like: Any, count: int) -> list[Any]:
    """Return the arrays of an argument: one, or as many as `like` has."""
    if not isinstance(like, (list, tuple)):
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise ValueError(f"{name}: expected a list of {count} arrays")
    return list(value)


def _step(
    param: Any,
    grad: Any,
    states: dict[str, Any],
    max_norm: float | None,
    update: Callable[..., tuple[Array, ...]],
) -> float | None:
    """Check everything, clip, and write what ``update(p, g, *states)`` returns for each array."""
    _check_max_norm(max_norm)
    params = list(param) if isinstance(param, (list, tuple)) else [param]
    for p in params:
        if not isinstance(p, np.ndarray) or p.dtype not in FLOATS:
            raise TypeError("param: expected a NumPy array of float32 or float64")
        if p.dtype != params[0].dtype:
            raise TypeError("param: expected arrays of one dtype")
    given = _as_list(grad, "grad", param, len(params))
    kept = {
        name: _as_list(value, name, param, len(params))
        for name, value in states.items()
        if value is not None
    }
    written: list[Any] = []
    for i, p in enumerate(params):
        written.append(check_writable(p, "param", p.dtype, p.shape, apart=(*written, *given)))
        for name, arrays in kept.items():
            apart = (*params, *written, *given)
            written.append(check_writable(arrays[i], name, p.dtype, p.shape, apart=apart))
    gradients = [
        check_shape(as_floats(g, "grad", p.dtype), "grad", p.shape)
        for g, p in zip(given, params, strict=True)
    ]
    wide = [gradient.astype(np.float64) for gradient in gradients]
    norm = None
    if max_norm is not None:
        norm = _norm(wide)
        with np.errstate(invalid="ignore"):
            wide = [gradient * _factor(norm, max_norm) for gradient in wide]
    for i, (p, gradient) in enumerate(zip(params, wide, strict=True)):
        arrays = [p, *(kept[name][i] if name in kept else None for name in states)]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore", under="ignore"):
            before = [None if a is None else a.astype(np.float64) for a in arrays]
            after = update(before[0], gradient, *before[1:])
        for array, value in zip(arrays, after, strict=True):
            if array is not None and value is not None:
                array[...] = rounded(np.asarray(value), array.dtype)
    return norm


def _directed(g: Array, p: Array, weight_decay: float, maximize: bool) -> Array:
    """Return the gradient with its sign and its weight decay."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g


def _norm(gradients: list[Array]) -> float:
    with np.errstate(over="ignore"):
        return math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients))


def _factor(norm: float, max_norm: float) -> float:
    """PyTorch's clip factor; a NaN stays."""
    with np.errstate(invalid="ignore"):
        factor = np.float64(max_norm) / np.float64(norm + 1e-6)
    return 1.0 if factor > 1 else float(factor)


def sgd_step(
    param: Any,
    grad: Any,
    momentum_buffer: Any = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first_step: bool = False,
    max_norm: float | None = None,
    threads: Any = None,
) -> float | None:
    """Update ``param`` and ``momentum_buffer`` in place. See :func:`softstep.kernels.sgd_step`.

    Parameters
    ----------
    param, grad, momentum_buffer, lr, momentum, dampening, weight_decay, nesterov, maximize
        As in :func:`softstep.kernels.sgd_step`.
    first_step, max_norm, threads
        As there.

    Examples
    --------
    >>> param = np.array([1.0])
    >>> sgd_step(param, [0.5], lr=0.1)
    >>> param
    array([0.95])
    """
    check_settings(lr, momentum, dampening, weight_decay, nesterov)
    if momentum and momentum_buffer is None:
        raise ValueError("momentum_buffer: expected an array, since momentum is not 0")

    def update(p: Array, g: Array, buffer: Any) -> tuple[Any, ...]:
        g = _directed(g, p, weight_decay, maximize)
        if not momentum:
            return p - lr * g, None
        velocity = g if first_step else momentum * buffer + (1 - dampening) * g
        return p - lr * (g + momentum * velocity if nesterov else velocity), velocity

    return _step(param, grad, {"momentum_buffer": momentum_buffer}, max_norm, update)


def rmsprop_step(
    param: Any,
    grad: Any,
    square_avg: Any,
    *,
    grad_avg: Any = None,
    momentum_buffer: Any = None,
    lr: float = 0.01,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: Any = None,
) -> float | None:
    """Update ``param`` and its averages in place. See :func:`softstep.kernels.rmsprop_step`.

    Parameters
    ----------
    param, grad, square_avg, grad_avg, momentum_buffer, lr, alpha, eps, weight_decay, momentum
        As in :func:`softstep.kernels.rmsprop_step`.
    maximize, max_norm, threads
        As there.

    Examples
    --------
    >>> param, square_avg = np.array([1.0]), np.zeros(1)
    >>> rmsprop_step(param, [2.0], square_avg, lr=0.25, alpha=0.75)
    >>> param.round(6), square_avg
    (array([0.5]), array([1.]))
    """
    _check_numbers(lr=lr, eps=eps, weight_decay=weight_decay, momentum=momentum)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha}")
    if square_avg is None:
        raise TypeError("square_avg: expected an array")
    if momentum and momentum_buffer is None:
        raise ValueError("momentum_buffer: expected an array, since momentum is not 0")

    def update(p: Array, g: Array, squares: Array, mean: Any, buffer: Any) -> tuple[Any, ...]:
        g = _directed(g, p, weight_decay, maximize)
        squares = alpha * squares + (1 - alpha) * g**2
        variance = squares
        if mean is not None:
            mean = mean + (1 - alpha) * (g - mean)
            variance = np.maximum(squares - mean**2, 0)
        g = g / (np.sqrt(variance) + eps)
        if momentum:
            g = buffer = momentum * buffer + g
        return p - lr * g, squares, mean, buffer if momentum else None

    states = {"square_avg": square_avg, "grad_avg": grad_avg, "momentum_buffer": momentum_buffer}
    return _step(param, grad, states, max_norm, update)


def adam_step(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    *,
    step: int,
    max_exp_avg_sq: Any = None,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: Any = None,
) -> float | None:
    """Update ``param`` and its averages in place. See :func:`softstep.kernels.adam_step`.

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq, step, max_exp_avg_sq, lr, betas, eps, weight_decay
        As in :func:`softstep.kernels.adam_step`.
    maximize, max_norm, threads
        As there.

    Examples
    --------
    >>> param, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> adam_step(param, [2.0], m, v, step=1, lr=0.25)
    >>> param.round(6)
    array([0.75])
    """
    return _adam(
        param, grad, exp_avg, exp_avg_sq, step, max_exp_avg_sq, lr, betas, eps, weight_decay,
        False, maximize, max_norm,
    )  # fmt: skip


def adamw_step(
    param: Any,
    grad: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    *,
    step: int,
    max_exp_avg_sq: Any = None,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    maximize: bool = False,
    max_norm: float | None = None,
    threads: Any = None,
) -> float | None:
    """Update ``param`` and its averages in place. See :func:`softstep.kernels.adamw_step`.

    Parameters
    ----------
    param, grad, exp_avg, exp_avg_sq, step, max_exp_avg_sq, lr, betas, eps, weight_decay
        As in :func:`softstep.kernels.adamw_step`.
    maximize, max_norm, threads
        As there.

    Examples
    --------
    >>> param, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> adamw_step(param, [2.0], m, v, step=1, lr=0.25, weight_decay=0.5)
    >>> param.round(6)
    array([0.625])
    """
    return _adam(
        param, grad, exp_avg, exp_avg_sq, step, max_exp_avg_sq, lr, betas, eps, weight_decay,
        True, maximize, max_norm,
    )  # fmt: skip


def _adam(
    param: Any, grad: Any, exp_avg: Any, exp_avg_sq: Any, step: int, max_exp_avg_sq: Any,
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, decoupled: bool,
    maximize: bool, max_norm: float | None,
) -> float | None:  # fmt: skip
    _check_numbers(lr=lr, eps=eps, weight_decay=weight_decay)
    _check_betas(betas)
    if index(step) < 1:
        raise ValueError(f"step: expected an integer of at least 1, got {step}")
    for name, state in (("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)):
        if state is None:
            raise TypeError(f"{name}: expected an array")
    beta1, beta2 = betas

    def update(p: Array, g: Array, m: Array, v: Array, largest: Any) -> tuple[Any, ...]:
        g = _directed(g, p, 0.0 if decoupled else weight_decay, maximize)
        if decoupled:
            p = p * (1 - lr * weight_decay)
        m = m + (1 - beta1) * (g - m)
        v = beta2 * v + (1 - beta2) * g**2
        if largest is not None:
            largest = np.maximum(largest, v)
        second = v if largest is None else largest
        root = np.sqrt(second) / math.sqrt(1 - beta2**step) + eps
        return p - lr / (1 - beta1**step) * m / root, m, v, largest

    states = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "max_exp_avg_sq": max_exp_avg_sq}
    return _step(param, grad, states, max_norm, update)


def clip_grad_norm(grads: Any, max_norm: float, *, threads: Any = None) -> float:
    """Scale gradients in place to a common norm. See :func:`softstep.kernels.clip_grad_norm`.

    Parameters
    ----------
    grads, max_norm, threads
        As in :func:`softstep.kernels.clip_grad_norm`.

    Examples
    --------
    >>> grads = [np.array([3.0]), np.array([4.0])]
    >>> clip_grad_norm(grads, 2.5)
    5.0
    >>> grads[0].round(6)
    array([1.5])
    """
    _check_max_norm(max_norm)
    arrays = list(grads) if isinstance(grads, (list, tuple)) else [grads]
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.dtype not in FLOATS:
            raise TypeError("grads: expected NumPy arrays of float32 or float64")
        if array.dtype != arrays[0].dtype:
            raise TypeError("grads: expected arrays of one dtype")
        check_writable(array, "grads", array.dtype, array.shape, apart=tuple(arrays[:i]))
    norm = _norm(arrays)
    factor = _factor(norm, max_norm)
    for array in arrays:
        if factor != 1:
            with np.errstate(invalid="ignore"):
                array[...] = rounded(array * np.float64(factor), array.dtype)
    return norm
