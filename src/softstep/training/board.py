"""A board that draws curves while they grow: live in a notebook, into a file anywhere."""

from __future__ import annotations

import importlib
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from softstep.kernels._arrays import as_flag
from softstep.models.checks import check_integer, check_number

__all__ = ["Point", "ProgressBoard"]

_FORMATS = ("png", "svg", "pdf")
_SECONDS = 0.5  # between two drawings: a person sees no more, and drawing takes a tenth of that


class Point(NamedTuple):
    """A point of a curve."""

    x: float
    y: float


class ProgressBoard:
    """Curves that grow point by point.

    In a notebook the drawing appears below the cell and is brought up to date; elsewhere nothing is
    shown, and `save` writes it to a file. No window is opened and no display is needed. Points are
    kept in any case, and matplotlib (``pip install 'softstep[plot]'``) is loaded when there is
    something to draw.

    Parameters
    ----------
    xlabel, ylabel : str, optional
        The names of the axes.
    xlim, ylim : pair of float, optional
        Their limits; by default those of the points.
    xscale, yscale : str
        ``"linear"``, ``"log"`` or another scale of matplotlib.
    ls, colors : sequence of str
        Line styles and colours of the curves, in the order of their first points; used again from
        the beginning when there are more curves.
    fig, axes : matplotlib Figure and Axes, optional
        To draw on a figure of one's own.
    figsize : pair of float
        Inches.
    display : bool, default True
        Whether to show the drawing in a notebook.
    save : path, optional
        A PNG, SVG or PDF file that is kept up to date as the curves grow (about twice a second;
        `flush` brings it up to date at once).

    Attributes
    ----------
    data : dict of str to list of Point
        The points of each curve, under its label.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.

    Examples
    --------
    >>> import math
    >>> from softstep import ProgressBoard
    >>> board = ProgressBoard(xlabel="x", display=False)
    >>> for x in range(100):
    ...     board.draw(x / 10, math.sin(x / 10), "sin", every_n=2)
    ...     board.draw(x / 10, math.cos(x / 10), "cos", every_n=10)
    >>> {label: len(points) for label, points in board.data.items()}
    {'sin': 50, 'cos': 10}
    >>> board.data["cos"][0]
    Point(x=0.45, y=0.8637545267950127)
    """

    def __init__(
        self,
        xlabel: str | None = None,
        ylabel: str | None = None,
        xlim: tuple[float, float] | None = None,
        ylim: tuple[float, float] | None = None,
        xscale: str = "linear",
        yscale: str = "linear",
        ls: Sequence[str] = ("-", "--", "-.", ":"),
        colors: Sequence[str] = ("C0", "C1", "C2", "C3"),
        fig: Any = None,
        axes: Any = None,
        figsize: tuple[float, float] = (3.5, 2.5),
        display: bool = True,
        save: str | os.PathLike[str] | None = None,
    ) -> None:
        self.xlabel, self.ylabel = xlabel, ylabel
        self.xlim, self.ylim = _limits("xlim", xlim), _limits("ylim", ylim)
        self.xscale, self.yscale = xscale, yscale
        self.ls, self.colors = check_strings("ls", ls), check_strings("colors", colors)
        if axes is not None and fig is None:
            fig = axes.figure
        self.fig, self.axes = fig, axes
        self.figsize = figsize
        self.display = as_flag("display", display)
        self.path = None if save is None else Path(save)
        if self.path is not None:
            _format(self.path)
        self.data: dict[str, list[Point]] = {}
        self._waiting: dict[str, list[Point]] = {}  # points of which the mean is not taken yet
        self._handle: Any = None
        self._drawn_at = -_SECONDS
        self._stale = False

    def draw(self, x: float, y: float, label: str, every_n: int = 1) -> None:
        """Add a point to a curve.

        Parameters
        ----------
        x, y : float
            Finite or not: a value that is not finite leaves a gap.
        label : str
            The curve's name.
        every_n : int, default 1
            The curve gets the mean of each `every_n` points; less than 1 counts as 1.

        Raises
        ------
        TypeError
            An argument is no number.
        ImportError
            There is something to show or to save, and matplotlib is missing.
        """
        every = max(1, check_integer("every_n", every_n, -sys.maxsize))
        point = Point(_number("x", x), _number("y", y))
        waiting = self._waiting.setdefault(label, [])
        curve = self.data.setdefault(label, [])
        waiting.append(point)
        if len(waiting) < every:
            return
        curve.append(
            Point(
                sum(point.x for point in waiting) / len(waiting),
                sum(point.y for point in waiting) / len(waiting),
            )
        )
        waiting.clear()
        self._stale = True
        if time.monotonic() - self._drawn_at >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Bring what is shown, and the file, up to date; a trainer does it when a fit ends."""
        if not self._stale:
            return
        showing = self.display and _in_notebook()
        if self.path is not None:
            self.save(self.path)
        if showing:
            self._show(self.render("svg"))
        self._stale = False
        self._drawn_at = time.monotonic()

    def save(self, path: str | os.PathLike[str], dpi: float = 150) -> None:
        """Write the drawing to a file, whose ending says how: ``.png``, ``.svg`` or ``.pdf``.

        The file appears complete or not at all.

        Raises
        ------
        ValueError
            Another ending.
        OSError
            The file cannot be written there.
        ImportError
            matplotlib is missing.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from softstep import ProgressBoard
        >>> board = ProgressBoard(xlabel="epoch", display=False)
        >>> board.draw(1, 0.5, "val_loss")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "loss.svg")
        ...     board.save(path)
        ...     path.read_text()[:5]
        '<?xml'
        """
        from softstep.models.tensor_file import write_whole

        target = Path(path)
        write_whole(target, self.render(_format(target), dpi))

    def render(self, kind: str = "png", dpi: float = 150) -> bytes:
        """Return the drawing as the bytes of a PNG, SVG or PDF file."""
        figure = self._figure()
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=dpi)
        return content.getvalue()

    def clear(self) -> None:
        """Forget all points, to begin anew in another cell."""
        self.data, self._waiting, self._handle, self._stale = {}, {}, None, False

    def _figure(self) -> Any:
        """Return the figure with the points as they are now."""
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "drawing needs matplotlib: pip install 'softstep[plot]'; with display=False "
                "a ProgressBoard only keeps its points"
            ) from error
        if self.fig is None:  # not pyplot's: nothing is to be closed, no display is needed
            self.fig = Figure(figsize=self.figsize, layout="constrained")
        if self.axes is None:
            self.axes = self.fig.add_subplot()
        axes = self.axes
        axes.clear()
        for i, (label, points) in enumerate(self.data.items()):
            axes.plot(
                [point.x for point in points],
                [point.y for point in points],
                linestyle=self.ls[i % len(self.ls)],
                color=self.colors[i % len(self.colors)],
                marker="o" if len(points) == 1 else "",  # one point makes no line
                markersize=4,
                label=label,
            )
        axes.set_xscale(self.xscale)
        axes.set_yscale(self.yscale)
        if self.xlim is not None:
            axes.set_xlim(self.xlim)
        if self.ylim is not None:
            axes.set_ylim(self.ylim)
        axes.set_xlabel(self.xlabel or "")
        axes.set_ylabel(self.ylabel or "")
        axes.grid(visible=True, alpha=0.3)
        if self.data:
            axes.legend()
        return self.fig

    def _show(self, svg: bytes) -> None:
        """Show a drawing below the cell, in the place of the one before."""
        notebook: Any = importlib.import_module("IPython.display")
        picture = notebook.SVG(data=svg.decode())
        if self._handle is None:
            self._handle = notebook.display(picture, display_id=True)
        else:
            self._handle.update(picture)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    shell = sys.modules.get("IPython")
    found = None if shell is None else shell.get_ipython()
    return found is not None and getattr(found, "kernel", None) is not None


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; accepted: a number") from None


def _limits(name: str, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        low, high = value
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; accepted: two numbers") from None
    return check_number(f"{name}[0]", low, -sys.float_info.max), check_number(
        f"{name}[1]", high, -sys.float_info.max
    )


def check_strings(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise TypeError(f"{name} is {value!r}; accepted: a sequence of at least one string")
    return tuple(value)


def _format(path: Path) -> str:
    """Return the kind of a picture by its file's ending."""
    kind = path.suffix[1:].lower()
    if kind not in _FORMATS:
        endings = ", ".join(f".{name}" for name in _FORMATS)
        raise ValueError(f"the picture's file is {os.fspath(path)!r}; accepted endings: {endings}")
    return kind
