"""Curves: functions, and the loss and accuracy of trainings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from softstep.plotting.figures import COLORS, LINES, axes_of, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_history", "plot", "plot_history", "plot_learning_rates"]

_SCALES = ("linear", "log")
_MARKED = 30  # curves of at most so many points show them; a single point would be invisible
_MEASURES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
}


def plot(
    X: ArrayLike | Sequence[ArrayLike],
    Y: ArrayLike | Sequence[ArrayLike] | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    legend: Sequence[str] = (),
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    xscale: str = "linear",
    yscale: str = "linear",
    ax: Axes | None = None,
) -> Figure:
    """Plot one or several curves.

    Parameters
    ----------
    X : (n,) array_like or sequence of them
        The points' abscissae, one array for all curves or one for each. Without `Y` the ordinates,
        over 0, 1, 2 and so on.
    Y : (n,) array_like or sequence of them, optional
        The ordinates. NaN leaves a gap.
    xlabel, ylabel : str, optional
        What stands at the axes.
    legend : sequence of str, optional
        The curves' names, one for each.
    xlim, ylim : pair of float, optional
        The section shown.
    xscale, yscale : {"linear", "log"}
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
        The lengths do not fit, or an argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 2.4.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep.plotting import plot
    >>> x = np.linspace(-3, 3, 61)
    >>> figure = plot(x, [np.tanh(x), x], "x", "f(x)", legend=["tanh", "identity"])
    >>> len(figure.axes[0].lines)
    2
    """
    if Y is None:
        ordinates = _curves("X", X)
        abscissae = [np.arange(len(curve)) for curve in ordinates]
    else:
        abscissae, ordinates = _curves("X", X), _curves("Y", Y)
        if len(abscissae) == 1:
            abscissae *= len(ordinates)
    if [len(x) for x in abscissae] != [len(y) for y in ordinates]:
        raise ValueError(
            f"X has curves of {[len(x) for x in abscissae]} points and Y of "
            f"{[len(y) for y in ordinates]}; accepted: the same"
        )
    names = [str(name) for name in legend]
    if names and len(names) != len(ordinates):
        raise ValueError(
            f"legend has {len(names)} names; accepted: one for each of {len(ordinates)}"
        )
    _check_scale("xscale", xscale)
    _check_scale("yscale", yscale)
    figure, ax = axes_of(ax)
    for i, (x, y) in enumerate(zip(abscissae, ordinates, strict=True)):
        _curve(ax, x, y, i, names[i] if names else None, marked=len(x) == 1)
    ax.set(xscale=xscale, yscale=yscale, xlabel=xlabel or "", ylabel=ylabel or "")
    ax.set(xlim=xlim, ylim=ylim)
    if names:
        ax.legend(frameon=False)
    return figure


def plot_history(
    history: Iterable[Any],
    *,
    title: str | None = None,
    yscale: str = "linear",
    held_out: str = "validation",
) -> Figure:
    """Plot the loss and, if it was measured, the accuracy of each epoch of a training.

    Parameters
    ----------
    history : iterable of EpochRecord or mapping
        What ``Trainer.fit`` returns, or the list under ``"history"`` of ``softstep train --json``.
        What was not measured (None) is left out; not all epochs need to have been.
    title : str, optional
    yscale : {"linear", "log"}
        Of the loss.
    held_out : str, default "validation"
        What the legend calls the rows that `val_loss` and `val_accuracy` are measured on: "test"
        where no others were held out.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        The history is empty or none at all; another argument is not as described.

    Notes
    -----
    The training loss is a mean over an epoch in which the model changes, the validation loss that
    of the model after it: early in a training the second can be smaller.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> from softstep.plotting import plot_history
    >>> history = Trainer(max_epochs=3).fit(SoftmaxRegression(10, lr=0.5), Digits())
    >>> [ax.get_ylabel() for ax in plot_history(history).axes]
    ['loss', 'accuracy']
    """
    records = check_history("history", history)
    _check_scale("yscale", yscale)
    if not isinstance(held_out, str):
        raise TypeError(f"held_out is a {type(held_out).__name__}; accepted: a string")
    panels = [
        [name for name in _MEASURES if name.endswith(kind) and _has(records, name)]
        for kind in ("loss", "accuracy")
    ]
    shown = [names for names in panels if names]
    if not shown:
        raise ValueError("history has epochs without a loss or an accuracy; accepted: one of them")
    figure = new_figure(4.5 * len(shown), 3.2)
    for number, names in enumerate(shown, 1):
        ax = figure.add_subplot(1, len(shown), number)
        tidy(ax)
        for i, name in enumerate(names):
            x, y = _series(records, name)
            which = 0 if name.startswith("train") else 1
            label = held_out if which else "training"
            _curve(ax, x, y, which, label, marked=len(x) <= _MARKED)
            if i == 0:
                _epochs(ax, records)
        kind = names[0].partition("_")[2]
        ax.set_ylabel(kind)
        if kind == "loss":
            ax.set_yscale(yscale)
        ax.legend(frameon=False)
    if title is not None:
        figure.suptitle(title)
    return figure


def plot_learning_rates(
    histories: Mapping[Any, Iterable[Any]],
    value: str | None = None,
    *,
    yscale: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Plot one measure of several trainings, usually with different learning rates, over epochs.

    Parameters
    ----------
    histories : mapping of a learning rate (or a name) to a history
        See `plot_history`. A history may be shorter than the others, or empty: a training that
        diverged says so in the legend.
    value : {"train_loss", "val_loss", "train_accuracy", "val_accuracy"}, optional
        By default the validation loss, or the training loss where there is none.
    yscale : {"linear", "log"}, optional
        By default logarithmic if the losses differ more than thirtyfold.
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
        There are no histories, or none of them has the value; another argument is not as described.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> from softstep.plotting import plot_learning_rates
    >>> histories = {
    ...     lr: Trainer(max_epochs=3).fit(SoftmaxRegression(10, lr), Digits()) for lr in (0.01, 0.1)
    ... }
    >>> [text.get_text() for text in plot_learning_rates(histories).axes[0].get_legend().texts]
    ['0.01', '0.1']
    """
    if not isinstance(histories, Mapping) or not histories:
        raise ValueError(
            f"histories is {histories!r}; accepted: a mapping of learning rates to histories"
        )
    records = {
        rate: check_history(f"histories[{rate!r}]", history, empty=True)
        for rate, history in histories.items()
    }
    if value is None:
        have = any(_has(found, "val_loss") for found in records.values())
        value = "val_loss" if have else "train_loss"
    if value not in _MEASURES:
        raise ValueError(f"value is {value!r}; accepted: {', '.join(_MEASURES)}")
    if not any(_has(found, value) for found in records.values()):
        raise ValueError(f"no history has a {value}; accepted: one that was measured")
    series = {rate: _series(found, value) for rate, found in records.items()}
    if yscale is None:
        every = np.concatenate([np.asarray(y, np.float64) for _, y in series.values()])
        every = every[np.isfinite(every)]
        wide = value.endswith("loss") and every.size > 0 and every.max() > 30 * every.min() > 0
        yscale = "log" if wide else "linear"
    _check_scale("yscale", yscale)
    longest = max(records.values(), key=len)
    figure, ax = axes_of(ax, 6.4, 3.4)
    for i, (rate, (x, y)) in enumerate(series.items()):
        stopped = len(records[rate]) < len(longest)
        name = f"{rate:g}" if isinstance(rate, (int, float)) else str(rate)
        if stopped:
            name += f"\n(stopped after {len(records[rate])})"
        _curve(ax, x, y, i, name, marked=len(x) <= _MARKED)
    _epochs(ax, longest)
    ax.set(ylabel=_MEASURES[value], yscale=yscale)
    numbers = all(isinstance(rate, (int, float)) for rate in records)
    ax.legend(
        frameon=False, title="learning rate" if numbers else None,
        loc="upper left", bbox_to_anchor=(1.0, 1.0),
    )  # fmt: skip
    return figure


