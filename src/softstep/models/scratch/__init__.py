"""The models of the book from scratch: plain NumPy, to be read beside it.

Weights stand as in the book, ``w`` and ``W`` with one column for each output, so that outputs are
``X @ W + b``. There is no automatic differentiation here, so each model has a ``backward`` with the
gradient that the book's framework would find. The models of the same names without ``Scratch``
compute the same on the kernels.
"""

from __future__ import annotations

from softstep.models.scratch.classification import MLPScratch, SoftmaxRegressionScratch
from softstep.models.scratch.regression import LinearRegressionScratch, WeightDecayScratch

__all__ = [
    "LinearRegressionScratch",
    "MLPScratch",
    "SoftmaxRegressionScratch",
    "WeightDecayScratch",
]
