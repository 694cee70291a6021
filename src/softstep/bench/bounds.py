"""How far float32 results of any library may be from what float64 gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS", "TINY", "product_bound", "softmax_error", "summed"]

Array = NDArray[Any]

EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)


def summed(count: float) -> float:
    r"""Bound the relative error of a sum, in any order, of `count` terms in float32.

    :math:`\lambda \sqrt{n} u` with :math:`\lambda = 4`, at most the worst case :math:`n u`, where u
    is half of eps: libraries differ in how they add, so the bound cannot count on a tree.

    References
    ----------
    Higham, Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41
    (2019).
    """
    return min(4 * float(np.sqrt(count)), count) * EPS / 2


def softmax_error(logits: Array) -> Array:
    """Bound the relative error of exp(x - max) and of its sum, per row: (N, 1).

    x - max is rounded, which exp turns into that much relative error; 4 eps are for exp itself
    and the division.
    """
    distance = logits.max(-1, keepdims=True) - logits.min(-1, keepdims=True)
    bound = (4 + distance.astype(np.float64)) * EPS + summed(logits.shape[-1])
    return np.asarray(bound)


def product_bound(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Bound the error of the elements of ``a @ b.T + bias``, from the magnitudes that are added."""
    magnitude = np.abs(a) @ np.abs(b).T
    if bias is not None:
        magnitude += np.abs(bias)
    bound = magnitude.astype(np.float64) * (summed(a.shape[1] + 1) + EPS) * 1.01 + TINY
    return np.asarray(bound)
