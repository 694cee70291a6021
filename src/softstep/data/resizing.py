"""Bilinear resizing of whole batches of images.

The pixels of an image of n are squares with their centres at 0.5, 1.5, ... n - 0.5. Output pixel i
of m lies over the place ``c = (i + 0.5) * n / m`` of the input (corners are not aligned). Its value
is a weighted mean of input pixels j with the weight of a triangle, ``max(0, 1 - |j + 0.5 - c| /
width)``: bilinear interpolation for ``width = 1``. Where an image shrinks, ``width = n / m`` lets
every input pixel count (antialiasing); without that pixels are skipped. Pixels outside of the image
do not exist: with a width of 1 the nearest one stands for them, otherwise the weights of the others
are divided by their sum. Both are what PyTorch's ``interpolate(mode="bilinear",
align_corners=False)`` does with ``antialias=False`` and ``True``, and what Pillow's ``resize`` does
with the latter.

The two axes are independent; each output is a sum of a few taps of its axis, computed for the batch
as a whole. Every image's result is the same alone and in any batch, to the bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize_images"]

_CHUNK_BYTES = 1 << 24  # of floats at a time: a data set of bytes never stands in memory as floats


def resize_images(
    images: NDArray[Any], size: tuple[int, int], *, antialias: bool = True
) -> NDArray[Any]:
    """Resize images (..., height, width) to a size (height, width).

    Parameters
    ----------
    images : (..., height, width) ndarray
        Of uint8, float32 or float64, neither height nor width 0.
    size : (int, int)
        The new height and width, each at least 1.
    antialias : bool, default True
        Whether every input pixel counts where images shrink.

    Returns
    -------
    ndarray (..., *size)
        Of the same dtype; bytes are rounded to the nearest, halves up. A new array.
    """
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images.copy()
    stack = images.reshape(-1, height, width)
    result = np.empty((len(stack), *size), images.dtype)
    compute = np.float64 if images.dtype == np.float64 else np.float32
    largest = max(height, size[0]) * max(width, size[1]) * np.dtype(compute).itemsize
    step = max(1, _CHUNK_BYTES // largest)
    for start in range(0, len(stack), step):
        with np.errstate(invalid="ignore"):  # an infinity with the weight 0
            part = _along(stack[start : start + step], 1, size[0], compute, antialias)
            part = _along(part, 2, size[1], compute, antialias)
        if images.dtype == np.uint8:
            part = np.floor(part + compute(0.5))  # means of bytes: never below 0 or above 255
        result[start : start + step] = part
    return result.reshape(*images.shape[:-2], *size)


def _along(images: NDArray[Any], axis: int, size: int, dtype: Any, antialias: bool) -> NDArray[Any]:
    """Resize one axis of (n, height, width)."""
    if images.shape[axis] == size:
        return images.astype(dtype, copy=False)
    places, weights = _taps(images.shape[axis], size, antialias)
    shape = (1, size, 1) if axis == 1 else (1, 1, size)
    result: NDArray[Any] | None = None
    for tap in range(len(places)):
        weight = weights[tap].astype(dtype).reshape(shape)
        part = images.take(places[tap], axis=axis) * weight
        result = part if result is None else np.add(result, part, out=result)
    assert result is not None  # there is a tap at least
    return result


@lru_cache(maxsize=32)
def _taps(n: int, m: int, antialias: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which input pixels make each of m outputs of n, and their weights: both (taps, m)."""
    centers = (np.arange(m) + 0.5) * n / m
    width = max(1.0, n / m) if antialias else 1.0
    first = np.floor(centers - width + 0.5).astype(np.int64)
    count = int(np.floor(2 * width)) + 1
    places = first + np.arange(count)[:, None]
    weights = np.clip(1 - np.abs(places + 0.5 - centers) / width, 0, None)
    if width > 1:
        weights[(places < 0) | (places >= n)] = 0
    weights /= weights.sum(axis=0)
    useful = weights.any(axis=1)
    return np.clip(places, 0, n - 1)[useful], weights[useful]
