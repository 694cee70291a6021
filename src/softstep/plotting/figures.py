"""What pictures share: figures of their own, colours, and files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softstep.models.checks import check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "FORMATS", "LINES", "axes_of", "check_format", "new_figure", "save_figure"]

# Okabe and Ito's colours, which colour-blind readers tell apart, in an order that alternates
# between light and dark; the last of them is grey for what is only context.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
LINES = ("-", "--", "-.", ":")

FORMATS = ("pdf", "png", "svg")

# What says when a file was written; without it equal figures are equal files.
_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


def require_matplotlib() -> None:
    """Raise ImportError with the command that installs matplotlib, if it is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"pictures need matplotlib ({error}): pip install 'softstep[plot]'"
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, sizes in inches, that belongs to nobody but the caller."""
    require_matplotlib()
    from softstep.plotting._notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def axes_of(
    ax: Axes | None, width: float = 4.5, height: float = 3.2, *, grid: bool = True
) -> tuple[Figure, Axes]:
    """Return the axes to draw into, with their figure: the caller's, or new ones of a size."""
    if ax is None:
        ax = new_figure(width, height).add_subplot()
    elif not callable(getattr(ax, "plot", None)):
        raise TypeError(f"ax is a {type(ax).__name__}; accepted: a matplotlib Axes, or None")
    if grid:
        tidy(ax)
    return figure_of(ax), ax


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes stand in, the outermost one if figures are nested."""
    figure: Any = ax.figure
    while getattr(figure, "figure", figure) is not figure:
        figure = figure.figure
    return figure  # type: ignore[no-any-return]


def tidy(ax: Axes) -> None:
    """Give axes of curves a light grid and no frame where nothing is read off."""
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def check_format(path: str | os.PathLike[str]) -> str:
    """Return the format that the end of a file's name asks for; ValueError for others."""
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        accepted = ", ".join(f".{name}" for name in FORMATS)
        raise ValueError(
            f"{os.fspath(path)} ends with {suffix!r}; accepted: a name with {accepted}"
        )
    return suffix


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 150) -> None:
    """Write a figure to a PNG, SVG or PDF file; no display is needed.

    Equal figures give equal bytes with one version of matplotlib, and the file appears complete or
    not at all.

    Parameters
    ----------
    figure : Figure
        Of this package or any other of matplotlib.
    path : path
        The end of its name says the format. A file that exists already is replaced.
    dpi : float, default 150
        Pixels per inch of a PNG; a figure 6 inches wide is 900 pixels wide.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; nothing has been written then.
    OSError
        The file cannot be written there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from softstep import plotting
    >>> figure = plotting.plot([1, 2, 3], [1, 4, 9], xlabel="x", ylabel="x²")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plotting.save_figure(figure, pathlib.Path(folder, "square.png"))
    ...     [path.name for path in pathlib.Path(folder).iterdir()]
    ['square.png']
    """
    from softstep.models.tensor_file import write_whole

    if not callable(getattr(figure, "savefig", None)):
        raise TypeError(f"figure is a {type(figure).__name__}; accepted: a matplotlib Figure")
    kind = check_format(path)
    if check_number("dpi", dpi) == 0:
        raise ValueError(f"dpi is {dpi!r}; accepted: a finite number above 0")
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "softstep"}):
        figure.savefig(content, format=kind, dpi=dpi, metadata=_NO_DATE[kind])
    write_whole(Path(path), content.getvalue())
