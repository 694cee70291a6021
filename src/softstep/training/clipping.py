"""Clipping of gradients by their common norm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.kernels._arrays import as_float
from softstep.models.parameter import Parameter

__all__ = ["clip_gradients"]


def clip_gradients(
    params: Iterable[Parameter], max_norm: float, *, threads: int | None = None
) -> float:
    """Multiply the gradients of parameters by ``min(1, max_norm / (norm + 1e-6))``.

    `norm` is that of all gradients together; parameters without one are left out.

    Parameters
    ----------
    params : iterable of Parameter
    max_norm : float
        The norm that gradients may have together, at least 0.
    threads : int, optional
        How many threads at the most; see `softstep.threads`.

    Returns
    -------
    float
        The norm before clipping; see `softstep.kernels.clip_grad_norm`.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 9.5.3.
    """
    kernels.clip_grad_norm([], max_norm)  # says whether the number is accepted
    groups: dict[np.dtype[Any], list[NDArray[Any]]] = {}
    for i, parameter in enumerate(params):
        if parameter.grad is not None:
            grad = as_float(f"the gradient of params[{i}]", parameter.grad, parameter.data, "it")
            if not (grad.flags.carray and grad.flags.owndata):  # somebody else's: scale a copy
                grad = np.array(grad, order="C")
            parameter.grad = grad
            groups.setdefault(grad.dtype, []).append(grad)
    if len(groups) <= 1:
        return sum(kernels.clip_grad_norm(group, max_norm, threads=threads)
                   for group in groups.values())  # fmt: skip
    norm = math.hypot(*(
        kernels.clip_grad_norm(group, math.inf, threads=threads) for group in groups.values()
    ))  # fmt: skip
    factor = min(1.0, max_norm / (norm + 1e-6)) if not math.isnan(norm) else norm
    for group in groups.values():
        for grad in group:
            grad *= factor
    return norm
