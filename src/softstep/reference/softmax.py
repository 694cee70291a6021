"""Softmax, its logarithm and log-sum-exp over one axis.

With ``m = max_j x_j`` and ``r = sum of exp(x_j - m)`` over every column but one maximum::

    logsumexp(x) = m + log1p(r)      log_softmax(x)_j = (x_j - m) - log1p(r)

The maximum's own term, exp(0) = 1, is split off, so that ``log1p`` sees what ``log(1 + r)`` would
round away: at a margin of 40 the log-probability of the maximum is -4e-18, not 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, as_logits, class_axis, finish


def shifted_and_rest(logits: Array, axis: int) -> tuple[Array, Array, Array]:
    """``x - m``, ``m`` and ``r`` in float64, the axis kept.

    A row of only -inf, with a +inf or with a NaN has a NaN ``r``: inf - inf is NaN at its maximum.
    """
    x = logits.astype(np.float64)
    at_maximum = np.expand_dims(x.argmax(axis), axis)
    maximum = np.take_along_axis(x, at_maximum, axis)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        shifted = x - maximum
        terms = np.exp(shifted)
        # Exactly 0 where the maximum is finite, NaN where it is not.
        np.put_along_axis(terms, at_maximum, np.take_along_axis(terms, at_maximum, axis) - 1, axis)
    return shifted, maximum, terms.sum(axis, keepdims=True)


def softmax(logits: ArrayLike, axis: int = -1, *, out: Any = None, threads: Any = None) -> Any:
    """``exp(x_j) / sum_k exp(x_k)`` along an axis. See :func:`softstep.kernels.softmax`.

    Examples
    --------
    >>> softmax([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """
    array = as_logits(logits)
    shifted, _, rest = shifted_and_rest(array, class_axis(array, axis))
    return finish(np.exp(shifted) / (1 + rest), array.dtype, out, logits)


def log_softmax(logits: ArrayLike, axis: int = -1, *, out: Any = None, threads: Any = None) -> Any:
    """``x_j - logsumexp(x)`` along an axis. See :func:`softstep.kernels.log_softmax`.

    Examples
    --------
    >>> float(log_softmax([0.0, 40.0])[1])
    -4.248354255291589e-18
    """
    array = as_logits(logits)
    shifted, _, rest = shifted_and_rest(array, class_axis(array, axis))
    return finish(shifted - np.log1p(rest), array.dtype, out, logits)


def logsumexp(
    logits: ArrayLike,
    axis: int = -1,
    *,
    keepdims: bool = False,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``log sum_j exp(x_j)`` along an axis. See :func:`softstep.kernels.logsumexp`.

    Examples
    --------
    >>> float(logsumexp([-1000.0, -1000.0]))
    -999.3068528194401
    """
    array = as_logits(logits)
    axis = class_axis(array, axis)
    _, maximum, rest = shifted_and_rest(array, axis)
    result = np.where(np.isinf(maximum), maximum, maximum + np.log1p(rest))
    if not keepdims:
        result = np.squeeze(result, axis)
    return finish(result, array.dtype, out, None, (logits,))
