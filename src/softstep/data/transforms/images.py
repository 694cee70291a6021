"""Transforms of the shape of images: another size, mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.data.draws import draws
from softstep.data.loaders import integer
from softstep.data.resizing import resize_images
from softstep.data.transforms.base import BatchTransform
from softstep.kernels._arrays import as_flag

__all__ = ["RandomHorizontalFlip", "Resize", "image_size"]


class Resize(BatchTransform):
    """Resize images (..., height, width) by bilinear interpolation.

    Parameters
    ----------
    size : int or (int, int)
        The new height and width; one number for both.
    antialias : bool, default True
        Whether every pixel counts where images shrink; otherwise pixels are skipped.

    Raises
    ------
    TypeError, ValueError
        ``size`` is not that. When called: ``x`` is not (B, height, width) or (B, channels, height,
        width) of uint8, float32 or float64.

    Notes
    -----
    Corners are not aligned; results are those of PyTorch's ``interpolate``, mode "bilinear", to
    rounding. Bytes stay bytes, rounded to the nearest.

    Examples
    --------
    >>> import numpy as np
    >>> row = np.array([[[0.0, 10.0, 20.0, 60.0]]])
    >>> Resize((1, 2))(row), Resize((1, 2), antialias=False)(row)
    (array([[[ 7.14285714, 35.71428571]]]), array([[[ 5., 40.]]]))
    """

    def __init__(self, size: int | Sequence[int], *, antialias: bool = True) -> None:
        self.size = image_size("size", size)
        self.antialias = as_flag("antialias", antialias)

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Resize the images."""
        if x.dtype not in (np.uint8, np.float32, np.float64):
            raise TypeError(f"x must hold uint8, float32 or float64, got {x.dtype}")
        if x.ndim not in (3, 4) or 0 in x.shape[1:]:
            raise ValueError(
                "x must be images (B, height, width) or (B, channels, height, width), "
                f"got the shape {x.shape}"
            )
        return resize_images(x, self.size, antialias=self.antialias)

    def __repr__(self) -> str:
        return f"Resize({self.size}, antialias={self.antialias})"


class RandomHorizontalFlip(BatchTransform):
    """Mirror some of the images (..., height, width), left for right.

    Whether a row is mirrored depends on the seed, the row's number and the epoch alone.

    Parameters
    ----------
    p : float, default 0.5
        The probability, from 0 to 1.
    seed : int, default 0
        At least 0.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described. When called: ``x`` has less than two dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1.0)(np.array([[[1, 2, 3]]]))
    array([[[3, 2, 1]]])
    """

    random = True

    def __init__(self, p: float = 0.5, *, seed: int = 0) -> None:
        if isinstance(p, bool) or not isinstance(p, (int, float, np.floating, np.integer)):
            raise TypeError(f"p must be a number from 0 to 1, got {type(p).__name__}")
        if not 0 <= p <= 1:
            raise ValueError(f"p must be a number from 0 to 1, got {p}")
        self.p = float(p)
        self.seed = integer("seed", seed, 0)

    def apply(self, x: NDArray[Any], rows: NDArray[np.int64], epoch: int) -> NDArray[Any]:
        """Mirror the rows whose lot it is."""
        if x.ndim < 2:
            raise ValueError(f"x must be images (B, ..., width), got the shape {x.shape}")
        flipped = draws("flip", self.seed, epoch, rows) < self.p
        result = x.copy()
        result[flipped] = x[flipped, ..., ::-1]
        return result

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip({self.p}, seed={self.seed})"


def image_size(name: str, value: Any) -> tuple[int, int]:
    """Return a (height, width), given as one number or as two, each at least 1."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        value = (value, value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be (height, width), got {value!r}")
    return integer(f"{name}[0]", value[0], 1), integer(f"{name}[1]", value[1], 1)
