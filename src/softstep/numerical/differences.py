r"""Derivatives by central differences, :math:`(f(x + h) - f(x - h)) / 2h`.

The error is :math:`h^2 |f'''| / 6` from the formula and about :math:`\varepsilon |f| / h` from
rounding; for float64 and a function of ordinary size both are below 1e-8 with h = 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_number
from softstep.models.parameter import Parameter

__all__ = [
    "GradientError",
    "Tangent",
    "check_gradient",
    "numerical_diff",
    "numerical_gradient",
    "tangent_line",
]


class GradientError(AssertionError):
    """A gradient is not what differences say; see `check_gradient`."""


class Tangent(NamedTuple):
    """A straight line, ``slope * x + intercept``; call it with numbers or an array.

    Parameters
    ----------
    slope, intercept : float
        Of the line; the intercept is its height at 0.
    """

    slope: float
    intercept: float

    def __call__(self, x: ArrayLike) -> Any:
        """Return the line's heights at `x`."""
        return self.slope * np.asarray(x) + self.intercept


def numerical_diff(f: Callable[[float], Any], x: float, h: float = 1e-4) -> float:
    """Return the derivative of a function of one number, by a central difference.

    Parameters
    ----------
    f : callable
        Of a float; returns a number.
    x : float
        Where.
    h : float, default 1e-4
        The step: finite, above 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        An argument is not as described, or `f` returns something other than one number.

    References
    ----------
    Deep Learning from Scratch, section 4.3.1.

    Examples
    --------
    >>> from softstep.numerical import numerical_diff
    >>> round(numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5), 10)
    0.2
    """
    at, step = check_number("x", x, -np.inf), _step(h)
    above, below = at + step, at - step
    if above == below:
        raise ValueError(f"h is {h!r}; accepted: a step that changes x, which is {at}")
    return (_value(f(above)) - _value(f(below))) / (above - below)


def numerical_gradient(
    f: Callable[[Any], Any], x: ArrayLike | Parameter, h: float = 1e-4
) -> NDArray[np.float64]:
    """Return the gradient of a function of an array, by central differences.

    Each element is changed in place, one after the other, and put back, also when `f` raises; so
    `f` may read the array through another object (``lambda w: net.loss(x, t)`` with ``net.W``).

    Parameters
    ----------
    f : callable
        Of the array `x`; returns a number. Called twice for each element.
    x : ndarray of float32 or float64 with any shape and strides, Parameter, or list of numbers
        Where. Lists and Python numbers become float64. Arrays of other dtypes are refused: no small
        step can be made in integers.
    h : float, default 1e-4
        The step: finite, above 0. What is divided by is the step as `x` rounds it. For float32, in
        which `f` has only some seven digits, 1e-2 to 1e-3 is better.

    Returns
    -------
    ndarray of float64, shape of `x`
        NaN where `f` is not finite on both sides.

    Raises
    ------
    TypeError
        `x` is an array of another dtype; `f` returns something other than one number.
    ValueError
        `x` is read-only; `h` is not as described, or so small that it does not change an element.

    References
    ----------
    Deep Learning from Scratch, section 4.4.

    Examples
    --------
    >>> from softstep.numerical import numerical_gradient
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, [3.0, 4.0]).round(8)
    array([6., 8.])
    """
    step, array = _step(h), _changeable(x)
    gradient = np.empty(array.shape, np.float64)
    for place in np.ndindex(array.shape):
        kept = array[place].copy()
        try:
            array[place] = kept + array.dtype.type(step)
            above = float(array[place])
            high = _value(f(array))
            array[place] = kept - array.dtype.type(step)
            below = float(array[place])
            low = _value(f(array))
        finally:
            array[place] = kept
        if above == below:
            raise ValueError(
                f"h is {h!r}; accepted: a step that changes x{list(place) or ''}, which is {kept}"
            )
        with np.errstate(invalid="ignore"):
            gradient[place] = np.float64(high - low) / (above - below)
    return gradient


