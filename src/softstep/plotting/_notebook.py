"""The figure that a notebook shows by itself. Imports matplotlib, so it is imported when needed."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A figure that is a picture when it is the value of a notebook's cell.

    matplotlib's own figures are so only after ``matplotlib.pyplot`` has been imported, which
    changes settings of the process.
    """

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()
