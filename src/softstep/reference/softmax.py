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

from ._checks import Array, as_floats, as_logits, check_shape, class_axis, finish


def divided(logits: Array, temperature: float) -> Array:
    """``logits / temperature`` in float64; the temperature must be a positive finite number."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature: expected a positive finite number, got {temperature!r}")
    return logits.astype(np.float64) / temperature


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


def softmax(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``exp(z_j) / sum_k exp(z_k)`` with ``z = x / temperature`` along an axis.

    See :func:`softstep.kernels.softmax`.

    Parameters
    ----------
    logits, axis, temperature, out, threads
        As in :func:`softstep.kernels.softmax`.

    Examples
    --------
    >>> softmax([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """
    array = as_logits(logits)
    shifted, _, rest = shifted_and_rest(divided(array, temperature), class_axis(array, axis))
    return finish(np.exp(shifted) / (1 + rest), array.dtype, out, logits)


def log_softmax(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``z_j - logsumexp(z)`` with ``z = x / temperature`` along an axis.

    See :func:`softstep.kernels.log_softmax`.

    Parameters
    ----------
    logits, axis, temperature, out, threads
        As in :func:`softstep.kernels.log_softmax`.

    Examples
    --------
    >>> float(log_softmax([0.0, 40.0])[1])
    -4.248354255291589e-18
    """
    array = as_logits(logits)
    shifted, _, rest = shifted_and_rest(divided(array, temperature), class_axis(array, axis))
    return finish(shifted - np.log1p(rest), array.dtype, out, logits)


def logsumexp(
    logits: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    keepdims: bool = False,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``log sum_j exp(x_j / temperature)`` along an axis. See :func:`softstep.kernels.logsumexp`.

    Parameters
    ----------
    logits, axis, temperature, keepdims, out, threads
        As in :func:`softstep.kernels.logsumexp`.

    Examples
    --------
    >>> float(logsumexp([-1000.0, -1000.0]))
    -999.3068528194401
    """
    array = as_logits(logits)
    axis = class_axis(array, axis)
    _, maximum, rest = shifted_and_rest(divided(array, temperature), axis)
    result = np.where(np.isinf(maximum), maximum, maximum + np.log1p(rest))
    if not keepdims:
        result = np.squeeze(result, axis)
    return finish(result, array.dtype, out, None, (logits,))


def softmax_backward(
    dout: ArrayLike,
    softmax: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``(g_j - sum_k g_k p_k) p_j / temperature``. See :func:`softstep.kernels.softmax_backward`.

    Parameters
    ----------
    dout, softmax, axis, temperature, out, threads
        As in :func:`softstep.kernels.softmax_backward`.

    Examples
    --------
    >>> softmax_backward([1.0, 0.0], [0.5, 0.5])
    array([ 0.25, -0.25])
    """
    dtype, g, p = _gradient_and_result(dout, softmax, "softmax")
    axis = class_axis(g, axis, "dout")
    with np.errstate(invalid="ignore", over="ignore"):
        result = divided((g - (g * p).sum(axis, keepdims=True)) * p, temperature)
    return finish(result, dtype, out, dout, () if out is dout else (softmax,))


def log_softmax_backward(
    dout: ArrayLike,
    log_softmax: ArrayLike,
    axis: int = -1,
    *,
    temperature: float = 1.0,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``(g_j - exp(q_j) sum_k g_k) / temperature``: gradient of ``q = log_softmax(x)``.

    See :func:`softstep.kernels.log_softmax_backward`.

    Parameters
    ----------
    dout, log_softmax, axis, temperature, out, threads
        As in :func:`softstep.kernels.log_softmax_backward`.

    Examples
    --------
    >>> log_softmax_backward([1.0, 0.0], np.log([0.5, 0.5])).round(4)
    array([ 0.5, -0.5])
    """
    dtype, g, q = _gradient_and_result(dout, log_softmax, "log_softmax")
    axis = class_axis(g, axis, "dout")
    with np.errstate(invalid="ignore", over="ignore"):
        result = divided(g - np.exp(q) * g.sum(axis, keepdims=True), temperature)
    return finish(result, dtype, out, dout, () if out is dout else (log_softmax,))


def _gradient_and_result(
    dout: object, result: object, name: str
) -> tuple[np.dtype[Any], Array, Array]:
    """Return the dtype, and both arrays in float64."""
    g = as_floats(dout, "dout")
    if g.ndim == 0:
        raise ValueError(f"dout: expected at least 1 dimension, got shape {g.shape}")
    r = check_shape(as_floats(result, name, g.dtype), name, g.shape)
    return g.dtype, g.astype(np.float64), r.astype(np.float64)