def check_gradient(
    f: Callable[[Any], Any],
    grad: Callable[[Any], Any] | ArrayLike,
    x: ArrayLike | Parameter,
    *,
    h: float = 1e-4,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> float:
    r"""Compare a gradient with the one by differences; return the largest relative error.

    The error of an element is :math:`|a - n| / \max(|a|, |n|, \mathrm{atol} / \mathrm{rtol})` with
    the gradient a and the difference n: the relative error, and for small elements the absolute one
    in a unit that makes `atol` as bad as `rtol`.

    Parameters
    ----------
    f : callable
        Of the array `x`; returns a number.
    grad : callable or array_like
        The gradient in question: a function of `x`, or its value there. The shape of `x`.
    x : ndarray of float32 or float64, Parameter, or list of numbers
        As `numerical_gradient`.
    h : float, default 1e-4
    rtol, atol : float, default 1e-3 and 1e-5
        What is allowed: finite, above 0.

    Returns
    -------
    float
        The largest error of an element, at most `rtol`; 0.0 for an array without elements.

    Raises
    ------
    GradientError
        An error is above `rtol`, or an element is NaN or infinite: an AssertionError that names the
        worst element with both values.
    TypeError, ValueError
        As `numerical_gradient`; `grad` has another shape than `x`.

    References
    ----------
    Deep Learning from Scratch, section 5.7.3.

    Examples
    --------
    >>> from softstep.numerical import check_gradient
    >>> x = [3.0, 4.0]
    >>> check_gradient(lambda x: (x**2).sum(), lambda x: 2 * x, x) < 1e-8
    True
    >>> check_gradient(lambda x: (x**2).sum(), [6.0, 7.0], x)
    Traceback (most recent call last):
    softstep.numerical.differences.GradientError: grad[1] is 7; the difference is 8 (relative error
    0.125, allowed 0.001)
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if check_number(name, value) == 0:
            raise ValueError(f"{name} is {value!r}; accepted: a finite number above 0")
    array = _changeable(x)
    given = grad(array) if callable(grad) else grad
    analytic = np.array(given, np.float64)  # a copy: it may be a view of x
    if analytic.shape != array.shape:
        raise ValueError(f"grad has shape {analytic.shape}; accepted: {array.shape}, that of x")
    numeric = numerical_gradient(f, array, h)
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), atol / rtol)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(analytic - numeric) / scale
    error = np.where(np.isnan(error), np.inf, error)
    if not error.size:
        return 0.0
    worst = np.unravel_index(int(np.argmax(error)), error.shape)
    if error[worst] > rtol:
        where = f"[{', '.join(map(str, worst))}]" if worst else ""
        raise GradientError(
            f"grad{where} is {analytic[worst]:.9g}; the difference is {numeric[worst]:.9g} "
            f"(relative error {error[worst]:.3g}, allowed {rtol:.3g})"
        )
    return float(error[worst])


def tangent_line(f: Callable[[float], Any], x: float, h: float = 1e-4) -> Tangent:
    """Return the tangent of a function of one number, by a central difference.

    Parameters
    ----------
    f : callable
        Of a float; returns a number.
    x : float
        Where the tangent touches.
    h : float, default 1e-4
        The step: finite, above 0.

    Returns
    -------
    Tangent
        Callable with a number or an array; `slope` and `intercept` describe it.

    Raises
    ------
    TypeError, ValueError
        As `numerical_diff`.

    References
    ----------
    Deep Learning from Scratch, section 4.3.2.

    Examples
    --------
    >>> from softstep.numerical import tangent_line
    >>> line = tangent_line(lambda x: 0.01 * x**2 + 0.1 * x, 5)
    >>> round(line.slope, 8), round(float(line(5)), 8)
    (0.2, 0.75)
    """
    slope = numerical_diff(f, x, h)
    return Tangent(slope, _value(f(float(x))) - slope * float(x))


def _step(h: float) -> float:
    step = check_number("h", h)
    if step == 0:
        raise ValueError(f"h is {h!r}; accepted: a finite number above 0")
    return step


def _value(result: Any) -> float:
    """Return what a function gave as a float; TypeError unless it is one number."""
    array = np.asarray(result)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise TypeError(
            f"f returned {'an array of shape ' + str(array.shape) if array.ndim else repr(result)}"
            "; accepted: one number"
        )
    return float(array.reshape(()))


def _changeable(x: Any) -> NDArray[Any]:
    """Return the array whose elements are changed and put back."""
    array = x.data if isinstance(x, Parameter) else x
    if not hasattr(array, "dtype"):
        try:
            return np.array(array, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"x cannot be made an array of floats: {error}") from None
    if not isinstance(array, np.ndarray):  # a NumPy scalar
        array = np.array(array)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):  # in any byte order
        raise TypeError(f"x has dtype {array.dtype}; accepted: float32, float64, or a list")
    if not array.flags.writeable:
        raise ValueError("x is read-only; accepted: an array whose elements can be changed")
    return array
