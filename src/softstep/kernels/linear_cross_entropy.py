"""Cross-entropy of a linear layer whose logits are never whole in memory, and all its gradients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    Reduction,
    as_affine,
    as_array,
    as_features,
    as_float,
    as_numbers,
    as_targets,
    check_reduction,
)
from softstep.kernels.cross_entropy import as_index, as_number
from softstep.kernels.linear import GRADIENTS, Gradient, as_weight, check_wanted
from softstep.runtime import resolve_threads


def linear_cross_entropy(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of the logits :math:`x W^\top + b`.

    What ``cross_entropy(linear(x, weight, bias), target)`` gives, with at most 32 MB of logits in
    memory at a time.

    Parameters
    ----------
    x : array_like, (N, K)
    weight : array_like, (C, K), float32 or float64
    bias : array_like, (C,), or None
        As `linear`.
    target : array_like, (N,) of any integer dtype, or (N, C) of numbers
    class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As `cross_entropy`.
    scale, shift : float or array_like (K,), optional
        The features are ``x * scale + shift``.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray (N,)
        Of the dtype of `weight`.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `linear` and `cross_entropy`.

    References
    ----------
    Wijmans et al., *Cut your losses in large-vocabulary language models* (2024), arXiv:2411.09009.

    Examples
    --------
    >>> from softstep.kernels import linear_cross_entropy
    >>> print(f"{linear_cross_entropy([[1.0]], [[20.0], [0.0]], None, [0]):.8e}")
    2.06115362e-09
    """
    return _run(
        x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing,
        reduction, scale, shift, (), threads,
    )[0]  # fmt: skip


def linear_cross_entropy_with_grad(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    wanted: Collection[Gradient] = GRADIENTS,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    threads: int | None = None,
) -> tuple[Any, Any, Any, Any]:
    r"""Cross-entropy of the logits :math:`x W^\top + b`, and its gradients.

    Parameters
    ----------
    x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As `linear_cross_entropy`; with ``reduction="none"`` the gradients are those of the sum.
    scale, shift, threads
        As `linear_cross_entropy`.
    wanted : collection of {"dx", "dweight", "dbias"}
        The gradients to compute, all by default; None is returned in the place of the others.

    Returns
    -------
    loss : scalar or ndarray (N,)
    dx : ndarray, (N, K)
        With respect to the features, ``x * scale + shift``.
    dweight : ndarray, (C, K)
    dbias : ndarray, (C,)

    Raises
    ------
    TypeError, ValueError, IndexError
        As `linear` and `cross_entropy`.

    References
    ----------
    Wijmans et al., *Cut your losses in large-vocabulary language models* (2024), arXiv:2411.09009.

    Examples
    --------
    >>> from softstep.kernels import linear_cross_entropy_with_grad
    >>> loss, dx, dweight, dbias = linear_cross_entropy_with_grad(
    ...     [[2.0]], [[0.0], [0.0]], None, [0]
    ... )
    >>> dx, dweight, dbias
    (array([[0.]]), array([[-1.],
           [ 1.]]), array([-0.5,  0.5]))
    """
    return _run(
        x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing,
        reduction, scale, shift, check_wanted(wanted), threads,
    )  # fmt: skip


def _run(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    target: ArrayLike,
    class_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    scale: ArrayLike | None,
    shift: ArrayLike | None,
    wanted: Collection[str],
    threads: int | None,
) -> tuple[Any, Any, Any, Any]:
    features = as_features("x", x)
    w = as_weight(weight, features)
    b = None if bias is None else as_float("bias", bias, w, "weight")
    t = as_array("target", target)
    t = as_numbers("target", t, w.dtype) if t.ndim == 2 else as_targets("target", t)
    losses = np.empty(features.shape[:1], w.dtype) if check_reduction(reduction) == "none" else None
    dx, dweight, dbias = (
        np.empty(shape, w.dtype) if name in wanted else None
        for name, shape in zip(GRADIENTS, (features.shape, w.shape, w.shape[:1]), strict=True)
    )
    scales, shifts = as_affine(scale, shift, features, w.dtype)
    total, divisor = _native.module.linear_cross_entropy(
        losses,
        dx,
        dweight,
        dbias,
        features,
        w,
        b,
        t,
        _weights("class_weight", class_weight, w),
        _weights("sample_weight", sample_weight, w),
        as_index(ignore_index),
        as_number("label_smoothing", label_smoothing),
        scales,
        shifts,
        reduction == "mean",
        resolve_threads(threads),
    )
    loss: Any = losses
    if reduction != "none":
        if reduction == "mean":
            total = total / divisor if divisor else float("nan")
        loss = w.dtype.type(total)
    return loss, dx, dweight, dbias


def _weights(name: str, value: ArrayLike | None, like: Array) -> Array | None:
    return None if value is None else as_numbers(name, value, like.dtype)
