"""Cross-entropy of a linear layer whose logits are never whole in memory, and all its gradients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    as_real,
    as_targets,
    check_all_apart,
    check_reduction,
    exactly,
    reduced,
)
from softstep.kernels.cross_entropy import (
    ByProduct,
    ByProducts,
    as_index,
    by_product_names,
    sum_tolerance,
)
from softstep.kernels.linear import GRADIENTS, Gradient, as_weight, check_outputs, check_wanted
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
    byproducts: Sequence[ByProduct] = (),
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Array | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of the logits :math:`x W^\top + b`.

    What ``cross_entropy(linear(x, weight, bias), target)`` gives, with at most 32 MB of logits in
    memory at a time, or one row of them where that is more.

    Parameters
    ----------
    x : array_like, (N, K)
    weight : array_like, (C, K), float32 or float64
    bias : array_like, (C,), or None
        As `linear`.
    target : array_like, (N,) of any integer dtype, or (N, C) of numbers
    class_weight, sample_weight, ignore_index, label_smoothing, reduction, byproducts
        As `cross_entropy`.
    scale, shift : float or array_like (K,), optional
        The features are ``x * scale + shift``.
    out : ndarray, (N,), optional
        Where the row losses go; with ``reduction="none"`` only. The dtype of `weight`, no overlap
        with the inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    loss : scalar or ndarray (N,)
        Of the dtype of `weight`.
    byproducts : ByProducts
        Only if some were asked for.

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
    if out is not None and check_reduction(reduction) != "none":
        raise ValueError(f"out is given with reduction={reduction!r}; accepted with 'none' only")
    loss, more, _ = _run(
        x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing,
        reduction, byproducts, scale, shift, out, (), None, threads,
    )  # fmt: skip
    return loss if more is None else (loss, more)


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
    byproducts: Sequence[ByProduct] = (),
    wanted: Collection[Gradient] = GRADIENTS,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Mapping[Gradient, Array] | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of the logits :math:`x W^\top + b`, and its gradients.

    Parameters
    ----------
    x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing, reduction
        As `linear_cross_entropy`; with ``reduction="none"`` the gradients are those of the sum.
    byproducts, scale, shift, threads
        As `linear_cross_entropy`.
    wanted : collection of {"dx", "dweight", "dbias"}
        The gradients to compute, all by default; None is returned in the place of the others.
    out : mapping of str to ndarray, optional
        Where gradients go, by the names in `wanted`; those that are missing here are allocated.
        Dtype of `weight`, C-contiguous, aligned, writable, apart from the inputs and each other.

    Returns
    -------
    loss : scalar or ndarray (N,)
    dx : ndarray, (N, K)
        With respect to the features, ``x * scale + shift``.
    dweight : ndarray, (C, K)
    dbias : ndarray, (C,)
    byproducts : ByProducts
        Only if some were asked for.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `linear` and `cross_entropy`.

    Notes
    -----
    The logits' gradient of an ignored row is 0, and so are its part of `dweight` and its row of
    `dx`, unless what that 0 is multiplied with, the row's features or the weights, is not finite.

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
    loss, more, gradients = _run(
        x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing,
        reduction, byproducts, scale, shift, None, check_wanted(wanted), out, threads,
    )  # fmt: skip
    return (loss, *gradients) if more is None else (loss, *gradients, more)


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
    byproducts: Sequence[ByProduct],
    scale: ArrayLike | None,
    shift: ArrayLike | None,
    losses_out: Array | None,
    wanted: Collection[str],
    gradients_out: Mapping[Gradient, Array] | None,
    threads: int | None,
) -> tuple[Any, ByProducts | None, tuple[Any, Any, Any]]:
    features = as_features("x", x)
    w = as_weight(weight, features)
    b = None if bias is None else as_float("bias", bias, w, "weight")
    t = as_array("target", target)
    given_dtype, ignored = t.dtype, as_index(ignore_index)
    t = as_numbers("target", t, w.dtype) if t.ndim == 2 else as_targets("target", t, ignored)
    tolerance = sum_tolerance(given_dtype, w.dtype) if t.ndim == 2 else 0.0
    class_weights, sample_weights = (
        None if value is None else as_numbers(name, value, w.dtype)
        for name, value in (("class_weight", class_weight), ("sample_weight", sample_weight))
    )
    scales, shifts = as_affine(scale, shift, features, w.dtype)
    inputs = (
        ("x", x, features), ("weight", weight, w), ("bias", bias, b), ("target", target, t),
        ("class_weight", class_weight, class_weights),
        ("sample_weight", sample_weight, sample_weights),
        ("scale", scale, scales), ("shift", shift, shifts),
    )  # fmt: skip
    check_all_apart(losses_out, inputs)
    given = {} if gradients_out is None else gradients_out
    if gradients_out is not None:
        check_outputs(gradients_out, wanted, inputs)
    shapes = (features.shape, w.shape, w.shape[:1])
    dx, dweight, dbias = (
        (given[name] if name in given else np.empty(shape, w.dtype)) if name in wanted else None
        for name, shape in zip(GRADIENTS, shapes, strict=True)
    )
    also = frozenset(by_product_names(byproducts)) if byproducts else frozenset()
    rows, losses, lse, predicted = features.shape[:1], losses_out, None, None
    if losses is None and (check_reduction(reduction) == "none" or "row_loss" in also):
        losses = np.empty(rows, w.dtype)
    if "logsumexp" in also:
        lse = np.empty(rows, w.dtype)
    if "predicted" in also:
        predicted = np.empty(rows, np.int64)
    try:
        total, divisor, correct = _native.module.linear_cross_entropy(
            losses,
            lse,
            predicted,
            dx,
            dweight,
            dbias,
            features,
            w,
            b,
            t,
            class_weights,
            sample_weights,
            ignored,
            as_real("label_smoothing", label_smoothing),
            tolerance,
            scales,
            shifts,
            reduction == "mean",
            "correct" in also,
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, target=target) from None
    loss = losses if reduction == "none" else reduced(total, divisor, reduction, w.dtype)
    found = ByProducts(
        losses if "row_loss" in also else None,
        lse,
        predicted,
        correct if "correct" in also else None,
    )
    return loss, found if also else None, (dx, dweight, dbias)
