"""Features and targets as models take them: errors name the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.kernels._arrays import as_array, as_targets

__all__ = [
    "check_labels",
    "class_indices",
    "class_targets",
    "first_bad_row",
    "flat_rows",
    "like_outputs",
    "predicted_classes",
]


def flat_rows(x: ArrayLike, num_features: int | None = None) -> NDArray[Any]:
    """Return rows or images (N, ...) of numbers as (N, K); TypeError or ValueError otherwise."""
    array = as_array("x", x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"x has the dtype {array.dtype}; accepted: real numbers")
    if array.ndim < 2:
        raise ValueError(f"x has the shape {array.shape}; accepted: (N, K), or (N, ...) images")
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    if num_features is not None and rows.shape[1] != num_features:
        raise ValueError(
            f"x has {rows.shape[1]} features in a row; accepted: {num_features}, the num_inputs"
        )
    return rows


def class_indices(y: ArrayLike) -> NDArray[np.int64]:
    """Return class indices as int64; TypeError unless they are integers or booleans."""
    array = as_array("y", y)
    return as_targets("y", array.astype(np.int64) if array.dtype.kind == "b" else array)


def check_labels(y: ArrayLike, num_rows: int, num_classes: int) -> NDArray[np.int64]:
    """Return class indices (N,), each of which is a class.

    Raises
    ------
    TypeError, ValueError
        They are no integers, or not one for each row.
    IndexError
        One is no class; the first such row is named.
    """
    labels = class_indices(y)
    if labels.shape != (num_rows,):
        raise ValueError(f"y has the shape {labels.shape}; accepted: ({num_rows},)")
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise IndexError(f"y[{row}] is {labels[row]}; accepted: 0 to {num_classes - 1}")
    return labels


def class_targets(y: ArrayLike, y_hat: ArrayLike) -> NDArray[Any]:
    """Return a class for each row of logits (N, C), or distributions (N, C) as they are.

    Errors as `check_labels`; those of what is no logits are the kernels' to raise.
    """
    targets, shape = as_array("y", y), np.shape(y_hat)
    return targets if targets.ndim == 2 or len(shape) != 2 else check_labels(targets, *shape)


def first_bad_row(x: NDArray[Any]) -> tuple[int, str] | None:
    """Return the first row of (N, K) with a value that is not finite, and what that value is."""
    if x.dtype.kind != "f":
        return None
    with np.errstate(all="ignore"):
        if math.isfinite(np.add.reduce(x, axis=None)):  # NaN and infinities would spread
            return None
    bad = ~np.isfinite(x).all(axis=1)
    if not bad.any():
        return None  # only the sum has overflowed
    row = int(bad.argmax())
    return row, "NaN" if np.isnan(x[row]).any() else "an infinite value"


def predicted_classes(outputs: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class of each row of logits or probabilities (N, C); the first of several.

    Raises
    ------
    FloatingPointError
        A row holds NaN, and so belongs to no class.
    """
    classes: NDArray[np.int64] = outputs.argmax(axis=1)
    bad = np.isnan(outputs[np.arange(len(outputs)), classes])  # NaN is argmax's maximum
    if bad.any():
        raise FloatingPointError(
            f"row {int(bad.argmax())} of x has NaN for its outputs; "
            "accepted: features and parameters that are finite"
        )
    return classes


def like_outputs(y: ArrayLike, y_hat: NDArray[Any]) -> NDArray[Any]:
    """Return targets in the shape of the outputs (N, 1), for which (N,) is accepted too."""
    targets = np.asarray(y)
    if targets.dtype.kind not in "biuf":
        raise TypeError(f"y has the dtype {targets.dtype}; accepted: real numbers")
    if targets.shape not in (y_hat.shape, y_hat.shape[:1]):
        raise ValueError(f"y has the shape {targets.shape}; accepted: {y_hat.shape}")
    return targets.reshape(y_hat.shape)
