"""Cross-entropy of logits with class labels or distributions, and its gradient.

A target lays the mass ``u_j = w_j ((1 - e) p_j + e / C)`` on class j, with ``p`` the distribution
or the one-hot label, ``w`` the class weights and ``e`` the label smoothing. The loss of a row is
``s sum_j u_j (logsumexp(x) - x_j)`` with ``s`` its sample weight; its gradient is
``s (sum(u) softmax(x) - u)``. For a label without smoothing the target's own entry,
``w_t (p_t - 1)``, is written as minus the sum of the others, which keeps its digits when ``p_t`` is
close to 1.
"""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._checks import (
    Array,
    as_array,
    as_labels,
    as_logits,
    check_reduction,
    check_shape,
    class_axis,
    finish,
    rounded,
)
from .softmax import shifted_and_rest


class ByProducts(NamedTuple):
    """See :class:`softstep.kernels.ByProducts`.

    Parameters
    ----------
    row_loss, logsumexp, predicted, correct
        As in :class:`softstep.kernels.ByProducts`.
    """

    row_loss: Any = None
    logsumexp: Any = None
    predicted: Any = None
    correct: Any = None


def _as_numbers(value: object, name: str) -> Array:
    array = as_array(value, name)
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name}: expected floats or integers, got dtype {array.dtype}")
    return array.astype(np.float64)


def _as_weights(value: object, name: str, count: int) -> Array:
    if value is None:
        return np.ones(count)
    weights = check_shape(_as_numbers(value, name), name, (count,))
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"{name}: expected finite numbers of at least 0, got {weights}")
    return weights


