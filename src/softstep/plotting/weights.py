"""Weights as images: what a class, or a hidden unit, looks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.module import Module
from softstep.plotting.figures import new_figure
from softstep.plotting.images import check_scale, grid_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show_weights"]

_MOST = 40  # hidden units that are shown unless a grid is given


def show_weights(
    model: Module | ArrayLike,
    labels: Sequence[Any] | None = None,
    num_rows: int | None = None,
    num_cols: int | None = None,
    image_shape: tuple[int, int] | None = None,
    scale: float = 1.5,
) -> Figure:
    """Show the weights of each class as an image: blue speaks for the class, red against it.

    Parameters
    ----------
    model : Module or (C, K) array_like
        A model whose first parameter of two dimensions meets the pixels: ``weight`` (C, K) of the
        library's models, ``W`` (K, C) of the Scratch models; or the weights themselves, a row for
        each class. Of an MLP these are the hidden units, of which the first 40 are shown.
    labels : sequence, optional
        What stands above the images; by default their numbers.
    num_rows, num_cols : int, optional
        The grid, as `show_images`; weights beyond it are not shown.
    image_shape : (int, int), optional
        Height and width of the images; by default they are square.
    scale : float, default 1.5
        Inches of an image's width and height.

    Returns
    -------
    Figure
        All images have one scale of colours, with zero in its middle.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    RuntimeError
        The model has seen no data.
    TypeError, ValueError
        There are no such weights, they do not fit `image_shape`, or another argument is not as
        described.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> from softstep.plotting import show_weights
    >>> data, model = Digits(), SoftmaxRegression(num_outputs=10, lr=0.5)
    >>> history = Trainer(max_epochs=5).fit(model, data)
    >>> figure = show_weights(model, data.labels)
    >>> len(figure.axes)  # ten classes, and the scale of colours
    11
    """
    if isinstance(model, Module):
        weights = _first_weights(model)
    else:
        weights = np.asarray(model)
        if weights.ndim != 2 or weights.dtype.kind not in "iuf" or not weights.size:
            raise ValueError(
                f"model is an array of {weights.dtype} {weights.shape}; accepted: a Module, or "
                "real weights (C, K)"
            )
    height, width = _image_shape(weights.shape[1], image_shape)
    columns = min(5, len(weights)) if num_rows is None and num_cols is None else num_cols
    if len(weights) > 12 and num_rows is None and num_cols is None:
        columns = 8
    shown = weights if num_rows is not None and num_cols is not None else weights[:_MOST]
    rows, columns = grid_of(len(shown), num_rows, columns)
    shown = shown[: rows * columns]
    names = [str(name) for name in (range(len(shown)) if labels is None else labels)]
    if len(names) < len(shown):
        raise ValueError(f"labels has {len(names)} names; accepted: one for each of {len(shown)}")
    check_scale(scale)
    finite = np.abs(shown[np.isfinite(shown)])
    largest = float(finite.max(initial=0.0)) or 1.0
    figure = new_figure(columns * scale + 0.9, rows * (scale + 0.2))
    cells, image = [], None
    for i, row in enumerate(shown):
        ax = figure.add_subplot(rows, columns, i + 1)
        image = ax.imshow(
            row.reshape(height, width), cmap="RdBu", vmin=-largest, vmax=largest,
            interpolation="nearest",
        )  # fmt: skip
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(names[i], fontsize=10 if scale >= 1 else 7, pad=3)
        cells.append(ax)
    assert image is not None
    bar = figure.colorbar(image, ax=cells, fraction=0.03, pad=0.02)
    bar.set_label("weight")
    return figure


def _first_weights(model: Module) -> NDArray[Any]:
    """Return the weights that meet the features, a row for each output."""
    model.require_data()
    for name, parameter in model.named_parameters().items():
        if parameter.data.ndim == 2:
            # The book's W1 and W stand as (K, C), the library's weight as (C, K).
            book = name.rpartition(".")[2][:1] in "Ww" and not name.endswith("weight")
            return parameter.data.T if book else parameter.data
    raise ValueError(f"{type(model).__name__} has no weights of two dimensions")


def _image_shape(features: int, given: Any) -> tuple[int, int]:
    if given is None:
        side = math.isqrt(features)
        if side * side != features:
            raise ValueError(
                f"the {features} weights of a class are no square; give image_shape=(height, width)"
            )
        return side, side
    try:
        height, width = (int(length) for length in given)
    except (TypeError, ValueError):
        raise TypeError(f"image_shape is {given!r}; accepted: (height, width)") from None
    if height < 1 or width < 1 or height * width != features:
        raise ValueError(
            f"image_shape is {given!r}; accepted: a height times a width of {features}"
        )
    return height, width
