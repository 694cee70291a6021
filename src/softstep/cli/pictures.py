"""Images and rows that ``softstep predict`` reads: PNG and JPEG, IDX, NPY."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep.data.idx import DataFileError, read_idx
from softstep.data.resizing import resize_images
from softstep.models.tensor_file import check_regular

__all__ = ["Rows", "Wanted", "read_rows"]

_MAX_BYTES = 1 << 30
_FORMATS = ("PNG", "JPEG")
_GREY = np.array([0.299, 0.587, 0.114])  # how bright red, green and blue are (ITU-R BT.601)


class Wanted(NamedTuple):
    """What a model takes."""

    features: int
    shape: tuple[int, int] | None
    """Height and width of its images; None if its rows are no images."""
    scale: float
    """Integers of IDX and NPY files times this are features."""
    invert: bool
    """Whether images show dark on light, other than those that the model has seen."""


class Rows(NamedTuple):
    """What was read from a file."""

    x: NDArray[np.float32]
    """(n, features)"""
    numbered: bool
    """Whether the file may hold several."""


def read_rows(path: Path, wanted: Wanted) -> Rows:
    """Read the images or rows of a file as a model takes them; its first bytes say what it is.

    Images of another size are resized.

    Raises
    ------
    OSError
        The file cannot be read.
    DataFileError
        It is damaged, of no format that is accepted, or holds something that does not fit.
    ImportError
        It needs Pillow, which is not installed.
    """
    check_regular(path)
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return _from_array(path, _read_npy(path), wanted)
    if start[:2] in (b"\0\0", b"\x1f\x8b"):
        return _from_array(path, read_idx(path, max_bytes=_MAX_BYTES), wanted)
    if wanted.shape is None:
        raise DataFileError(path, "is no NPY or IDX file, and the model's rows are no images")
    image = _read_picture(path, wanted.invert)
    return Rows(_flat(path, image[np.newaxis], wanted), numbered=False)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        # Mapped: the size in the header is compared with that of the file.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TypeError, MemoryError, OverflowError) as error:
        raise DataFileError(path, f"is no NPY file of numbers, or damaged: {error}") from None
    return np.asarray(array)


def _from_array(path: Path, array: NDArray[Any], wanted: Wanted) -> Rows:
    if array.dtype.kind not in "biuf":
        raise DataFileError(path, f"holds {array.dtype}; accepted: real numbers")
    if array.size == 0:
        raise DataFileError(path, f"holds no rows: its shape is {array.shape}")
    if array.nbytes > _MAX_BYTES:
        raise DataFileError(path, f"holds {array.nbytes} bytes; accepted: up to {_MAX_BYTES}")
    numbered = True
    if array.size == wanted.features and (array.ndim <= 1 or len(array) != 1):
        array, numbered = array[np.newaxis], False  # one row, or one image
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    fits = array.ndim >= 2 and math.prod(array.shape[1:]) == wanted.features
    if not fits and (array.ndim != 3 or wanted.shape is None):
        images = "" if wanted.shape is None else ", or (n, height, width) images"
        raise DataFileError(
            path, f"has the shape {array.shape}; accepted: (n, {wanted.features}) rows{images}"
        )
    whole = array.dtype.kind in "iu"
    x = array.astype(np.float32)
    finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise DataFileError(path, f"row {int((~finite).argmax())} is not finite")
    if wanted.scale != 1 and (whole or wanted.shape is not None):
        x *= np.float32(wanted.scale if whole else 1)
        outside = ((x < 0) | (x > 1.001)).reshape(len(x), -1).any(axis=1)
        if outside.any():
            row, top = int(outside.argmax()), round(1 / wanted.scale) if whole else 1
            raise DataFileError(path, f"row {row} holds pixels outside 0 to {top}")
    if wanted.invert:
        x = 1 - x
    return Rows(_flat(path, x, wanted), numbered)


def _flat(path: Path, x: NDArray[np.float32], wanted: Wanted) -> NDArray[np.float32]:
    """Return rows of the model's length; images of another size are resized."""
    if math.prod(x.shape[1:]) != wanted.features:
        assert wanted.shape is not None
        x = resize_images(np.ascontiguousarray(x), wanted.shape)
    return np.ascontiguousarray(x.reshape(len(x), wanted.features))


def _read_picture(path: Path, invert: bool) -> NDArray[np.float32]:
    """Return a picture in grey, 0 (black) to 1; transparent parts are background."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(
            f"{path}: pictures need Pillow ({error}): pip install 'softstep[datasets]'"
        ) from error
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if math.prod(image.size) * 8 > _MAX_BYTES:
                raise DataFileError(path, f"has {image.width} x {image.height} pixels: too many")
            if image.mode.startswith("I"):  # 16 bits, which convert() would cut off
                grey = np.asarray(image, np.float64) / 65535
                solid: NDArray[Any] = np.ones_like(grey)
            else:
                pixels = np.asarray(image.convert("RGBA"), np.float64) / 255
                grey, solid = pixels[..., :3] @ _GREY, pixels[..., 3]
    except UnidentifiedImageError:
        raise DataFileError(path, "is no PNG, JPEG, IDX or NPY file") from None
    except (Image.DecompressionBombError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(path, f"is a damaged picture: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of the file system
            raise
        raise DataFileError(path, f"is a damaged picture: {error}") from None
    shown = (1 - grey if invert else grey) * solid
    picture: NDArray[np.float32] = np.clip(shown, 0, 1).astype(np.float32)
    return picture


def batches(x: NDArray[np.float32], size: int = 4096) -> Iterator[NDArray[np.float32]]:
    """Yield rows a batch at a time."""
    for start in range(0, len(x), size):
        yield x[start : start + size]
