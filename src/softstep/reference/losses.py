"""Mean squared error, binary cross-entropy of logits, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, as_array, as_floats, check_reduction, check_shape, finish, rounded


def mse_loss_with_grad(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Any = None,
    threads: Any = None,
) -> tuple[Any, Any]:
    """``weight (prediction - target)^2`` and ``dprediction``; the mean divides by all weights.

    See :func:`softstep.kernels.mse_loss_with_grad`.

    Parameters
    ----------
    prediction, target, weight, reduction, out, threads
        As in :func:`softstep.kernels.mse_loss_with_grad`.

    Examples
    --------
    >>> loss, dprediction = mse_loss_with_grad([1.0, 2.0], [0.0, 0.0])
    >>> float(loss), dprediction
    (2.5, array([1., 2.]))
    """
    losses, gradient, weights, array = _squared_errors(prediction, target, weight, reduction)
    loss = _reduce(losses, float(weights.sum()), reduction)
    if reduction == "mean":
        total = weights.sum()
        gradient = gradient / total if total else np.zeros_like(gradient)
    apart = (target, weight)
    return rounded(loss, array.dtype), finish(gradient, array.dtype, out, prediction, apart)


def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``weight (prediction - target)^2``, reduced. See :func:`softstep.kernels.mse_loss`.

    Parameters
    ----------
    prediction, target, weight, reduction, out, threads
        As in :func:`softstep.kernels.mse_loss`.

    Examples
    --------
    >>> float(mse_loss([1.0, 2.0], [0.0, 0.0]))
    2.5
    """
    losses, _, weights, array = _squared_errors(prediction, target, weight, reduction)
    _check_out(out, reduction)
    loss = _reduce(losses, float(weights.sum()), reduction)
    return finish(np.asarray(loss), array.dtype, out, prediction, (target, weight))


def binary_cross_entropy_with_logits_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Any = None,
    threads: Any = None,
) -> tuple[Any, Any]:
    """``-weight (pos_weight t log sigmoid(x) + (1 - t) log sigmoid(-x))`` and ``dlogits``.

    See :func:`softstep.kernels.binary_cross_entropy_with_logits_with_grad`.

    Parameters
    ----------
    logits, target, weight, pos_weight, reduction, out, threads
        As in :func:`softstep.kernels.binary_cross_entropy_with_logits_with_grad`.

    Examples
    --------
    >>> loss, dlogits = binary_cross_entropy_with_logits_with_grad([0.0, 0.0], [1, 0])
    >>> float(loss).__round__(6), dlogits
    (0.693147, array([-0.25,  0.25]))
    """
    losses, gradient, array = _logistic_losses(logits, target, weight, pos_weight, reduction)
    loss = _reduce(losses, losses.size, reduction)
    if reduction == "mean":
        gradient = gradient / max(losses.size, 1)
    apart = (target, weight, pos_weight)
    return rounded(loss, array.dtype), finish(gradient, array.dtype, out, logits, apart)


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``-weight (pos_weight t log sigmoid(x) + (1 - t) log sigmoid(-x))``, reduced.

    See :func:`softstep.kernels.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    logits, target, weight, pos_weight, reduction, out, threads
        As in :func:`softstep.kernels.binary_cross_entropy_with_logits`.

    Examples
    --------
    >>> float(binary_cross_entropy_with_logits([0.0], [1.0])).__round__(6)
    0.693147
    """
    losses, _, array = _logistic_losses(logits, target, weight, pos_weight, reduction)
    _check_out(out, reduction)
    loss = _reduce(losses, losses.size, reduction)
    return finish(np.asarray(loss), array.dtype, out, logits, (target, weight, pos_weight))


def _squared_errors(
    prediction: ArrayLike, target: ArrayLike, weight: ArrayLike | None, reduction: str
) -> tuple[Array, Array, Array, Array]:
    array = as_floats(prediction, "prediction")
    wanted = check_shape(as_floats(target, "target", array.dtype), "target", array.shape)
    weights = _spread(weight, "weight", array)
    check_reduction(reduction)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = array.astype(np.float64) - wanted.astype(np.float64)
        return weights * difference**2, 2 * weights * difference, weights, array


def _logistic_losses(
    logits: ArrayLike, target: ArrayLike, weight: Any, pos_weight: Any, reduction: str
) -> tuple[Array, Array, Array]:
    array = as_floats(logits, "logits")
    labels = as_array(target, "target")
    labels = labels.astype(array.dtype) if labels.dtype == bool else target  # type: ignore[assignment]
    t = check_shape(as_floats(labels, "target", array.dtype), "target", array.shape)
    wrong = ~((t >= 0) & (t <= 1))
    if wrong.any():
        raise ValueError(f"target: expected 0 to 1, got {t[wrong][0]}")
    weights, positive = _spread(weight, "weight", array), _spread(pos_weight, "pos_weight", array)
    check_reduction(reduction)
    x, yes = array.astype(np.float64), t.astype(np.float64) * positive
    no = 1 - t.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        e = np.exp(-np.abs(x))
        losses = _product(yes, np.maximum(-x, 0) + np.log1p(e))
        losses = losses + _product(no, np.maximum(x, 0) + np.log1p(e))
        sigmoid, rest = np.where(x < 0, e, 1) / (1 + e), np.where(x < 0, 1, e) / (1 + e)
        return weights * losses, weights * (no * sigmoid - yes * rest), array


def _product(factor: Array, value: Array) -> Array:
    """Their product, 0 where the factor is 0 and the value is infinite."""
    return np.where((factor == 0) & ~np.isnan(value), 0, factor * value)


def _spread(value: ArrayLike | None, name: str, like: Array) -> Array:
    """Weights of each element, in float64."""
    if value is None:
        return np.ones(like.shape)
    array = as_floats(value, name, like.dtype).astype(np.float64)
    try:
        return np.broadcast_to(array, like.shape)
    except ValueError:
        raise ValueError(f"{name}: expected what broadcasts to {like.shape}") from None


def _check_out(out: Any, reduction: str) -> None:
    if out is not None and reduction != "none":
        raise ValueError("out: expected None unless the reduction is 'none'")


def _reduce(losses: Array, divisor: float, reduction: str) -> Any:
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / divisor if divisor else np.float64(np.nan)
