"""Optimizers on functions: descent that keeps its path."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.kernels._arrays import as_array
from softstep.models.checks import check_integer
from softstep.models.parameter import Parameter
from softstep.numerical.differences import numerical_gradient
from softstep.optimizers import SGD, Optimizer, make_optimizer
from softstep.optimizers.named import OPTIMIZERS, check_optimizer_name

__all__ = ["gradient_descent", "minimize"]

Array = NDArray[Any]


def gradient_descent(
    f: Callable[[Any], Any],
    init_x: ArrayLike,
    lr: float = 0.01,
    step_num: int = 100,
    grad: Callable[[Any], Any] | None = None,
) -> tuple[Array, Array]:
    r"""Go down a function by its gradient, :math:`x \leftarrow x - \eta \nabla f(x)`.

    Parameters
    ----------
    f : callable
        Of an array; returns a number.
    init_x : array_like of any shape
        Where to begin; not changed.
    lr : float, default 0.01
        The learning rate: finite, at least 0. With one that is too large the path leaves all
        bounds, up to inf and NaN.
    step_num : int, default 100
        The number of steps, at least 0.
    grad : callable, optional
        The gradient of `f`, of an array. By default `numerical_gradient`.

    Returns
    -------
    x : ndarray, shape of `init_x`
        Where it ended.
    path : ndarray, (step_num + 1, ...)
        Where it was: `init_x`, and after each step.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; the gradient has another shape than `init_x`.

    References
    ----------
    Deep Learning from Scratch, section 4.4.1.

    Examples
    --------
    >>> from softstep.numerical import gradient_descent
    >>> x, path = gradient_descent(lambda x: (x**2).sum(), [-3.0, 4.0], lr=0.25, step_num=2)
    >>> x.round(8), path.shape
    (array([-0.75,  1.  ]), (3, 2))
    """
    return minimize(f, init_x, SGD, step_num, grad, lr=lr)


def minimize(
    f: Callable[[Any], Any],
    init_x: ArrayLike,
    optimizer: str | Callable[..., Optimizer],
    step_num: int = 100,
    grad: Callable[[Any], Any] | None = None,
    **settings: Any,
) -> tuple[Array, Array]:
    """Run an optimizer on a function instead of a model.

    Parameters
    ----------
    f : callable
        Of an array; returns a number.
    init_x : array_like of any shape
        Where to begin; not changed. float32 stays float32, anything else becomes float64.
    optimizer : callable or str
        ``optimizer([parameter], **settings)`` returns an `Optimizer`: `SGD`, `RMSprop`, `Adam`,
        `AdamW`, or a function that makes one. Or a name, see `softstep.make_optimizer`.
    step_num : int, default 100
        The number of steps, at least 0.
    grad : callable, optional
        The gradient of `f`, of an array. By default `numerical_gradient`, with larger steps where
        numbers are so large that its own would vanish beside them.
    **settings
        What the optimizer is made with, such as `lr`.

    Returns
    -------
    x : ndarray, shape of `init_x`
        Where it ended.
    path : ndarray, (step_num + 1, ...)
        Where it was: `init_x`, and after each step.

    Raises
    ------
    TypeError, ValueError
        An argument or a setting is not as described; the gradient has another shape than `init_x`.

    References
    ----------
    Deep Learning from Scratch, section 6.1; Dive into Deep Learning, chapter 12.

    Examples
    --------
    >>> import softstep
    >>> from softstep.numerical import minimize
    >>> x, path = minimize(
    ...     lambda x: 0.05 * x[0] ** 2 + x[1] ** 2, [-7.0, 2.0], softstep.Adam, 200, lr=0.3
    ... )
    >>> bool(abs(x).max() < 0.05), path.shape
    (True, (201, 2))
    >>> x, _ = minimize(lambda w: (w - 5) ** 2, 0.0, "momentum", 400, lr=0.01)
    >>> round(float(x), 3)
    5.0
    """
    step_num = check_integer("step_num", step_num, 0)
    start = np.array(as_array("init_x", init_x))
    if start.dtype.kind not in "biuf":
        raise TypeError(f"init_x has dtype {start.dtype}; accepted: floats, integers")
    start = start.astype(np.float32 if start.dtype == np.float32 else np.float64)
    at = Parameter(start)
    if isinstance(optimizer, str):
        check_optimizer_name(optimizer)
    if "lr" not in settings and (isinstance(optimizer, str) or optimizer in OPTIMIZERS.values()):
        name = repr(optimizer) if isinstance(optimizer, str) else optimizer.__name__
        raise TypeError(
            f"lr is missing, the learning rate of the optimizer {name}; "
            "accepted: a finite number of at least 0"
        )
    if isinstance(optimizer, str):
        rule: Any = make_optimizer(optimizer, [at], **settings)
    elif callable(optimizer):
        rule = optimizer([at], **settings)
    else:
        raise TypeError(f"optimizer is {optimizer!r}; accepted: a class, a function or a name")
    path = np.empty((step_num + 1, *start.shape), start.dtype)
    path[0] = at.data
    for i in range(step_num):
        # A copy, since a gradient such as `lambda x: x` would be the parameter itself.
        slope = np.array(
            numerical_gradient(f, at.data, _step(at.data)) if grad is None else grad(at.data),
            start.dtype,
        )
        if slope.shape != start.shape:
            raise ValueError(f"grad returned shape {slope.shape}; accepted: {start.shape}")
        at.grad = slope
        rule.step()
        path[i + 1] = at.data
    return at.data, path


def _step(x: Array) -> float:
    """Return the step of `numerical_gradient`, or what still changes numbers that are larger."""
    largest = float(np.abs(x).max(initial=0.0))
    step = 64 * float(np.finfo(x.dtype).eps) * largest
    return max(1e-4, step) if math.isfinite(step) else 1e-4
