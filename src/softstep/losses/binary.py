"""Independent yes-or-no decisions: sigmoid, and the cross-entropy of their probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep._probabilities import as_probabilities
from softstep.kernels._arrays import Reduction, as_float
from softstep.losses._targets import reduced

__all__ = ["binary_cross_entropy", "sigmoid"]


def sigmoid(x: ArrayLike) -> Any:
    r"""Logistic function, :math:`1 / (1 + e^{-x})`, without overflow.

    Parameters
    ----------
    x : array_like of any shape, float32 or float64
        Lists and integer arrays become float64.

    Returns
    -------
    scalar or ndarray
        Shape and dtype of `x`, from 0 to 1; NaN where `x` is.

    Raises
    ------
    TypeError
        A dtype that is not accepted.

    References
    ----------
    Dive into Deep Learning, section 5.1.2.2.

    Examples
    --------
    >>> from softstep.losses import sigmoid
    >>> sigmoid([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    values = as_float("x", x, contiguous=False)
    with np.errstate(under="ignore"):
        small = np.exp(-np.abs(values))
        return np.where(values < 0, small, values.dtype.type(1))[()] / (1 + small)


def binary_cross_entropy(p: ArrayLike, t: ArrayLike, *, reduction: Reduction = "mean") -> Any:
    r"""Cross-entropy of independent yes-or-no decisions, given as probabilities.

    :math:`-t \log p - (1 - t) \log(1 - p)` for each element: one decision a row, or several labels
    in each (multi-label). Where there are logits, `binary_cross_entropy_with_logits` is exact also
    where probabilities round to 0 or 1.

    Parameters
    ----------
    p : array_like of any shape
        Probabilities of yes, 0 to 1.
    t : array_like, shape of `p`
        From 0 to 1: bool, integers or floats.
    reduction : {"mean", "sum", "none"}
        The mean over all elements, their sum, or each element's loss.

    Returns
    -------
    float64 scalar or ndarray, shape of `p`
        inf where `p` is certain and wrong. The mean over no elements is NaN.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        A number outside 0 to 1, the first of which is named; different shapes.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), equation 4.90.

    Examples
    --------
    >>> from softstep.losses import binary_cross_entropy
    >>> binary_cross_entropy([[0.5, 0.25], [1.0, 0.0]], [[1, 0], [1, 0]], reduction="none")
    array([[0.69314718, 0.28768207],
           [0.        , 0.        ]])
    """
    yes, wanted = as_probabilities("p", p), as_probabilities("t", t)
    if yes.shape != wanted.shape:
        raise ValueError(f"t has shape {wanted.shape}; accepted: {yes.shape}, the shape of p")
    with np.errstate(divide="ignore", under="ignore"):
        positive = wanted * np.log(np.where(wanted > 0, yes, 1.0))
        negative = (1 - wanted) * np.log1p(-np.where(wanted < 1, yes, 0.0))
    return reduced(np.subtract(0.0, positive + negative), False, reduction)
