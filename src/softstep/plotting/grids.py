"""What pictures of functions of two variables share: evaluation on a grid, limits, paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softstep.models.checks import check_number
from softstep.plotting.figures import COLORS, LINES, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Limits", "along", "as_paths", "check_limits", "draw_paths", "draw_surface", "evaluate",
    "number", "of_point", "section_of", "size_of",
]  # fmt: skip

Limits = tuple[float, float]
_POINTS = 101  # of a side of the grid on which a function is evaluated
_ALIKE = (0.55, 1.8)  # sides with a ratio between these are drawn with equal units
_MARKED = 60  # paths of at most so many points show them
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# A surface is the points of its sides and its values on their grid.
Surface = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def of_point(f: Callable[..., Any]) -> Callable[[NDArray[Any]], Any]:
    """Return `f` as a function of an array (2,)."""
    if not callable(f):
        raise TypeError(f"f is a {type(f).__name__}; accepted: a function of a point")
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # of compiled functions
        return f
    needed = [
        p for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]  # fmt: skip
    return (lambda x: f(x[0], x[1])) if len(needed) == 2 else f


def number(name: str, value: Any, at: Any) -> float:
    """Return what a function gave as a float; ValueError if it is no number."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} gave {value!r} at {at}; accepted: a number")
    return float(array.reshape(()))


def along(f: Callable[..., Any], points: NDArray[Any]) -> NDArray[Any]:
    """Evaluate a function at points (n, 2), one after the other."""
    height = of_point(f)
    return np.array([number("f", height(point.copy()), point) for point in points])


def evaluate(f: Callable[..., Any], horizontal: Limits, vertical: Limits) -> Surface:
    """Evaluate a function point by point: not all take arrays of points."""
    xs, ys = np.linspace(*horizontal, _POINTS), np.linspace(*vertical, _POINTS)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    values = along(f, grid)
    if not np.isfinite(values).any():
        raise ValueError("f is finite nowhere in the section; accepted: another xlim or ylim")
    return xs, ys, values.reshape(_POINTS, _POINTS)


def draw_surface(ax: Axes, surface: Surface, levels: int, *, colorbar: bool) -> None:
    """Draw level curves, closer to each other near a minimum that is in sight."""
    from matplotlib.ticker import MaxNLocator

    xs, ys, values = surface
    values = np.ma.masked_invalid(values)
    least, most = float(values.min()), float(values.max())
    if most > least:
        row, column = np.unravel_index(int(values.argmin()), values.shape)
        bowl = 0 < row < len(ys) - 1 and 0 < column < len(xs) - 1
        steps = least + (most - least) * np.linspace(0, 1, levels + 1) ** (2 if bowl else 1)
        filled = ax.contourf(xs, ys, values, steps, cmap="Blues_r", alpha=0.55)
        ax.contour(xs, ys, values, steps, colors="0.45", linewidths=0.6, linestyles="solid")
        if colorbar:
            bar = figure_of(ax).colorbar(
                filled, ax=ax, spacing="proportional", ticks=MaxNLocator(6), format="%g"
            )
            bar.ax.set_title("f(x)", fontsize=10, pad=10)
    if _ALIKE[0] < np.ptp(xs) / np.ptp(ys) < _ALIKE[1]:
        ax.set_aspect("equal")  # where it costs little room, circles are to look like circles
    ax.set(xlabel="$x_0$", ylabel="$x_1$")


def size_of(horizontal: Limits, vertical: Limits) -> tuple[float, float]:
    """Return the size of a figure in inches that leaves no room beside a surface unused."""
    ratio = (horizontal[1] - horizontal[0]) / (vertical[1] - vertical[0])
    return (1.6 + 3.1 * ratio if _ALIKE[0] < ratio < _ALIKE[1] else 5.2), 3.8


def draw_paths(
    ax: Axes, paths: Mapping[str, NDArray[Any]], horizontal: Limits, vertical: Limits
) -> None:
    """Draw paths with their starts and ends, within limits."""
    for i, (name, points) in enumerate(paths.items()):
        color = COLORS[1] if len(paths) == 1 else COLORS[i % (len(COLORS) - 1)]
        ax.plot(
            points[:, 0], points[:, 1], color=color, linewidth=1.5, label=name,
            linestyle=LINES[i % len(LINES)], markersize=3.5,
            marker=_MARKERS[i % len(_MARKERS)] if len(points) <= _MARKED else None,
        )  # fmt: skip
        ax.plot(*points[0], marker="o", color="black", markersize=7, markeredgecolor="white")
        ax.plot(*points[-1], marker="*", color=color, markersize=13, markeredgecolor="white")
    ax.set(xlim=horizontal, ylim=vertical)


def as_paths(path: Any) -> dict[str, NDArray[Any]]:
    """Return paths as arrays (n, 2) under their names."""
    if path is None:
        return {}
    named = path if isinstance(path, Mapping) else {"path": path}
    found = {}
    for name, points in named.items():
        array = np.asarray(points, np.float64)
        if array.ndim != 2 or array.shape[1] != 2 or not len(array):
            raise ValueError(f"{name} has the shape {array.shape}; accepted: (n, 2)")
        found[str(name)] = array
    return found


def section_of(
    paths: Mapping[str, NDArray[Any]], xlim: Limits | None, ylim: Limits | None
) -> tuple[Limits, Limits]:
    """Return what is to be seen: what was given, else the paths with room around them."""
    points = np.concatenate([*paths.values(), np.empty((0, 2))])
    points = points[np.isfinite(points).all(axis=1)]
    found = []
    for axis, (name, given) in enumerate((("xlim", xlim), ("ylim", ylim))):
        if given is not None:
            found.append(check_limits(name, given))
        elif not len(points):
            found.append((-3.0, 3.0))
        else:
            least, most = points[:, axis].min(), points[:, axis].max()
            # At least a third of the other side, lest a path along one axis be all that is seen.
            width = max(most - least, float(np.ptp(points, axis=0).max()) / 3) or 1.0
            middle = (least + most) / 2
            found.append((float(middle - 0.65 * width), float(middle + 0.65 * width)))
    return found[0], found[1]


def check_limits(name: str, value: Any) -> Limits:
    """Return two finite numbers, the smaller one first; TypeError or ValueError otherwise."""
    try:
        left, right = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; accepted: two numbers") from None
    left, right = (
        check_number(f"{name}[0]", left, -np.inf),
        check_number(f"{name}[1]", right, -np.inf),
    )
    if not left < right:
        raise ValueError(f"{name} is {value!r}; accepted: the smaller number first")
    return left, right
