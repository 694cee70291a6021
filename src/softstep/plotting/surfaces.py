"""Functions of two variables: level curves, and the paths of descents on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from softstep.models.checks import check_integer
from softstep.plotting.figures import COLORS, LINES, axes_of, new_figure, tidy
from softstep.plotting.grids import (
    Limits,
    along,
    as_paths,
    draw_paths,
    draw_surface,
    evaluate,
    section_of,
    size_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["contour", "descent_paths"]


def contour(
    f: Callable[..., Any],
    path: ArrayLike | Mapping[str, ArrayLike] | None = None,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    levels: int = 14,
    ax: Axes | None = None,
) -> Figure:
    """Draw the level curves of a function of two variables, with the path of a descent on it.

    Parameters
    ----------
    f : callable
        ``f(x)`` of an array (2,), as `softstep.numerical.gradient_descent` takes it, or
        ``f(x1, x2)`` of two numbers; gives a number.
    path : (n, 2) array_like or mapping of names to such arrays, optional
        The points of a descent in their order: the start is marked by a black dot, the end by
        a star.
    xlim, ylim : pair of float, optional
        The section shown. By default the paths with room around them, or -3 to 3.
    levels : int, default 14
        How many levels. If the smallest value is in sight they are closer to each other near it,
        so that the curves of a quadratic bowl stand at equal distances.
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
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.3; K. Saito,
    "Deep Learning from Scratch", section 4.4.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.plotting import contour
    >>> path = np.array([-3.0, 4.0]) * 0.8 ** np.arange(21)[:, None]
    >>> figure = contour(lambda x: x[0] ** 2 + x[1] ** 2, path)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('$x_0$', '$x_1$')
    """
    paths = as_paths(path)
    horizontal, vertical = section_of(paths, xlim, ylim)
    check_integer("levels", levels, 2)
    surface = evaluate(f, horizontal, vertical)
    figure, ax = axes_of(ax, *size_of(horizontal, vertical), grid=False)
    draw_surface(ax, surface, levels, colorbar=True)
    draw_paths(ax, paths, horizontal, vertical)
    if isinstance(path, Mapping):
        ax.legend(loc="best", fontsize=9)
    return figure


def descent_paths(
    f: Callable[..., Any],
    paths: Mapping[str, ArrayLike],
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    levels: int = 14,
    yscale: str = "linear",
) -> Figure:
    """Compare descents on a function of two variables: where they go, and how fast they descend.

    Parameters
    ----------
    f : callable
        As `contour`.
    paths : mapping of str to (n, 2) array_like
        The points of each descent, for example of one optimizer, in their order.
    xlim, ylim, levels
        As `contour`.
    yscale : {"linear", "log"}
        Of the picture of ``f`` after each step.

    Returns
    -------
    Figure
        On its left the paths on the level curves, on its right the values of `f` along them.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        As `contour`.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.plotting import descent_paths
    >>> steps = np.arange(21)[:, None]
    >>> start = np.array([-3.0, 4.0])
    >>> figure = descent_paths(
    ...     lambda x: x[0] ** 2 + x[1] ** 2,
    ...     {"lr 0.1": start * 0.8**steps, "lr 0.02": start * 0.96**steps},
    ... )
    >>> [ax.get_xlabel() for ax in figure.axes[:2]]
    ['$x_0$', 'step']
    """
    if not isinstance(paths, Mapping) or not paths:
        raise ValueError(f"paths is {paths!r}; accepted: a mapping of names to arrays (n, 2)")
    if yscale not in ("linear", "log"):
        raise ValueError(f"yscale is {yscale!r}; accepted: linear, log")
    arrays = as_paths(paths)
    horizontal, vertical = section_of(arrays, xlim, ylim)
    check_integer("levels", levels, 2)
    surface = evaluate(f, horizontal, vertical)
    values = {name: along(f, array) for name, array in arrays.items()}
    figure = new_figure(9.6, 3.8)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    draw_surface(left, surface, levels, colorbar=True)
    draw_paths(left, arrays, horizontal, vertical)
    tidy(right)
    for i, (name, value) in enumerate(values.items()):
        right.plot(
            np.arange(len(value)), value, label=name, color=COLORS[i % (len(COLORS) - 1)],
            linestyle=LINES[i % len(LINES)], linewidth=1.8,
        )  # fmt: skip
    right.set(xlabel="step", ylabel="f(x)", yscale=yscale)
    right.legend(frameon=False)
    return figure
