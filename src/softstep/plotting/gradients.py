"""Derivatives of functions of one and two variables: tangents, and arrows of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from softstep.models.checks import check_integer, check_number
from softstep.plotting.figures import COLORS, axes_of
from softstep.plotting.grids import Limits, check_limits, draw_surface, evaluate, number, of_point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["quiver", "tangent"]


def quiver(
    f: Callable[..., Any],
    grad: Callable[..., Any] | None = None,
    xlim: Limits = (-2.0, 2.0),
    ylim: Limits = (-2.0, 2.0),
    num: int = 13,
    ax: Axes | None = None,
) -> Figure:
    """Draw the negative gradient of a function of two variables as arrows: where descent goes.

    Parameters
    ----------
    f : callable
        As `contour`.
    grad : callable, optional
        Its gradient, of an array (2,), or of two numbers like `f`; by default numerical.
    xlim, ylim : pair of float, default (-2, 2)
        The section shown.
    num : int, default 13
        Arrows in each direction.
    ax : Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    Figure
        An arrow's length is proportional to the slope; the longest reaches its neighbour.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        `f` or `grad` gives something else, or an argument is not as described.

    References
    ----------
    K. Saito, "Deep Learning from Scratch", section 4.4.

    Examples
    --------
    >>> from softstep.plotting import quiver
    >>> figure = quiver(lambda x: x[0] ** 2 + x[1] ** 2)
    >>> figure.axes[0].get_xlabel()
    '$x_0$'
    """
    from softstep.numerical import numerical_gradient

    horizontal, vertical = check_limits("xlim", xlim), check_limits("ylim", ylim)
    count = check_integer("num", num, 2)
    height = of_point(f)
    slope = (lambda x: numerical_gradient(height, x)) if grad is None else of_point(grad)
    xs, ys = np.linspace(*horizontal, count), np.linspace(*vertical, count)
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    gradients = np.empty_like(points)
    for index in np.ndindex(count, count):
        found = np.asarray(slope(points[index].copy()), np.float64)
        if found.shape != (2,):
            raise ValueError(f"grad gave the shape {found.shape}; accepted: (2,)")
        gradients[index] = -found
    surface = evaluate(f, horizontal, vertical)
    figure, ax = axes_of(ax, 4.0, 3.9, grid=False)
    draw_surface(ax, surface, 14, colorbar=False)
    lengths = np.hypot(*np.moveaxis(gradients, -1, 0))
    longest = np.nanmax(np.where(np.isfinite(lengths), lengths, np.nan), initial=0.0)
    # Lengths are in units of the axes, which are equal: arrows cross level curves at right angles.
    cell = min(xs[1] - xs[0], ys[1] - ys[0])
    ax.quiver(
        points[..., 0], points[..., 1], gradients[..., 0], gradients[..., 1],
        angles="xy", scale_units="xy", scale=max(longest, 1e-300) / (1.3 * cell),
        color=COLORS[1], width=0.006, pivot="tail", zorder=3,
    )  # fmt: skip
    ax.set_aspect("equal")
    ax.set(xlabel="$x_0$", ylabel="$x_1$")
    ax.set_title("arrows: negative gradient", fontsize=10)
    return figure


def tangent(
    f: Callable[[Any], Any], x: float, xlim: Limits | None = None, ax: Axes | None = None
) -> Figure:
    """Draw a function of one variable with its tangent at a point.

    Parameters
    ----------
    f : callable
        ``f(x)`` of a number; gives a number.
    x : float
        Where the tangent touches.
    xlim : pair of float, optional
        The section shown; by default 5 to each side of `x`.
    ax : Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        `f` gives something other than a number, or an argument is not as described.

    References
    ----------
    K. Saito, "Deep Learning from Scratch", section 4.3.

    Examples
    --------
    >>> from softstep.plotting import tangent
    >>> figure = tangent(lambda x: 0.01 * x**2 + 0.1 * x, 5, xlim=(0, 20))
    >>> figure.axes[0].get_legend().texts[1].get_text()
    'tangent at x = 5, slope 0.2'
    """
    from softstep.numerical import tangent_line

    at = check_number("x", x, -np.inf)
    left, right = (at - 5, at + 5) if xlim is None else check_limits("xlim", xlim)
    xs = np.linspace(left, right, 301)
    values = np.array([number("f", f(float(value)), value) for value in xs])
    touched = number("f", f(at), at)
    line = tangent_line(f, at)
    on_line = np.array([number("the tangent", line(float(value)), value) for value in xs])
    slope = (on_line[-1] - on_line[0]) / (xs[-1] - xs[0])
    figure, ax = axes_of(ax)
    ax.plot(xs, values, color=COLORS[0], linewidth=1.8, label="f(x)")
    # Rounded, since the slope is numerical: 0.19999999 is to read 0.2.
    name = f"tangent at x = {at:g}, slope {round(float(slope), 6):.4g}"
    ax.plot(xs, on_line, color=COLORS[1], linewidth=1.5, linestyle="--", label=name)
    ax.plot([at], [touched], "o", color=COLORS[1], markersize=6)
    ax.set(xlabel="x", ylabel="f(x)", xlim=(left, right))
    ax.legend(frameon=False)
    return figure
