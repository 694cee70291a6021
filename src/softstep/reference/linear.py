"""The linear layer ``x @ weight.T + bias`` and its backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, as_floats, check_shape, finish, rounded


def _x_and_weight(x: object, weight: object) -> tuple[Array, Array]:
    """Return x (N, K) and weight (C, K) in weight's dtype."""
    weights = as_floats(weight, "weight")
    features = as_floats(x, "x", weights.dtype)
    if weights.ndim != 2 or weights.shape[0] == 0:
        raise ValueError(f"weight: expected shape (C, K) with C >= 1, got {weights.shape}")
    if features.ndim != 2 or features.shape[1] != weights.shape[1]:
        raise ValueError(f"x: expected shape (N, {weights.shape[1]}), got {features.shape}")
    return features, weights


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``x @ weight.T + bias``, (N, C). See :func:`softstep.kernels.linear`.

    Examples
    --------
    >>> linear([[1.0, 2.0]], [[3.0, 4.0]], [5.0])
    array([[16.]])
    """
    features, weights = _x_and_weight(x, weight)
    with np.errstate(invalid="ignore", over="ignore"):
        logits = features.astype(np.float64) @ weights.astype(np.float64).T
    if bias is not None:
        logits += check_shape(as_floats(bias, "bias", weights.dtype), "bias", weights.shape[:1])
    return finish(logits, weights.dtype, out, None, (x, weight, bias))


def linear_backward(
    x: ArrayLike, weight: ArrayLike, dlogits: ArrayLike, *, threads: Any = None
) -> tuple[Array, Array, Array]:
    """``(dx, dweight, dbias)`` = ``(dlogits @ weight, dlogits.T @ x, sum of dlogits' rows)``.

    See :func:`softstep.kernels.linear_backward`.

    Examples
    --------
    >>> dx, dweight, dbias = linear_backward([[1.0, 2.0]], [[3.0, 4.0]], [[10.0]])
    >>> dx, dweight, dbias
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    features, weights = _x_and_weight(x, weight)
    shape = (features.shape[0], weights.shape[0])
    gradient = check_shape(as_floats(dlogits, "dlogits", weights.dtype), "dlogits", shape)
    gradient = gradient.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        dx = gradient @ weights.astype(np.float64)
        dweight = gradient.T @ features.astype(np.float64)
        dbias = gradient.sum(0)
    dtype = weights.dtype
    return rounded(dx, dtype), rounded(dweight, dtype), rounded(dbias, dtype)
