"""Pictures: images, curves, surfaces, mistakes and weights (needs matplotlib, extra ``plot``).

Every function returns a ``matplotlib.figure.Figure`` that belongs to the caller alone: it is not
registered with ``matplotlib.pyplot``, needs no display, and is gone when nobody holds it. A
notebook shows it when it is the value of a cell; `save_figure` writes it to a file. Functions of
one picture draw into the caller's own with ``ax=``.
"""

from __future__ import annotations

from softstep.plotting.boundaries import decision_boundaries
from softstep.plotting.confusion import confusion_matrix, confusion_of, show_confusion
from softstep.plotting.curves import plot, plot_history, plot_learning_rates
from softstep.plotting.errors import show_errors
from softstep.plotting.figures import save_figure
from softstep.plotting.gradients import quiver, tangent
from softstep.plotting.images import show_images
from softstep.plotting.surfaces import contour, descent_paths
from softstep.plotting.weights import show_weights

__all__ = [
    "confusion_matrix",
    "confusion_of",
    "contour",
    "decision_boundaries",
    "descent_paths",
    "plot",
    "plot_history",
    "plot_learning_rates",
    "quiver",
    "save_figure",
    "show_confusion",
    "show_errors",
    "show_images",
    "show_weights",
    "tangent",
]
