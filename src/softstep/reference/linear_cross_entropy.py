"""Cross-entropy of a linear layer and its gradients: linear, cross_entropy, linear_backward.

In float64 throughout; what is checked by the dtype (the sum of a distribution) goes by weight's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, check_shape, finish, rounded
from .cross_entropy import chosen, names_of, wide_cross_entropy
from .linear import GRADIENTS, as_layer, check_wanted, gradients, written


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
    reduction: str = "mean",
    byproducts: Any = (),
    wanted: Collection[str] = GRADIENTS,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Mapping[str, Any] | None = None,
    threads: Any = None,
) -> Any:
    """``(loss, dx, dweight, dbias)``. See :func:`softstep.kernels.linear_cross_entropy_with_grad`.

    Parameters
    ----------
    x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing
        As in :func:`softstep.kernels.linear_cross_entropy_with_grad`.
    reduction, byproducts, wanted, scale, shift, out, threads
        As there.

    Examples
    --------
    >>> loss, dx, dweight, dbias = linear_cross_entropy_with_grad(
    ...     [[2.0]], [[0.0], [0.0]], None, [0]
    ... )
    >>> dx, dweight, dbias
    (array([[0.]]), array([[-1.],
           [ 1.]]), array([-0.5,  0.5]))
    """
    names = check_wanted(wanted)
    features, weights = as_layer(x, weight, scale, shift)
    dtype, classes = weights.dtype, weights.shape[0]
    with np.errstate(invalid="ignore", over="ignore"):
        logits = features @ weights.astype(np.float64).T
        if bias is not None:
            logits += check_shape(as_floats(bias, "bias", dtype), "bias", (classes,))
    loss, dlogits, found = wide_cross_entropy(
        logits,
        target,
        dtype,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    )
    every = gradients(features, weights, dlogits, names)
    if out is not None:
        inputs = (x, weight, bias, target, class_weight, sample_weight, scale, shift)
        every = written(every, out, inputs)
    return rounded(loss, dtype), *every, *chosen(found, names_of(byproducts), dtype)


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
    reduction: str = "mean",
    byproducts: Any = (),
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """Loss of the logits ``x @ weight.T + bias``.

    See :func:`softstep.kernels.linear_cross_entropy`.

    Parameters
    ----------
    x, weight, bias, target, class_weight, sample_weight, ignore_index, label_smoothing
        As in :func:`softstep.kernels.linear_cross_entropy`.
    reduction, byproducts, scale, shift, out, threads
        As there.

    Examples
    --------
    >>> print(f"{linear_cross_entropy([[1.0]], [[20.0], [0.0]], None, [0]):.8e}")
    2.06115362e-09
    """
    if out is not None and reduction != "none":
        raise ValueError("out: expected with reduction='none' only")
    loss, _, _, _, *more = linear_cross_entropy_with_grad(
        x,
        weight,
        bias,
        target,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        byproducts=byproducts,
        wanted=(),
        scale=scale,
        shift=shift,
    )
    if out is not None:
        inputs = (x, weight, bias, target, class_weight, sample_weight, scale, shift)
        loss = finish(np.asarray(loss), loss.dtype, out, None, inputs)
    return (loss, *more) if more else loss
