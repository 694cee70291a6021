"""Losses of single elements and their gradients: squared error, binary cross-entropy of logits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    Reduction,
    as_array,
    as_float,
    check_all_apart,
    check_reduction,
    reduced,
)
from softstep.runtime import resolve_threads


def mse_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Mean squared error, :math:`w (p - t)^2` averaged over all elements.

    Parameters
    ----------
    prediction : array_like of any shape, float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order.
    target : array_like, shape and dtype of `prediction`
        Copied under the same conditions, and if it holds integers.
    weight : array_like, broadcastable to `prediction`, its dtype, optional
        The weight of each element. Read in place, without a copy of the broadcast array, if the
        axes along which it varies stand next to each other: a number, (C,), (N, 1), (N, C), ...
    reduction : {"mean", "sum", "none"}
        The mean over all elements (the sum divided by the sum of the elements' weights), the sum,
        or each element's loss.
    out : ndarray, shape and dtype of `prediction`, optional
        Where the elements' losses go, with ``reduction="none"`` only: C-contiguous, aligned,
        writable. May be `prediction` itself; may not overlap the inputs otherwise.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `prediction`. The mean over no elements, and that of weights whose sum is 0,
        is NaN; a sum over no elements 0.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Different shapes (only the weight is broadcast), an unknown reduction.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), section 3.1; the weights are those of
    ``torch.nn.functional.mse_loss``.

    Examples
    --------
    >>> from softstep.kernels import mse_loss
    >>> float(mse_loss([1.0, 3.0], [1.0, 1.0]))
    2.0
    >>> float(mse_loss([1.0, 3.0], [1.0, 1.0], weight=[3.0, 1.0]))
    1.0
    """
    p, t, w, repeat, losses = _mse_inputs(prediction, target, weight, reduction, out)
    total, weights = _native.module.squared_error(
        losses, None, p, t, w, repeat, reduction == "mean", resolve_threads(threads)
    )
    return losses if losses is not None else reduced(total, weights, reduction, p.dtype)


