"""Stochastic gradient descent in the order of ``torch.optim.SGD``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import FLOATS, as_floats, check_shape, check_writable, rounded


def check_settings(
    lr: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool
) -> None:
    """Raise ``ValueError`` for settings that PyTorch's SGD refuses too, and for NaN."""
    for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
        if not value >= 0:
            raise ValueError(f"{name}: expected a number >= 0, got {value}")
    if dampening != dampening:
        raise ValueError(f"dampening: expected a number, got {dampening}")
    if nesterov and not (momentum > 0 and dampening == 0):
        raise ValueError("nesterov: expected momentum > 0 and dampening = 0 with it")


def sgd_step(
    param: Any,
    grad: ArrayLike,
    momentum_buffer: Any = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first_step: bool = False,
    threads: Any = None,
) -> None:
    """Update ``param`` and ``momentum_buffer`` in place. See :func:`softstep.kernels.sgd_step`.

    Examples
    --------
    >>> param = np.array([1.0])
    >>> sgd_step(param, [0.5], lr=0.1)
    >>> param
    array([0.95])
    """
    check_settings(lr, momentum, dampening, weight_decay, nesterov)
    if not isinstance(param, np.ndarray) or param.dtype not in FLOATS:
        raise TypeError("param: expected a NumPy array of float32 or float64")
    check_writable(param, "param", param.dtype, param.shape)
    if isinstance(grad, np.ndarray) and np.may_share_memory(param, grad):
        raise ValueError("grad: overlaps param")
    gradient = check_shape(as_floats(grad, "grad", param.dtype), "grad", param.shape)
    step = gradient.astype(np.float64)
    if maximize:
        step = -step
    if weight_decay:
        step = step + weight_decay * param.astype(np.float64)
    if momentum:
        if momentum_buffer is None:
            raise ValueError("momentum_buffer: expected an array, since momentum is not 0")
        buffer = check_writable(
            momentum_buffer, "momentum_buffer", param.dtype, param.shape, apart=(param, grad)
        )
        if first_step:
            velocity = step
        else:
            velocity = momentum * buffer.astype(np.float64) + (1 - dampening) * step
        buffer[...] = rounded(velocity, buffer.dtype)
        step = step + momentum * velocity if nesterov else velocity
    param[...] = rounded(param - lr * step, param.dtype)
