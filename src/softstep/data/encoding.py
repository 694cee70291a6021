"""One-hot encoding of class indices, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep.data.loaders import integer
from softstep.kernels._arrays import as_dtype

__all__ = ["from_one_hot", "one_hot"]


def one_hot(
    labels: ArrayLike, num_classes: int | None = None, dtype: DTypeLike = np.float32
) -> NDArray[Any]:
    """Encode class indices as vectors that are 1 at their class and 0 elsewhere.

    Any two different vectors are at the distance sqrt(2): no class is nearer to one than to
    another.

    Parameters
    ----------
    labels : array_like of any integer dtype, any shape (...)
        Class indices from 0 to ``num_classes - 1``.
    num_classes : int, optional
        The number of classes C, at least 1; default: the largest label and one.
    dtype : dtype, default float32
        Of the result: real numbers or booleans.

    Returns
    -------
    ndarray (..., C)

    Raises
    ------
    IndexError
        A label is no class: the first such row and its value are named. Nothing wraps around.
    TypeError
        ``labels`` holds no integers, ``dtype`` is no type of numbers, ``num_classes`` no integer.
    ValueError
        ``num_classes`` is less than 1, or is not given and there are no labels.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.1.1.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    indices = np.asarray(labels)
    if indices.dtype.kind not in "iu" and indices.size:
        raise TypeError(f"labels must hold integers, got {indices.dtype}")
    kind = as_dtype(dtype)
    if not isinstance(kind, np.dtype) or kind.kind not in "biuf":
        raise TypeError(f"dtype must be a type of real numbers or booleans, got {kind}")
    if num_classes is not None:
        count = integer("num_classes", num_classes, 1)
    elif indices.size:
        count = max(int(indices.max()) + 1, 1)
    else:
        raise ValueError("num_classes must be given when there are no labels")
    wrong = (indices < 0) | (indices >= count)
    if wrong.any():
        first = int(wrong.argmax())
        place = np.unravel_index(first, indices.shape)
        where = f"row {', '.join(map(str, place))} holds " if place else ""
        raise IndexError(
            f"labels: {where}{int(indices.reshape(-1)[first])}, accepted: 0 to {count - 1}"
        )
    result = np.zeros((indices.size, count), kind)
    result[np.arange(indices.size), indices.reshape(-1).astype(np.int64)] = 1
    return result.reshape(*indices.shape, count)


def from_one_hot(vectors: ArrayLike) -> NDArray[np.int64]:
    """Return the class indices of one-hot vectors.

    Parameters
    ----------
    vectors : (..., C) array_like
        Exactly one 1 in each vector, 0 elsewhere; numbers or booleans.

    Returns
    -------
    int64 ndarray (...)

    Raises
    ------
    TypeError
        ``vectors`` holds neither real numbers nor booleans.
    ValueError
        There are no classes, or a vector is not one-hot: the first such row is named. The classes
        of probabilities or logits are ``argmax(axis=-1)``.

    Examples
    --------
    >>> from_one_hot([[0, 0, 1], [1, 0, 0]])
    array([2, 0])
    """
    array = np.asarray(vectors)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"vectors must hold real numbers or booleans, got {array.dtype}")
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"vectors must have the shape (..., C) with C >= 1, got {array.shape}")
    ones = array == 1
    wrong = (ones.sum(axis=-1) != 1) | ~((array == 0) | ones).all(axis=-1)
    if wrong.any():
        place = np.unravel_index(int(wrong.argmax()), wrong.shape)
        row = f"row {', '.join(map(str, place))}" if place else "the vector"
        raise ValueError(f"vectors: {row} is not one-hot: {array[place]}")
    return np.asarray(array.argmax(axis=-1), dtype=np.int64)