def mse_loss_with_grad(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: Array | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    r"""Mean squared error and its gradient in one pass, :math:`2 w (p - t) / \sum w`.

    Parameters
    ----------
    prediction : array_like of any shape, float32 or float64
    target : array_like, shape and dtype of `prediction`
    weight : array_like, broadcastable to `prediction`, its dtype, optional
        As `mse_loss`. If the weights' sum is 0, the gradient of the mean is 0.
    reduction : {"mean", "sum", "none"}
        As `mse_loss`; with "none" the gradient is that of the sum.
    out : ndarray, optional
        Where the gradient goes: shape and dtype of `prediction`, C-contiguous, aligned, writable.
        May be `prediction` itself; may not overlap the inputs otherwise.
    threads : int, optional

    Returns
    -------
    loss : scalar or ndarray
    dprediction : ndarray, shape of `prediction`

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`, before anything is written.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), section 3.1.

    Examples
    --------
    >>> from softstep.kernels import mse_loss_with_grad
    >>> loss, dprediction = mse_loss_with_grad([1.0, 3.0], [1.0, 1.0])
    >>> float(loss), dprediction
    (2.0, array([0., 2.]))
    """
    p, t, w, repeat, _ = _mse_inputs(prediction, target, weight, "sum", None)
    losses = np.empty(p.shape, p.dtype) if check_reduction(reduction) == "none" else None
    check_all_apart(
        out, (("prediction", prediction, p), ("target", target, t), ("weight", weight, w))
    )
    slope = np.empty(p.shape, p.dtype) if out is None else out
    total, weights = _native.module.squared_error(
        losses, slope, p, t, w, repeat, reduction == "mean", resolve_threads(threads)
    )
    return (losses if losses is not None else reduced(total, weights, reduction, p.dtype)), slope


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of independent yes-or-no decisions, given as logits.

    :math:`w\,(t\,p \log(1 + e^{-x}) + (1 - t) \log(1 + e^{x}))` for each element, where :math:`p`
    is the weight of positive targets.

    Parameters
    ----------
    logits : array_like of any shape, float32 or float64
        Lists and integer arrays become float64. Copied only if not C-contiguous, aligned and of
        native byte order.
    target : array_like, shape of `logits`
        From 0 to 1; the dtype of `logits`, any integer dtype or bool, which are copied as floats.
    weight, pos_weight : array_like, broadcastable to `logits`, its dtype, optional
        The weight of each element, and that of its positive part. Read in place, without a copy of
        the broadcast array, if the axes along which they vary stand next to each other: a number,
        (C,), (N, 1), (N, C), ...
    reduction : {"mean", "sum", "none"}
        The sum divided by the number of elements (whatever their weights), the sum, or each
        element's loss.
    out : ndarray, shape and dtype of `logits`, optional
        Where the elements' losses go, with ``reduction="none"`` only: C-contiguous, aligned,
        writable. May be `logits` itself; may not overlap the inputs otherwise.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `logits`. The mean over no elements is NaN, their sum 0.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Different shapes, a target outside 0 to 1 or NaN (the first is named), an unknown reduction.

    Notes
    -----
    Nothing cancels: a loss is right to a few eps however small it is. A part whose factor, `target`
    or ``1 - target``, is 0 counts 0, even where the logit is infinite; a `weight` of 0 does not
    make an infinite loss 0.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.90; the weights are those
    of ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Examples
    --------
    >>> from softstep.kernels import binary_cross_entropy_with_logits
    >>> print(f"{binary_cross_entropy_with_logits([20.0, -20.0], [1, 0]):.8e}")
    2.06115362e-09
    """
    x, t, weights, losses = _bce_inputs(logits, target, weight, pos_weight, reduction, out)
    total = _native.module.logistic_loss(
        losses, None, x, t, *weights, False, resolve_threads(threads)
    )
    return losses if losses is not None else reduced(total, x.size, reduction, x.dtype)


def binary_cross_entropy_with_logits_with_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: Array | None = None,
    threads: int | None = None,
) -> tuple[Any, Array]:
    r"""Binary cross-entropy and its gradient with respect to the logits, in one pass.

    The gradient of an element is :math:`w\,((1 - t)\,\sigma(x) - t\,p\,\sigma(-x))`.

    Parameters
    ----------
    logits : array_like of any shape, float32 or float64
    target : array_like, shape of `logits`
    weight, pos_weight : array_like, broadcastable to `logits`, its dtype, optional
        As `binary_cross_entropy_with_logits`.
    reduction : {"mean", "sum", "none"}
        As `binary_cross_entropy_with_logits`; with "none" the gradient is that of the sum.
    out : ndarray, optional
        Where the gradient goes: shape and dtype of `logits`, C-contiguous, aligned, writable. May
        be `logits` itself; may not overlap the inputs otherwise.
    threads : int, optional

    Returns
    -------
    loss : scalar or ndarray
    dlogits : ndarray, shape of `logits`

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`, before anything is written.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.91.

    Examples
    --------
    >>> from softstep.kernels import binary_cross_entropy_with_logits_with_grad
    >>> loss, dlogits = binary_cross_entropy_with_logits_with_grad([0.0, 0.0], [1, 0])
    >>> dlogits
    array([-0.25,  0.25])
    """
    x, t, weights, _ = _bce_inputs(logits, target, weight, pos_weight, "sum", None)
    losses = np.empty(x.shape, x.dtype) if check_reduction(reduction) == "none" else None
    inputs = (
        ("logits", logits, x), ("target", target, t), ("weight", weight, weights[0]),
        ("pos_weight", pos_weight, weights[2]),
    )  # fmt: skip
    check_all_apart(out, inputs)
    slope = np.empty(x.shape, x.dtype) if out is None else out
    total = _native.module.logistic_loss(
        losses, slope, x, t, *weights, reduction == "mean", resolve_threads(threads)
    )
    return (losses if losses is not None else reduced(total, x.size, reduction, x.dtype)), slope


def _mse_inputs(
    prediction: ArrayLike, target: ArrayLike, weight: Any, reduction: Reduction, out: Any
) -> tuple[Array, Array, Array | None, int, Array | None]:
    p = as_float("prediction", prediction)
    t = as_float("target", target, p, "prediction")
    w, repeat = _spread("weight", weight, p, "prediction")
    inputs = (("prediction", prediction, p), ("target", target, t), ("weight", weight, w))
    return p, t, w, repeat, _losses(p, reduction, out, inputs)


def _bce_inputs(
    logits: ArrayLike, target: ArrayLike, weight: Any, pos_weight: Any, reduction: Any, out: Any
) -> tuple[Array, Array, tuple[Array | None, int, Array | None, int], Array | None]:
    x = as_float("logits", logits)
    labels = as_array("target", target)
    if labels.dtype == np.bool_:
        labels = labels.astype(x.dtype)
    elif not hasattr(target, "dtype"):  # a list has no dtype of its own
        labels = target  # type: ignore[assignment]
    t = as_float("target", labels, x, "logits")
    w, repeat = _spread("weight", weight, x, "logits")
    p, positive_repeat = _spread("pos_weight", pos_weight, x, "logits")
    inputs = (
        ("logits", logits, x), ("target", target, t), ("weight", weight, w),
        ("pos_weight", pos_weight, p),
    )  # fmt: skip
    return x, t, (w, repeat, p, positive_repeat), _losses(x, reduction, out, inputs)


def _losses(like: Array, reduction: str, out: Any, inputs: Iterable[Any]) -> Array | None:
    """Return where the elements' losses go, None if they are only summed."""
    if check_reduction(reduction) != "none":
        if out is not None:
            raise ValueError(
                f"out is given with reduction={reduction!r}; accepted with 'none' only"
            )
        return None
    check_all_apart(out, inputs)
    return np.empty(like.shape, like.dtype) if out is None else out


def _spread(name: str, value: Any, like: Array, like_name: str) -> tuple[Array | None, int]:
    """Return numbers that are broadcast to `like`, and how often each stands in a row.

    Element i has ``numbers.flat[i // repeat % numbers.size]``: that takes one group of neighbouring
    axes along which the numbers vary. Any others are made a whole array.
    """
    if value is None:
        return None, 1
    array = as_float(name, value, like, like_name)
    try:
        whole = np.broadcast_to(array, like.shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {array.shape}; accepted: what broadcasts to {like.shape}, the shape "
            f"of {like_name}"
        ) from None
    shape = (1,) * (like.ndim - array.ndim) + array.shape
    varying = [axis for axis, size in enumerate(shape) if size != 1]
    if not varying:
        return array, 1
    first, last = varying[0], varying[-1]
    if shape[first : last + 1] == like.shape[first : last + 1]:
        return array, max(math.prod(like.shape[last + 1 :]), 1)
    return np.ascontiguousarray(whole), 1
