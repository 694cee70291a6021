"""Where a classifier of two features changes its mind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from softstep.models.module import Module
from softstep.plotting.classified import as_classes, names_of
from softstep.plotting.figures import COLORS, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["decision_boundaries"]

_POINTS = 201  # of a side of the grid
_MARKERS = ("o", "s", "^", "D", "v", "p", "X", "*", "<", ">")


def decision_boundaries(
    model: Module,
    x: ArrayLike,
    y: ArrayLike,
    labels: Sequence[Any] | None = None,
    xlabel: str = "$x_0$",
    ylabel: str = "$x_1$",
    ax: Axes | None = None,
) -> Figure:
    """Show where a classifier of two features places each class, and the rows it is to tell apart.

    The boundaries are the lines on which the two largest logits are equal: straight ones for
    softmax regression.

    Parameters
    ----------
    model : Module
        Gives logits (N, C) of rows (N, 2).
    x : (N, 2) array_like
        The rows.
    y : (N,) array_like of integers
        Their classes. The model may have more of them.
    labels : sequence, optional
        The names of the classes; by default their numbers.
    xlabel, ylabel : str
        What stands at the axes.
    ax : Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    RuntimeError
        The model has seen no data.
    TypeError, ValueError
        The rows have other than two features, lengths differ, or a class is none of the model's.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import ArrayDataModule, SoftmaxRegression, Trainer
    >>> from softstep.plotting import decision_boundaries
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 300)
    >>> x = (rng.normal(size=(300, 2)) + 3 * np.eye(3, 2)[y]).astype(np.float32)
    >>> model = SoftmaxRegression(num_outputs=3, lr=0.1)
    >>> history = Trainer(max_epochs=20).fit(model, ArrayDataModule(x, y))
    >>> figure = decision_boundaries(model, x, y)
    """
    if not isinstance(model, Module):
        raise TypeError(f"model is a {type(model).__name__}; accepted: a Module")
    model.require_data()
    points, classes = np.asarray(x), as_classes("y", y)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "biuf":
        raise ValueError(f"x holds {points.dtype} {points.shape}; accepted: real numbers (N, 2)")
    if len(points) != len(classes) or not len(points):
        raise ValueError(
            f"x has {len(points)} rows and y {len(classes)}; accepted: the same, at least 1"
        )
    if not np.isfinite(points).all():
        row = int((~np.isfinite(points)).any(axis=1).argmax())
        raise ValueError(f"x holds {points[row]} in row {row}; accepted: finite numbers")
    least, most = points.min(axis=0), points.max(axis=0)
    room = 0.08 * np.where(most > least, most - least, 1.0)
    sides = [np.linspace(least[i] - room[i], most[i] + room[i], _POINTS) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype(np.float32)
    before = model.training
    model.eval()
    try:
        logits = np.asarray(model(grid), np.float64)
    finally:
        model.train(before)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"the model gave the shape {logits.shape}; accepted: (N, C) of 2 or more")
    count = logits.shape[1]
    if classes.max() >= count:
        row = int((classes >= count).argmax())
        raise ValueError(f"y[{row}] is {classes[row]}; accepted: 0 to {count - 1}")
    names = names_of(labels, None, count)
    figure, ax = axes_of(ax, 5.0, 3.8, grid=False)
    for k in range(count):
        others = np.delete(logits, k, axis=1).max(axis=1)
        margin = (logits[:, k] - others).reshape(_POINTS, _POINTS)
        if margin.max() <= 0:
            continue  # a class that is predicted nowhere in sight
        color = _color(k)
        top = max(float(margin.max()), 1e-300)
        ax.contourf(*sides, margin, [0.0, top], colors=[color], alpha=0.22)
        if margin.min() < 0:
            ax.contour(*sides, margin, [0.0], colors="0.25", linewidths=1.0)
    for k in np.unique(classes):
        mine = points[classes == k]
        ax.scatter(
            mine[:, 0], mine[:, 1], s=24, color=_color(k), marker=_MARKERS[k % len(_MARKERS)],
            edgecolors="white", linewidths=0.4, label=names[k], zorder=3,
        )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set(xlim=(sides[0][0], sides[0][-1]), ylim=(sides[1][0], sides[1][-1]))
    ax.legend(title="class", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _color(k: int) -> str:
    colors = COLORS[:6]
    return colors[k] if k < len(colors) else f"C{k % 10}"
