"""The linear layer ``f(x @ weight.T + bias)`` and its backward pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import Array, as_array, as_floats, check_shape, check_writable, finish, rounded

NARROW = ("uint8", "int8", "float16", "bfloat16")
GRADIENTS = ("dx", "dweight", "dbias")


def _relu(x: Array) -> Any:
    return np.where(x < 0, 0, x)  # NaN stays


def _sigmoid(x: Array) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


ACTIVATIONS: dict[str | None, Callable[[Array], Any]] = {
    None: np.asarray,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}


SLOPES: dict[str | None, Callable[[Array], Any]] = {
    None: np.ones_like,
    "relu": lambda a: ~(a <= 0),  # that of NaN is 1
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
}
"""The slope of an activation f at z, from a = f(z)."""


def _per_feature(value: object, name: str, columns: int) -> Array:
    """One float64 number for each feature."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected a number or an array of floats, got {array.dtype}")
    if array.ndim == 0:
        return np.full(columns, array, np.float64)
    return check_shape(array, name, (columns,)).astype(np.float64)


def as_layer(
    x: object, weight: object, scale: object = None, shift: object = None
) -> tuple[Array, Array]:
    """Return the features ``x * scale + shift`` (N, K) in float64 and weight (C, K) in its dtype.

    `x` is of weight's dtype or of a narrow type, which every weight accepts.
    """
    weights = as_floats(weight, "weight")
    features = as_array(x, "x")
    if features.dtype.newbyteorder("=").name not in NARROW:
        features = as_floats(x, "x", weights.dtype)
    if weights.ndim != 2 or weights.shape[0] == 0:
        raise ValueError(f"weight: expected shape (C, K) with C >= 1, got {weights.shape}")
    columns = weights.shape[1]
    if features.ndim != 2 or features.shape[1] != columns:
        raise ValueError(f"x: expected shape (N, {columns}), got {features.shape}")
    features = features.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if scale is not None:
            features = features * _per_feature(scale, "scale", columns)
        if shift is not None:
            features = features + _per_feature(shift, "shift", columns)
    return features, weights


def _ordered(x: object, order: object) -> Any:
    """Return ``x[order]``."""
    if order is None:
        return x
    array, rows = as_array(x, "x"), as_array(order, "order")
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"order: expected (N,) row numbers, got {rows.dtype} {rows.shape}")
    if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= len(array)):
        raise IndexError(f"order: expected rows 0 to {len(array) - 1}")
    return array[rows.astype(np.int64)]


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: str | None = None,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Any = None,
    threads: Any = None,
) -> Any:
    """``f(x @ weight.T + bias)``, (N, C). See :func:`softstep.kernels.linear`.

    Parameters
    ----------
    x, weight, bias, activation, order, scale, shift, out, threads
        As in :func:`softstep.kernels.linear`.

    Examples
    --------
    >>> linear([[1.0, 2.0]], [[3.0, 4.0]], [5.0])
    array([[16.]])
    >>> linear(np.array([[100, 200]], np.uint8), [[3.0, -4.0]], scale=0.01, activation="relu")
    array([[0.]])
    """
    features, weights = as_layer(_ordered(x, order), weight, scale, shift)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {[*ACTIVATIONS]}, got {activation!r}")
    with np.errstate(invalid="ignore", over="ignore"):
        logits = features @ weights.astype(np.float64).T
        if bias is not None:
            logits += check_shape(as_floats(bias, "bias", weights.dtype), "bias", weights.shape[:1])
        result = ACTIVATIONS[activation](logits)
    return finish(result, weights.dtype, out, None, (x, weight, bias, order, scale, shift))


def check_wanted(wanted: Collection[str]) -> Collection[str]:
    """Return the names of gradients, each of which must be one of the three."""
    names = [wanted] if isinstance(wanted, str) else wanted
    if not set(names) <= set(GRADIENTS):
        raise ValueError(f"wanted: expected any of {GRADIENTS}, got {wanted!r}")
    return names


def gradients(
    features: Array, weights: Array, gradient: Array, wanted: Collection[str]
) -> tuple[Any, Any, Any]:
    """``(dx, dweight, dbias)`` in weight's dtype of a float64 gradient, None where not wanted."""
    with np.errstate(invalid="ignore", over="ignore"):
        every = (gradient @ weights.astype(np.float64), gradient.T @ features, gradient.sum(0))
    dx, dweight, dbias = (
        rounded(one, weights.dtype) if name in wanted else None
        for name, one in zip(GRADIENTS, every, strict=True)
    )
    return dx, dweight, dbias


def linear_backward(
    x: ArrayLike,
    weight: ArrayLike,
    dlogits: ArrayLike,
    *,
    wanted: Collection[str] = GRADIENTS,
    x_activation: str | None = None,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Mapping[str, Any] | None = None,
    threads: Any = None,
) -> tuple[Any, Any, Any]:
    """``(dx, dweight, dbias)`` = ``(dlogits @ weight, dlogits.T @ x, sum of dlogits' rows)``.

    Where x = f(z) for an activation f, dx is that times f'(z). See
    :func:`softstep.kernels.linear_backward`.

    Parameters
    ----------
    x, weight, dlogits, wanted, x_activation, order, scale, shift, out, threads
        As in :func:`softstep.kernels.linear_backward`.

    Examples
    --------
    >>> dx, dweight, dbias = linear_backward([[1.0, 2.0]], [[3.0, 4.0]], [[10.0]])
    >>> dx, dweight, dbias
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    features, weights = as_layer(_ordered(x, order), weight, scale, shift)
    names = check_wanted(wanted)
    shape = (features.shape[0], weights.shape[0])
    gradient = check_shape(as_floats(dlogits, "dlogits", weights.dtype), "dlogits", shape)
    if x_activation not in SLOPES:
        raise ValueError(f"x_activation: expected one of {[*SLOPES]}, got {x_activation!r}")
    if x_activation is not None and (
        as_array(x, "x").dtype.newbyteorder("=").name in NARROW
        or not (scale is None and shift is None)
    ):
        raise ValueError("x_activation: expected features of weight's dtype as they are")
    dx, dweight, dbias = gradients(features, weights, gradient.astype(np.float64), names)
    if dx is not None and x_activation is not None:
        exact = gradient.astype(np.float64) @ weights.astype(np.float64)
        dx = rounded(exact * SLOPES[x_activation](features), weights.dtype)
    every = dx, dweight, dbias
    if out is None:
        return every
    return written(every, out, (x, weight, dlogits, order, scale, shift))


def written(
    every: tuple[Any, Any, Any], out: Mapping[str, Any], inputs: tuple[object, ...]
) -> tuple[Any, Any, Any]:
    """Put gradients into the arrays of `out`; all of these are checked before any is written."""
    found = dict(zip(GRADIENTS, every, strict=True))
    for name, array in out.items():
        if found.get(name) is None:
            raise ValueError(f"out: expected gradients that are wanted, got {name!r}")
        others = tuple(out[other] for other in out if other != name)
        shape = found[name].shape
        check_writable(array, name, found[name].dtype, shape, apart=(*inputs, *others))
    for name, array in out.items():
        array[...] = found[name]
        found[name] = array
    return found["dx"], found["dweight"], found["dbias"]
