"""Matrix product plus bias, an activation on top where wanted, and the backward pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from softstep import _native
from softstep.kernels._arrays import (
    Array,
    as_affine,
    as_features,
    as_float,
    as_targets,
    check_all_apart,
    check_in_place,
    exactly,
    is_narrow,
)
from softstep.runtime import resolve_threads

Activation = Literal["relu", "sigmoid", "tanh"]
Gradient = Literal["dx", "dweight", "dbias"]
GRADIENTS: tuple[Gradient, ...] = ("dx", "dweight", "dbias")


def linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    activation: Activation | None = None,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Array | None = None,
    threads: int | None = None,
) -> Array:
    r"""Matrix product plus bias, :math:`f(x W^\top + b)`.

    Parameters
    ----------
    x : array_like, (N, K), uint8, int8, float16, bfloat16 (ml_dtypes), float32 or float64
        Narrow types are converted as they are read, never as a whole. Lists and other integers
        become float64. Rows may lie in any stride; copied only if a row is not contiguous, aligned
        and of native byte order.
    weight : array_like, (C, K), float32 or float64
        One row per output, as in ``torch.nn.Linear``. The dtype computed in: that of `x`, unless
        `x` is of a narrow type. Copied only if not C-contiguous, aligned and of native byte order.
    bias : array_like, (C,), dtype of `weight`, optional
    activation : {"relu", "sigmoid", "tanh"}, optional
        Applied to the result; none by default.
    order : array_like of int, (N,), optional
        Row numbers: the features are ``x[order]``, which are read where they lie. `x` may then have
        any number of rows. Copied if not int64 and contiguous.
    scale, shift : float or array_like (K,), optional
        The features are ``x * scale + shift``.
    out : ndarray, (N, C), optional
        Where the result goes: dtype of `weight`, C-contiguous, aligned, writable, no overlap with
        the inputs.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    ndarray, (N, C)

    Raises
    ------
    TypeError
        A dtype that is not accepted, or arrays of different dtypes.
    ValueError
        Shapes that do not fit, no outputs, an unknown activation, an `out` that does not fit.
    IndexError
        `order` names a row that `x` does not have.

    References
    ----------
    Goto, van de Geijn, *Anatomy of high-performance matrix multiplication*, ACM TOMS 34 (2008).

    Examples
    --------
    >>> from softstep.kernels import linear
    >>> linear([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [0.5, 0.0])
    array([[11.5, 17. ]])
    >>> linear([[1.0, 2.0]], [[3.0, -4.0]], activation="relu")
    array([[0.]])
    """
    xa = as_features("x", x)
    w = as_weight(weight, xa)
    b = None if bias is None else as_float("bias", bias, w, "weight")
    check_activation("activation", activation)
    rows = None if order is None else as_targets("order", order)
    affine = as_affine(scale, shift, xa, w.dtype)
    if out is None:
        # ill-shaped inputs get an output of some shape: the native checks name the input first
        out = np.empty((xa if rows is None else rows).shape[:1] + w.shape[:1], w.dtype)
    else:
        inputs = (
            ("x", x, xa), ("weight", weight, w), ("bias", bias, b), ("order", order, rows),
            ("scale", scale, affine[0]), ("shift", shift, affine[1]),
        )  # fmt: skip
        check_all_apart(out, inputs)
    try:
        _native.module.linear(
            out, xa, w, b, rows, *affine, activation or "none", resolve_threads(threads)
        )
    except IndexError as error:
        raise exactly(error, order=order) from None
    return out


def linear_backward(
    x: ArrayLike,
    weight: ArrayLike,
    dlogits: ArrayLike,
    *,
    wanted: Collection[Gradient] = GRADIENTS,
    x_activation: Activation | None = None,
    order: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shift: ArrayLike | None = None,
    out: Mapping[Gradient, Array] | None = None,
    threads: int | None = None,
) -> tuple[Any, Any, Any]:
    r"""Gradients of :math:`x W^\top + b`, given the gradient of its result.

    Parameters
    ----------
    x : array_like, (N, K)
    weight : array_like, (C, K)
        As `linear`.
    dlogits : array_like, (N, C), dtype of `weight`
        The gradient with respect to the result. Copied if not C-contiguous and aligned.
    wanted : collection of {"dx", "dweight", "dbias"}
        The gradients to compute, all by default; None is returned in the place of the others.
    x_activation : {"relu", "sigmoid", "tanh"}, optional
        Where `x` is what this function has made of z, as the ``activation`` of the layer before:
        `dx` is then the gradient with respect to z. Features of the dtype of `weight` only, and
        without `scale` and `shift`.
    order : array_like of int, (N,), optional
        As `linear`; row i of `dx` belongs to ``x[order[i]]``.
    scale, shift : float or array_like (K,), optional
        The features are ``x * scale + shift``; `dx` is the gradient with respect to them.
    out : mapping of str to ndarray, optional
        Where gradients go, by the names in `wanted`; those that are missing here are allocated.
        Dtype of `weight`, C-contiguous, aligned, writable, apart from the inputs and each other.
    threads : int, optional

    Returns
    -------
    dx : ndarray, (N, K)
        ``dlogits @ weight``, times the slope of `x_activation`: [x > 0], x (1 - x) or 1 - x^2.
    dweight : ndarray, (C, K)
        ``dlogits.T @ x``.
    dbias : ndarray, (C,)
        ``dlogits.sum(axis=0)``.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `linear`.

    References
    ----------
    Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5.6.

    Examples
    --------
    >>> from softstep.kernels import linear_backward
    >>> dx, dweight, dbias = linear_backward([[1.0, 2.0]], [[3.0, 4.0]], [[10.0]])
    >>> dx, dweight, dbias
    (array([[30., 40.]]), array([[10., 20.]]), array([10.]))
    """
    check_activation("x_activation", x_activation)
    xa = as_features("x", x)
    w = as_weight(weight, xa)
    g = as_float("dlogits", dlogits, w, "weight")
    rows = None if order is None else as_targets("order", order)
    shapes = (
        xa.shape if rows is None else rows.shape[:1] + xa.shape[1:],
        w.shape,
        w.shape[:1],
    )
    names = check_wanted(wanted)
    affine = as_affine(scale, shift, xa, w.dtype)
    if out is None:
        dx, dweight, dbias = (
            np.empty(shape, w.dtype) if name in names else None
            for name, shape in zip(GRADIENTS, shapes, strict=True)
        )
    else:
        inputs = (
            ("x", x, xa), ("weight", weight, w), ("dlogits", dlogits, g), ("order", order, rows),
            ("scale", scale, affine[0]), ("shift", shift, affine[1]),
        )  # fmt: skip
        check_outputs(out, names, inputs)
        dx, dweight, dbias = (
            (out[name] if name in out else np.empty(shape, w.dtype)) if name in names else None
            for name, shape in zip(GRADIENTS, shapes, strict=True)
        )
    try:
        _native.module.linear_backward(
            dx,
            dweight,
            dbias,
            xa,
            w,
            g,
            rows,
            *affine,
            x_activation or "none",
            resolve_threads(threads),
        )
    except IndexError as error:
        raise exactly(error, order=order) from None
    return dx, dweight, dbias


def linear_into(
    out: Array,
    x: Array,
    weight: Array,
    bias: Array | None,
    order: Array | None = None,
    scale: Array | None = None,
    shift: Array | None = None,
    activation: Activation | None = None,
    threads: int | None = None,
) -> None:
    """Compute `linear` for arrays that need no conversion.

    Shapes, dtypes and overlap are checked by the native function alone; what `linear` does before
    takes as long as a small product.
    """
    _native.module.linear(
        out, x, weight, bias, order, scale, shift, activation or "none", resolve_threads(threads)
    )


def linear_backward_into(
    dx: Array | None,
    dweight: Array,
    dbias: Array,
    x: Array,
    weight: Array,
    dlogits: Array,
    order: Array | None = None,
    scale: Array | None = None,
    shift: Array | None = None,
    x_activation: Activation | None = None,
    threads: int | None = None,
) -> None:
    """Compute `linear_backward` for arrays that need no conversion, outputs apart from another."""
    _native.module.linear_backward(
        dx, dweight, dbias, x, weight, dlogits, order, scale, shift, x_activation or "none",
        resolve_threads(threads),
    )  # fmt: skip


def check_activation(name: str, activation: object) -> None:
    """Raise ValueError unless `activation` is one, or None."""
    if activation is None:
        return
    if not (isinstance(activation, str) and activation in ("relu", "sigmoid", "tanh")):
        raise ValueError(f"{name} is {activation!r}; accepted: 'relu', 'sigmoid', 'tanh', None")


def check_wanted(wanted: Collection[str]) -> Collection[str]:
    """Return the names of the gradients that are wanted, or raise TypeError or ValueError."""
    try:
        names = [wanted] if isinstance(wanted, str) else list(wanted)
    except TypeError:
        raise TypeError(f"wanted is {wanted!r}; accepted: a collection of names") from None
    for name in names:
        if not isinstance(name, str) or name not in GRADIENTS:
            raise ValueError(f"wanted holds {name!r}; accepted: 'dx', 'dweight', 'dbias'")
    return names


def check_outputs(
    out: Mapping[Gradient, Array],
    wanted: Collection[str],
    inputs: Collection[tuple[str, object, Array | None]],
) -> None:
    """Raise unless `out` holds arrays for wanted gradients, apart from each other and the inputs.

    What the native checks see is left to them.
    """
    if not isinstance(out, Mapping):
        raise TypeError(f"out is a {type(out).__name__}; accepted: a mapping of names to ndarrays")
    # Of inputs that were not copied the native checks see the memory.
    copied = [one for one in inputs if one[2] is not one[1]]
    for name, array in out.items():
        if name not in wanted:
            raise ValueError(f"out holds {name!r}; accepted: {', '.join(map(repr, wanted))}")
        check_in_place(f"out[{name!r}]", array)
        check_all_apart(array, copied, f"out[{name!r}]")
    names = list(out)
    for i, name in enumerate(names):
        for other in names[:i]:
            if np.may_share_memory(out[name], out[other]):
                raise ValueError(f"out[{name!r}] shares memory with out[{other!r}]")


def as_weight(weight: ArrayLike, features: Array) -> Array:
    """Return the weight for these features, whose dtype it must have unless theirs is narrow."""
    if is_narrow(features):
        return as_float("weight", weight)
    return as_float("weight", weight, features, "x")
