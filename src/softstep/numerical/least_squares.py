"""Linear regression in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._probabilities import as_float64

__all__ = ["least_squares"]

Float64 = NDArray[np.float64]


def least_squares(x: ArrayLike, y: ArrayLike) -> tuple[Float64, Float64]:
    r"""Return the weights and the bias that minimise :math:`\sum_i (w^\top x_i + b - y_i)^2`.

    For comparison with what descent finds. By singular values of the centred features, in float64.

    Parameters
    ----------
    x : array_like, (N, K)
        Features; finite, at least one row.
    y : array_like, (N,) or (N, C)
        Targets; finite.

    Returns
    -------
    w : ndarray of float64, (K,) or (K, C)
        If features depend on each other (or N is too small), the smallest of all that fit equally.
    b : ndarray of float64, () or (C,)

    Raises
    ------
    TypeError
        Something other than numbers.
    ValueError
        Shapes that do not fit, no rows, or a number that is not finite, with its row.

    References
    ----------
    Dive into Deep Learning, section 3.1.1.3.

    Examples
    --------
    >>> from softstep.numerical import least_squares
    >>> w, b = least_squares([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> w.round(12), round(float(b), 12)
    (array([2.]), 1.0)
    """
    features, targets = as_float64("x", x)[0], as_float64("y", y)[0]
    if features.ndim != 2 or not len(features):
        raise ValueError(f"x has shape {features.shape}; accepted: (N, K) with at least one row")
    if targets.ndim not in (1, 2) or len(targets) != len(features):
        rows = len(features)
        raise ValueError(
            f"y has shape {targets.shape}; accepted: ({rows},) or ({rows}, C), the rows of x"
        )
    for name, array in (("x", features), ("y", targets)):
        wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if wrong.any():
            raise ValueError(f"{name}[{int(np.argmax(wrong))}] is not finite; accepted: numbers")
    centre, middle = features.mean(axis=0), targets.mean(axis=0)
    w = np.linalg.lstsq(features - centre, targets - middle, rcond=None)[0]
    return w, np.asarray(middle - centre @ w)
