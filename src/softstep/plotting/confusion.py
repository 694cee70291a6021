"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_integer
from softstep.models.module import Module
from softstep.plotting.classified import as_classes, classify, names_of
from softstep.plotting.figures import axes_of, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "confusion_of", "show_confusion"]


def confusion_matrix(
    y: ArrayLike, predicted: ArrayLike, num_classes: int | None = None
) -> NDArray[np.int64]:
    """Count how often each class is taken for each.

    Parameters
    ----------
    y : (n,) array_like of integers
        What the rows are.
    predicted : (n,) array_like of integers
        What they are taken for.
    num_classes : int, optional
        How many classes there are; by default one more than the largest index.

    Returns
    -------
    (C, C) int64 ndarray
        In row i, column j: how many rows of class i were taken for class j. The diagonal holds the
        correct ones.

    Raises
    ------
    TypeError, ValueError
        The lengths differ; an index is negative, no integer, or too large for `num_classes`.

    Examples
    --------
    >>> from softstep.plotting import confusion_matrix
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0])
    array([[1, 1, 0],
           [0, 1, 0],
           [1, 0, 0]])
    """
    true, taken = as_classes("y", y), as_classes("predicted", predicted)
    if len(true) != len(taken):
        raise ValueError(f"y has {len(true)} rows and predicted {len(taken)}; accepted: the same")
    most = int(max(true.max(initial=-1), taken.max(initial=-1))) + 1
    count = max(most, 1) if num_classes is None else check_integer("num_classes", num_classes, 1)
    if count < most:
        name, array = ("y", true) if true.max(initial=-1) >= count else ("predicted", taken)
        row = int((array >= count).argmax())
        raise ValueError(f"{name}[{row}] is {array[row]}; accepted: 0 to {count - 1}")
    return np.bincount(true * count + taken, minlength=count * count).reshape(count, count)


def confusion_of(model: Module, data: Any, num_classes: int | None = None) -> NDArray[np.int64]:
    """Count how often a classifier takes each class for each.

    Parameters
    ----------
    model : Module
        Gives logits (N, C).
    data : DataModule or (X, y)
        The validation rows of a data module, or one batch.
    num_classes : int, optional
        By default that of the data, else one more than the largest index.

    Returns
    -------
    (C, C) int64 ndarray
        As `confusion_matrix`.

    Raises
    ------
    RuntimeError
        The model has seen no data.
    TypeError, ValueError
        As `confusion_matrix`, or there are no validation data.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> from softstep.plotting import confusion_of
    >>> data, model = Digits(), SoftmaxRegression(num_outputs=10, lr=0.5)
    >>> history = Trainer(max_epochs=5).fit(model, data)
    >>> matrix = confusion_of(model, data)
    >>> matrix.shape, bool(matrix.trace() / matrix.sum() == history[-1].val_accuracy)
    ((10, 10), True)
    """
    parts = [(batch.y, batch.predicted) for batch in classify(model, data)]
    true = np.concatenate([y for y, _ in parts]) if parts else np.empty(0, np.int64)
    taken = np.concatenate([p for _, p in parts]) if parts else np.empty(0, np.int64)
    if num_classes is None:
        num_classes = getattr(data, "num_classes", None)
    return confusion_matrix(true, taken, num_classes)


def show_confusion(
    matrix: ArrayLike,
    labels: Sequence[Any] | None = None,
    normalize: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Show a confusion matrix: colours are shares of a row, numbers are counts.

    Parameters
    ----------
    matrix : (C, C) array_like
        As of `confusion_matrix`.
    labels : sequence, optional
        The names of the classes; by default their numbers.
    normalize : bool, default False
        Write percentages of the rows instead of counts.
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
        The matrix is not square or has negative or no finite numbers; there are too few labels.

    Examples
    --------
    >>> from softstep.plotting import confusion_matrix, show_confusion
    >>> figure = show_confusion(confusion_matrix([0, 0, 1], [0, 1, 1]), ["cat", "dog"])
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('predicted class', 'true class')
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"matrix has the shape {counts.shape}; accepted: (C, C)")
    if counts.dtype.kind not in "biuf" or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError("matrix holds something else than finite numbers of at least 0")
    count = len(counts)
    names = names_of(labels, None, count)[:count]
    sums = counts.sum(axis=1, keepdims=True, dtype=np.float64)
    shares = np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0)
    require_matplotlib()
    from matplotlib.colors import PowerNorm

    side = max(3.6, 1.4 + 0.42 * count)
    figure, ax = axes_of(ax, side + 0.9, side, grid=False)
    # The colour follows the root of the share: mistakes of one in a hundred are to be seen.
    image = ax.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    turned = max(map(len, names)) > 3
    ax.set_xticks(
        range(count), names, rotation=45 if turned else 0, ha="right" if turned else "center",
        rotation_mode="anchor" if turned else None,
    )  # fmt: skip
    ax.set_yticks(range(count), names)
    ax.tick_params(length=0)
    ax.set(xlabel="predicted class", ylabel="true class")
    for i, j in np.ndindex(count, count):
        if counts[i, j] or i == j:
            text = f"{100 * shares[i, j]:.1f}" if normalize else f"{counts[i, j]:g}"
            color = "white" if shares[i, j] > 0.3 else "black"
            ax.text(j, i, text, ha="center", va="center", color=color, fontsize=_size(count))
    bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class")
    if normalize:
        ax.set_title("percent of the true class", fontsize=10)
    return figure


def _size(count: int) -> float:
    """Return a size in which four digits fit into a cell."""
    return 8.0 if count <= 20 else 5.0
