"""Squared error, with the factor 1/2 of the courses."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from softstep.kernels import mse_loss
from softstep.kernels._arrays import Reduction

__all__ = ["mean_squared_error", "squared_error", "sum_squares_error"]


def mean_squared_error(y: ArrayLike, t: ArrayLike) -> Any:
    r"""Half the sum of squares, :math:`\frac{1}{2} \sum_k (y_k - t_k)^2`, as the book defines it.

    The name is the book's; nothing is divided by the number of elements or rows, so the loss of a
    batch is the sum of its rows' losses. The mean over all elements is `squared_error`, or
    `mse_loss` without the factor. `sum_squares_error`, the name in later printings, is this
    function.

    Parameters
    ----------
    y : array_like of any shape, float32 or float64
        Lists and integer arrays become float64.
    t : array_like, shape and dtype of `y`
        Integers are converted. For classes: one-hot.

    Returns
    -------
    scalar
        Of the dtype of `y`.

    Raises
    ------
    TypeError
        A dtype that is not accepted.
    ValueError
        Different shapes.

    References
    ----------
    Deep Learning from Scratch, section 4.2.1.

    Examples
    --------
    >>> from softstep.losses import mean_squared_error
    >>> y = [0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]
    >>> t = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    >>> round(float(mean_squared_error(y, t)), 12)
    0.0975
    """
    return squared_error(y, t, reduction="sum")


sum_squares_error = mean_squared_error


def squared_error(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    half: bool = True,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    threads: int | None = None,
) -> Any:
    r"""Squared error, :math:`\frac{1}{2} (p - t)^2`, averaged over all elements.

    The factor 1/2 makes the gradient :math:`p - t`. Editions of the courses differ by it.

    Parameters
    ----------
    prediction : array_like of any shape, float32 or float64
    target : array_like, shape and dtype of `prediction`
    half : bool, default True
        With False the factor is left away: this is `mse_loss` then.
    weight : array_like, broadcastable to `prediction`, its dtype, optional
        The weight of each element.
    reduction : {"mean", "sum", "none"}
        The mean over all elements (the sum divided by the sum of the elements' weights), the sum,
        or each element's loss.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.

    Returns
    -------
    scalar or ndarray
        Of the dtype of `prediction`. The mean over no elements is NaN.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`.

    References
    ----------
    Dive into Deep Learning, section 3.1.1.2, equation 3.1.5.

    Examples
    --------
    >>> from softstep.losses import squared_error
    >>> float(squared_error([1.0, 3.0], [1.0, 1.0]))
    1.0
    >>> float(squared_error([1.0, 3.0], [1.0, 1.0], half=False))
    2.0
    """
    loss = mse_loss(prediction, target, weight=weight, reduction=reduction, threads=threads)
    return loss.dtype.type(0.5) * loss if half else loss
