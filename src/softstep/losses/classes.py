"""Cross-entropy with classes: of probabilities, as in the book, and of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from softstep import kernels
from softstep.kernels._arrays import Reduction, as_array, as_float
from softstep.losses._targets import reduced, row_losses
from softstep.models.checks import check_number

__all__ = ["cross_entropy", "cross_entropy_error"]


def cross_entropy_error(
    y: ArrayLike, t: ArrayLike, *, delta: float = 1e-7, reduction: Reduction = "mean"
) -> Any:
    r"""Cross-entropy of probabilities, :math:`-\sum_k t_k \log(y_k + \delta)`, as in the book.

    The small `delta` keeps the loss of an impossible class finite, at the price of a slight error
    (a certain and right prediction has the loss -1e-7). Where there are logits, `cross_entropy`
    needs none and is exact.

    Parameters
    ----------
    y : array_like, (C,) or (N, C)
        Probabilities of the classes: of one row, or of a batch. Each row is a distribution.
    t : array_like, integer or (N,) of any integer dtype; or the shape of `y`
        The class of each row, or a distribution over its classes, such as a one-hot row. Both ways
        of writing the same target give the same loss.
    delta : float, default 1e-7
        Added to each probability: finite, at least 0. With 0 an impossible class costs inf.
    reduction : {"mean", "sum", "none"}
        The mean over the rows, as in the book; their sum; or the loss of each row.

    Returns
    -------
    float64 scalar or ndarray (N,)
        Computed in float64. The mean over no rows is NaN.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Shapes that do not fit; a row of `y` or `t` that is no distribution: negative, NaN, or with
        a sum off 1 by more than the square root of eps (of the dtype that it comes in).
    IndexError
        A label outside the classes; the first such row is named.

    References
    ----------
    Deep Learning from Scratch, sections 4.2.2 and 4.2.4.

    Examples
    --------
    >>> from softstep.losses import cross_entropy_error
    >>> y = [[0.1, 0.3, 0.6], [0.3, 0.2, 0.5]]
    >>> round(float(cross_entropy_error(y, [0, 2])), 4)
    1.4979
    >>> round(float(cross_entropy_error(y, [[1, 0, 0], [0, 0, 1]])), 4)
    1.4979
    """
    small = check_number("delta", delta)
    losses, single = row_losses("y", y, t, lambda p: np.log(p + small))
    return reduced(losses, single, reduction)


def cross_entropy(logits: ArrayLike, target: ArrayLike, **options: Any) -> Any:
    r"""Cross-entropy of logits through log-sum-exp, :math:`\log \sum_k e^{x_k} - x_t`.

    `softstep.kernels.cross_entropy`, for one row as well as for a batch.

    Parameters
    ----------
    logits : array_like, (C,) or (N, C), float32 or float64
        Lists and integer arrays become float64.
    target : array_like, integer or (N,) of any integer dtype; or the shape of `logits`
        The class of each row, or a distribution over its classes.
    **options
        Those of `softstep.kernels.cross_entropy`: `class_weight`, `sample_weight`, `ignore_index`,
        `label_smoothing`, `reduction`, `byproducts`, `out`, `threads`. For one row `sample_weight`,
        `out` and the by-products have length 1.

    Returns
    -------
    loss : scalar or ndarray (N,)
        Of the dtype of `logits`. For one row always a scalar.
    byproducts : softstep.kernels.ByProducts
        Only if some were asked for.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `softstep.kernels.cross_entropy`.

    References
    ----------
    Dive into Deep Learning, section 4.5.2.

    Examples
    --------
    >>> from softstep.losses import cross_entropy
    >>> float(cross_entropy([10000.0, 0.0], 1))
    10000.0
    >>> round(float(cross_entropy([[0.0, 0.0], [1.0, 1.0]], [0, 1])), 6)
    0.693147
    """
    x = as_float("logits", logits)
    if x.ndim != 1:
        return kernels.cross_entropy(x, target, **options)
    given = as_array("target", target)
    if given.ndim > 1:
        raise ValueError(
            f"target has shape {given.shape}; accepted: an integer or {x.shape}, as logits is one "
            "row"
        )
    found = kernels.cross_entropy(x[np.newaxis], given[np.newaxis], **options)
    loss, *more = found if options.get("byproducts") else (found,)
    row = loss[0] if options.get("reduction") == "none" else loss
    return (row, *more) if more else row
