"""Predictions and targets of classes as the losses take them: one row or a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._probabilities import Float64, as_float64, check_sums, tolerance
from softstep.kernels._arrays import Reduction, as_array, check_reduction

__all__ = ["check_classes", "reduced", "row_losses"]


def row_losses(
    y_name: str, y: ArrayLike, t: ArrayLike, log: Callable[[Float64], Float64]
) -> tuple[Float64, bool]:
    """Return ``-sum(t log y)`` of each row, and whether there was one row without a batch.

    `y` holds probabilities, (C,) or (N, C); `t` is a class (indices (N,)), or a distribution of the
    shape of `y`. Where a target is 0 its probability counts for nothing.
    """
    array, dtype = as_float64(y_name, y)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{y_name} has shape {array.shape}; accepted: (C,), one row, or (N, C), a batch"
        )
    if array.shape[-1] == 0:
        raise ValueError(f"{y_name} has shape {array.shape}; accepted: at least one class")
    target = as_array("t", t)
    classes = array.shape[-1]
    if target.shape == array.shape:
        masses, target_dtype = as_float64("t", target)
        check_sums("t", masses, (array.ndim - 1,), tolerance(target_dtype))
    elif target.shape == array.shape[:-1]:
        masses = None
        check_classes(target, classes)
    else:
        raise ValueError(
            f"t has shape {target.shape}; accepted: {array.shape[:-1]} (classes) or {array.shape} "
            f"(one-hot or another distribution), as {y_name} has shape {array.shape}"
        )
    check_sums(y_name, array, (array.ndim - 1,), tolerance(dtype))
    rows = array.reshape(-1, classes)
    with np.errstate(divide="ignore", under="ignore"):
        if masses is None:
            picked = np.take_along_axis(rows, target.reshape(-1, 1).astype(np.int64), axis=1)
            losses = np.subtract(0.0, log(picked[:, 0]))
        else:
            weights = masses.reshape(rows.shape)
            terms = weights * log(np.where(weights > 0, rows, 1.0))
            losses = np.subtract(0.0, terms.sum(axis=1))
    return losses, array.ndim == 1


def reduced(losses: Float64, single: bool, reduction: Reduction) -> Any:
    """Return losses of rows, their sum or their mean: NaN over no rows."""
    if check_reduction(reduction) == "none":
        return losses[0] if single else losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if losses.size else np.float64(np.nan)


def check_classes(target: NDArray[Any], classes: int) -> None:
    """Raise TypeError or IndexError unless these are classes."""
    if target.dtype.kind not in "iu" and target.size:
        raise TypeError(
            f"t has dtype {target.dtype}; accepted: an integer dtype for classes, or a distribution"
        )
    wrong = (target < 0) | (target >= classes)
    if np.any(wrong):
        row = int(np.argmax(wrong))
        name = "t" if target.ndim == 0 else f"t[{row}]"
        raise IndexError(f"{name} is {target.flat[row]}; accepted: a class, 0 to {classes - 1}")
