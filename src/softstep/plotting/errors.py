"""The images that a classifier gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from softstep.models.module import Module
from softstep.plotting.classified import classify, names_of
from softstep.plotting.figures import new_figure
from softstep.plotting.images import check_scale, grid_of, show_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show_errors"]

_ORDERS = ("first", "confident")


def show_errors(
    model: Module,
    data: Any,
    num_rows: int | None = 2,
    num_cols: int | None = 8,
    labels: Sequence[Any] | None = None,
    order: str = "first",
    scale: float = 1.5,
) -> Figure:
    """Show the images that a classifier takes for another class, with both labels.

    Above each image stands what it is, below that what the model takes it for and the probability
    it gives that class.

    Parameters
    ----------
    model : Module
        Gives logits (N, C).
    data : DataModule or (X, y)
        The validation images of a data module, or a batch of images and class indices.
    num_rows, num_cols, scale
        As `show_images`.
    labels : sequence, optional
        The names of the classes; by default those of the data module, else their numbers.
    order : {"first", "confident"}
        Which of them: the first in the data, or those whose wrong class the model gives the highest
        probability, which are most often wrong labels.

    Returns
    -------
    Figure
        If the model errs nowhere, it says so.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    RuntimeError
        The model has seen no data.
    TypeError, ValueError
        The rows are no images, or an argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.5.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> from softstep.plotting import show_errors
    >>> data, model = Digits(), SoftmaxRegression(num_outputs=10, lr=0.5)
    >>> history = Trainer(max_epochs=20).fit(model, data)
    >>> print(show_errors(model, data).axes[0].get_title())
    true: 1
    pred: 9 (0.73)
    """
    check_scale(scale)
    wanted = 16
    if num_rows is not None and num_cols is not None:
        rows, columns = grid_of(1, num_rows, num_cols)
        wanted = rows * columns
    if order not in _ORDERS:
        raise ValueError(f"order is {order!r}; accepted: {', '.join(_ORDERS)}")
    found: list[tuple[float, Any, int, int]] = []
    for batch in classify(model, data):
        wrong = np.flatnonzero(batch.predicted != batch.y)
        found += [
            (float(batch.probability[i]), batch.x[i], int(batch.y[i]), int(batch.predicted[i]))
            for i in wrong
        ]
        if order == "confident":
            found.sort(key=lambda error: -error[0])
            del found[wanted:]
        elif len(found) >= wanted:
            break
    if not found:
        figure = new_figure(4.5, 1.0)
        figure.text(0.5, 0.5, "every image is classified correctly", ha="center", va="center")
        return figure
    del found[wanted:]
    names = names_of(labels, data, 1 + max(max(y, predicted) for _, _, y, predicted in found))
    titles = [f"true: {names[y]}\npred: {names[p]} ({share:.2f})" for share, _, y, p in found]
    return show_images([image for _, image, _, _ in found], num_rows, num_cols, titles, scale)