def _curve(ax: Axes, x: Any, y: Any, number: int, name: str | None, *, marked: bool) -> None:
    colors = COLORS[:-1]
    ax.plot(
        x, y, color=colors[number % len(colors)],
        linestyle=LINES[(number // len(colors)) % len(LINES)] if number >= len(colors) else "-",
        marker=("o", "s", "^", "D", "v", "P", "X")[number % 7] if marked else None,
        markersize=4, linewidth=1.8, label=name,
    )  # fmt: skip


def _epochs(ax: Axes, records: list[dict[str, Any]]) -> None:
    """Label the axis of epochs, which are counted from 1 here, with whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    epochs = [record["epoch"] + 1 for record in records]
    room = max(0.5, 0.03 * (max(epochs) - min(epochs)))
    # Without the tick 0, an epoch that does not exist.
    ax.set_xlim(max(min(epochs) - room, 0.4), max(epochs) + room)


def _curves(name: str, value: Any) -> list[Any]:
    """Return one or several curves as a list of arrays (n,)."""
    several = isinstance(value, (list, tuple)) and len(value) > 0 and np.ndim(value[0]) == 1
    several = several or (isinstance(value, np.ndarray) and value.ndim == 2)
    curves = [np.asarray(curve) for curve in (value if several else [value])]
    for curve in curves:
        if curve.ndim != 1 or curve.dtype.kind not in "biuf" or not len(curve):
            raise ValueError(
                f"{name} holds {curve.dtype} of shape {curve.shape}; "
                "accepted: real numbers (n,), or a sequence of such arrays"
            )
    return curves


def check_history(
    name: str, history: Iterable[Any], *, empty: bool = False
) -> list[dict[str, Any]]:
    """Return the records of a history as dictionaries, checked."""
    accepted = "accepted: what Trainer.fit returns, or a list of dictionaries like its records"
    if isinstance(history, (str, bytes, Mapping)) or not isinstance(history, Iterable):
        raise TypeError(f"{name} is a {type(history).__name__}; {accepted}")
    found = []
    for i, record in enumerate(history):
        values = record if isinstance(record, Mapping) else None
        if values is None and callable(getattr(record, "as_dict", None)):
            values = record.as_dict()
        if values is None:
            raise TypeError(f"{name}[{i}] is a {type(record).__name__}; {accepted}")
        epoch = values.get("epoch", i)
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            raise ValueError(f"{name}[{i}] has the epoch {epoch!r}; accepted: an integer")
        numbers = {key: values.get(key) for key in _MEASURES}
        for key, number in numbers.items():
            if number is not None and (
                isinstance(number, bool) or not isinstance(number, (int, float, np.floating))
            ):
                raise ValueError(f"{name}[{i}] has the {key} {number!r}; accepted: a number")
        found.append({"epoch": epoch, **numbers})
    if not found and not empty:
        raise ValueError(f"{name} has no epochs; {accepted}")
    return found


def _has(records: list[dict[str, Any]], name: str) -> bool:
    return any(record[name] is not None for record in records)


def _series(records: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Return the epochs, from 1, that have a value, and the values; infinite ones are gaps."""
    pairs = [(record["epoch"] + 1, record[name]) for record in records if record[name] is not None]
    return [x for x, _ in pairs], [y if math.isfinite(y) else math.nan for _, y in pairs]


def _check_scale(name: str, value: str) -> None:
    if value not in _SCALES:
        raise ValueError(f"{name} is {value!r}; accepted: {', '.join(_SCALES)}")