def _as_distribution(target: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    given = as_array(target, "target").dtype
    if given.name == "bfloat16":
        eps = 2.0**-7
    else:
        eps = max(np.finfo(kind).eps for kind in (dtype, given) if kind.kind == "f")
    distribution = check_shape(_as_numbers(target, "target"), "target", shape)
    off = np.abs(distribution.sum(1) - 1)
    right = (distribution >= 0).all(1) & (off <= np.sqrt(eps))
    if not right.all():
        row = int(right.argmin())
        raise ValueError(
            f"target: row {row} is no distribution: {distribution[row]}, sum "
            f"{distribution[row].sum()}; expected entries of at least 0 with the sum 1"
        )
    return distribution


def _first_maximum(x: Array) -> Array:
    """Return the first maximum of each row, -1 for a row with NaN."""
    return np.asarray(np.where(np.isnan(x).any(1), -1, x.argmax(1)))


def _losses(shifted: Array, log_total: Array, mass: Array) -> Array:
    """``sum_j mass_j (logsumexp - x_j)`` of each row; no mass, no contribution."""
    with np.errstate(invalid="ignore"):
        distances = np.where(mass == 0, 0, -mass * shifted)
    return np.asarray(mass.sum(1) * log_total[:, 0] + distances.sum(1))


def _gradients(softmax: Array, mass: Array, labels: Array | None) -> Array:
    """``sum(mass) softmax - mass`` of each row; `labels` where all mass is in one column."""
    total = mass.sum(1, keepdims=True)
    if labels is None:
        return np.asarray(total * softmax - mass)
    column = labels[:, None]
    gradients: Array = total * softmax
    # Times 0, not 0: the NaN of an undefined row stays.
    np.put_along_axis(gradients, column, 0 * np.take_along_axis(gradients, column, 1), 1)
    np.put_along_axis(gradients, column, -gradients.sum(1, keepdims=True), 1)
    return gradients


def wide_cross_entropy(
    array: Array,
    target: ArrayLike,
    dtype: np.dtype[Any],
    *,
    class_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> tuple[Any, Array, dict[str, Any]]:
    """Loss, gradient and by-products in float64, of checked logits that stand for this dtype."""
    check_reduction(reduction)
    rows, classes = array.shape
    w = _as_weights(class_weight, "class_weight", classes)
    s = _as_weights(sample_weight, "sample_weight", rows)
    try:
        smoothing = float(label_smoothing)
    except (TypeError, ValueError):
        raise TypeError(f"label_smoothing: expected a number, got {label_smoothing!r}") from None
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected 0 to 1, got {smoothing}")

    if as_array(target, "target").ndim == 2:
        p, safe = _as_distribution(target, array.shape, dtype), None
        counted, right = np.ones(rows, bool), p.argmax(1)
        divisor = s.sum()
    else:
        labels = as_labels(target, rows, classes, ignore_index)
        counted = labels != index(ignore_index)
        right = safe = np.where(counted, labels, 0)
        p = np.zeros(array.shape)
        p[np.arange(rows), right] = 1
        divisor = (s * w[right])[counted].sum()
    mass = w * ((1 - smoothing) * p + smoothing / classes)

    shifted, maximum, rest = shifted_and_rest(array, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        losses = _losses(shifted, np.log1p(rest), mass)
        # A row of weight 0 has loss 0, though 0 * inf is NaN.
        losses = np.where((s == 0) & (losses == np.inf), 0, s * losses)
        softmax = np.exp(shifted) / (1 + rest)
        gradients = s[:, None] * _gradients(softmax, mass, None if smoothing else safe)
    losses = np.where(counted, losses, 0.0)
    gradients = np.where(counted[:, None], gradients, 0.0)

    loss: Any = losses
    if reduction == "sum":
        loss = losses.sum()
    elif reduction == "mean":
        loss = losses.sum() / divisor if divisor else np.float64(np.nan)
        gradients = gradients / (divisor or np.inf)
    logsumexp = np.where(np.isinf(maximum), maximum, maximum + np.log1p(rest))[:, 0]
    logsumexp[np.isnan(array).any(1)] = np.nan
    predicted = _first_maximum(array)
    found = {
        "row_loss": losses,
        "logsumexp": logsumexp,
        "predicted": predicted,
        "correct": int(((predicted == right) & counted).sum()),
    }
    return loss, gradients, found


def names_of(byproducts: Any) -> tuple[str, ...]:
    """By-products that are wanted, checked."""
    wanted = (byproducts,) if isinstance(byproducts, str) else tuple(byproducts)
    if not set(wanted) <= set(ByProducts._fields):
        raise ValueError(f"byproducts: expected any of {ByProducts._fields}, got {wanted}")
    return wanted


def chosen(
    found: dict[str, Any], wanted: tuple[str, ...], dtype: np.dtype[Any]
) -> tuple[ByProducts, ...]:
    """Return the by-products that are wanted, rounded; nothing if none are."""
    for name in ("row_loss", "logsumexp"):
        found[name] = rounded(found[name], dtype)
    return (ByProducts(**{name: found[name] for name in wanted}),) if wanted else ()


def cross_entropy_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    byproducts: Any = (),
    out: Any = None,
    threads: Any = None,
) -> Any:
    """Loss and ``dlogits``. See :func:`softstep.kernels.cross_entropy_with_grad`.

    Parameters
    ----------
    logits, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As in :func:`softstep.kernels.cross_entropy_with_grad`.
    byproducts, out, threads
        As there.

    Examples
    --------
    >>> loss, dlogits = cross_entropy_with_grad([[0.0, 0.0]], [1])
    >>> dlogits
    array([[ 0.5, -0.5]])
    """
    array = as_logits(logits, ndim=2)
    class_axis(array, 1)
    wanted = names_of(byproducts)
    dtype = array.dtype
    loss, gradients, found = wide_cross_entropy(
        array,
        target,
        dtype,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    result = rounded(loss, dtype), finish(gradients, dtype, out, logits, (target,))
    return (*result, *chosen(found, wanted, dtype))


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    byproducts: Any = (),
    out: Any = None,
    threads: Any = None,
) -> Any:
    """Loss of logits (N, C). See :func:`softstep.kernels.cross_entropy`.

    Parameters
    ----------
    logits, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As in :func:`softstep.kernels.cross_entropy`.
    byproducts, out, threads
        As there.

    Examples
    --------
    >>> float(cross_entropy([[0.0, 0.0]], [1]))
    0.6931471805599453
    """
    if out is not None and reduction != "none":
        raise ValueError("out: expected with reduction='none' only")
    loss, _, *more = cross_entropy_with_grad(
        logits,
        target,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        byproducts=byproducts,
    )
    if out is not None:
        loss = finish(np.asarray(loss), loss.dtype, out, None, (logits, target))
    return (loss, *more) if more else loss
