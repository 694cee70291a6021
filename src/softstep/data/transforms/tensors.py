"""Transforms of the pixels' values: from bytes to floats, and to mean 0 and deviation 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.data.transforms.base import BatchTransform

__all__ = ["Normalize", "ToTensor"]


class ToTensor(BatchTransform):
    """Images as files hold them become float32 (B, channels, height, width).

    Integers are taken for images as files hold them: (B, height, width), or (B, height, width,
    channels) with 1 to 4 channels; bytes are multiplied by ``float32(1 / 255)``, other integers
    keep their values. Floats (B, channels, height, width) are tensors already and stay as they are;
    of (B, height, width) the channel is added.

    Raises
    ------
    TypeError, ValueError
        When called: ``x`` holds no real numbers or is no batch of images.

    Examples
    --------
    >>> import numpy as np
    >>> ToTensor()(np.zeros((2, 28, 28, 3), np.uint8)).shape
    (2, 3, 28, 28)
    """

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Convert the images."""
        if x.dtype.kind not in "biuf":
            raise TypeError(f"x must hold real numbers, got {x.dtype}")
        if x.ndim not in (3, 4):
            raise ValueError(
                "x must be images (B, height, width) or (B, height, width, channels), "
                f"got the shape {x.shape}"
            )
        if x.ndim == 3:
            x = x[:, None]
        elif x.dtype.kind != "f":
            if not 1 <= x.shape[3] <= 4:
                raise ValueError(
                    "x must be integer images (B, height, width, channels) with 1 to 4 channels, "
                    f"got the shape {x.shape}"
                )
            x = x.transpose(0, 3, 1, 2)
        if x.dtype.kind == "f":
            return x if x.dtype.itemsize > 2 else x.astype(np.float32)
        if x.dtype == np.uint8:
            bytes_as_floats: NDArray[Any] = np.multiply(
                x, np.float32(1 / 255), dtype=np.float32, order="C"
            )
            return bytes_as_floats
        return x.astype(np.float32, order="C")

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize(BatchTransform):
    """Subtract a mean and divide by a standard deviation, in each channel.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels or one for each; ``std`` not 0. MNIST: 0.1307, 0.3081; Fashion-MNIST:
        0.2860, 0.3530.

    Raises
    ------
    TypeError, ValueError
        They are no finite numbers, differ in length, or ``std`` is 0. When called: ``x`` holds no
        floats, or has another number of channels (axis 1).

    Notes
    -----
    Data modules of images multiply it into the scale and shift of the pixels, so that training by
    native calls stays possible.

    Examples
    --------
    >>> import numpy as np
    >>> Normalize(0.5, 0.25)(np.ones((1, 1, 2, 2), np.float32)).ravel()
    array([2., 2., 2., 2.], dtype=float32)
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = (_per_channel(*pair) for pair in (("mean", mean), ("std", std)))
        if len({self.mean.size, self.std.size} - {1}) > 1:
            raise ValueError(
                "mean and std must have as many values as there are channels, "
                f"got {self.mean.size} and {self.std.size}"
            )
        if (self.std == 0).any():
            raise ValueError("std must not be 0")

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Normalise the channels."""
        if x.dtype.kind != "f":
            raise TypeError(f"x must hold floats, got {x.dtype}: convert it with ToTensor() first")
        mean, std = (
            self.spread(value, x.shape[1:2]).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
            for value in (self.mean, self.std)
        )
        result: NDArray[Any] = (x - mean) / std
        return result

    def spread(self, value: NDArray[np.float64], channels: tuple[int, ...]) -> NDArray[np.float64]:
        """Give the mean or standard deviation for so many channels."""
        if value.size not in (1, *channels):
            raise ValueError(
                f"x must have {value.size} channels (axis 1), as mean and std do, "
                f"got {channels[0] if channels else 'none'}"
            )
        return value

    def fold(self, scale: Any, shift: Any, item_shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return scale and shift that give normalised features of rows of this shape."""
        pixels = math.prod(item_shape[1:])
        mean, std = (
            float(value[0]) if value.size == 1 else np.repeat(value, pixels)
            for value in (self.spread(v, item_shape[:1]) for v in (self.mean, self.std))
        )
        scale = 1.0 if scale is None else np.asarray(scale, np.float64)
        shift = 0.0 if shift is None else np.asarray(shift, np.float64)
        return scale / std, (shift - mean) / std

    def __repr__(self) -> str:
        mean, std = (
            value.tolist() if value.size > 1 else float(value[0]) for value in (self.mean, self.std)
        )
        return f"Normalize({mean}, {std})"


def _per_channel(name: str, value: float | Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or a sequence of numbers, got {value!r}")
    if array.ndim > 1 or array.size == 0:
        raise ValueError(f"{name} must be a number or a sequence of numbers, got {value!r}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return array.astype(np.float64).reshape(-1)
