"""Grids of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_integer, check_number
from softstep.plotting.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_images", "check_scale", "grid_of", "show_images"]

_COLUMNS = 8  # of a grid whose size is not given
_TITLE_INCHES = 0.19  # of one line of a title


def show_images(
    imgs: ArrayLike | Sequence[ArrayLike],
    num_rows: int | None = None,
    num_cols: int | None = None,
    titles: Sequence[Any] | None = None,
    scale: float = 1.5,
) -> Figure:
    """Show images in a grid, each with its title.

    Parameters
    ----------
    imgs : array_like or sequence of array_like
        Images (H, W), (1, H, W), (H, W, 1) in grey, (3, H, W), (H, W, 3) or (H, W, 4) in colour, of
        any real dtype: a batch of a loader, or a list of images of different sizes. Bytes are
        0 to 255; other numbers are 0 to 1 or, if any image goes beyond that, from the smallest to
        the largest of all. NaN is left blank.
    num_rows, num_cols : int, optional
        The grid; images beyond it are not shown. Without one of them all images fit; without both
        there are at most 8 in a row.
    titles : sequence, optional
        What stands above the images, at least one for each that is shown; anything with a string.
    scale : float, default 1.5
        Inches of an image's width and height.

    Returns
    -------
    Figure
        Its ``axes`` are the cells, row by row.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError, ValueError
        There are no images, one of them has another shape, or another argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.2.

    Examples
    --------
    >>> from softstep import Digits
    >>> from softstep.plotting import show_images
    >>> data = Digits()
    >>> X, y = next(iter(data.val_dataloader()))
    >>> figure = show_images(X, 2, 8, titles=data.text_labels(y))
    >>> len(figure.axes), figure.axes[0].get_title()
    (16, '2')
    """
    images = as_images("imgs", imgs)
    if not images:
        raise ValueError("imgs is empty; accepted: at least one image")
    rows, columns = grid_of(len(images), num_rows, num_cols)
    images = images[: rows * columns]
    if titles is not None:
        titles = [str(title) for title in titles]
        if len(titles) < len(images):
            raise ValueError(
                f"titles has {len(titles)} entries; accepted: one for each of the {len(images)} "
                "images that are shown"
            )
    check_scale(scale)
    lines = max((title.count("\n") + 1 for title in titles), default=0) if titles else 0
    figure = new_figure(columns * scale, rows * (scale + lines * _TITLE_INCHES))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg, union-attr]
    least, most = _range(images)
    size = _font_size(titles, scale)
    for i in range(rows * columns):
        ax = figure.add_subplot(rows, columns, i + 1)
        ax.set_axis_off()
        if i < len(images):
            _draw(ax, images[i], least, most)
            if titles is not None:
                ax.set_title(titles[i], fontsize=size, pad=3)
    return figure


def grid_of(count: int, num_rows: int | None, num_cols: int | None) -> tuple[int, int]:
    """Return the rows and columns of a grid for so many cells, where not both are given."""
    rows = None if num_rows is None else check_integer("num_rows", num_rows, 1)
    columns = None if num_cols is None else check_integer("num_cols", num_cols, 1)
    if columns is None:
        columns = min(count, _COLUMNS) if rows is None else math.ceil(count / rows)
    if rows is None:
        rows = math.ceil(count / columns)
    return rows, columns


def check_scale(scale: float) -> float:
    """Return `scale` if it is a finite number above 0."""
    if check_number("scale", scale) == 0:
        raise ValueError(f"scale is {scale!r}; accepted: a finite number above 0")
    return scale


def as_images(name: str, imgs: Any) -> list[NDArray[Any]]:
    """Return images as (H, W), (H, W, 3) or (H, W, 4) arrays."""
    if isinstance(imgs, np.ndarray) or not isinstance(imgs, Sequence):
        imgs = np.asarray(imgs)
        if imgs.ndim not in (3, 4):
            raise ValueError(
                f"{name} has the shape {imgs.shape}; accepted: (N, H, W), (N, 1, H, W), "
                "(N, 3, H, W), (N, H, W, 1), (N, H, W, 3), (N, H, W, 4), or a list of images"
            )
    return [_image(f"{name}[{i}]", np.asarray(image)) for i, image in enumerate(imgs)]


def _image(name: str, image: NDArray[Any]) -> NDArray[Any]:
    if image.dtype.kind not in "biuf":
        raise TypeError(f"{name} has the dtype {image.dtype}; accepted: real numbers")
    # An image of three rows may be taken for one in colour, one of a single row is none.
    if image.ndim == 3 and (
        image.shape[0] == 1 or (image.shape[0] == 3 and image.shape[2] not in (1, 3, 4))
    ):
        image = np.moveaxis(image, 0, 2)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise ValueError(
            f"{name} has the shape {image.shape}; accepted: (H, W), (1, H, W), (3, H, W), "
            "(H, W, 1), (H, W, 3), (H, W, 4)"
        )
    if image.dtype == np.uint8:
        return image
    return image.astype(np.float64 if image.dtype.itemsize > 4 else np.float32)


def _range(images: list[NDArray[Any]]) -> tuple[float, float]:
    """Return what is black and what is white in images that are not of bytes."""
    least, most = 0.0, 1.0
    for image in images:
        finite = image[np.isfinite(image)]
        if image.dtype != np.uint8 and finite.size:
            least, most = min(least, float(finite.min())), max(most, float(finite.max()))
    return least, most


def _draw(ax: Axes, image: NDArray[Any], least: float, most: float) -> None:
    if image.dtype == np.uint8:
        least, most = 0.0, 255.0
    if image.ndim == 3:  # which matplotlib takes in [0, 1] only
        image = np.ma.masked_invalid((image - least) / (most - least))
    ax.imshow(image, cmap="gray", vmin=least, vmax=most, interpolation="nearest")


def _font_size(titles: Sequence[str] | None, scale: float) -> float:
    """Return a size in which the longest line of a title is no wider than an image."""
    longest = max((len(line) for title in titles or () for line in title.split("\n")), default=0)
    # A letter is about 0.6 of its size wide; a point is 1/72 inch.
    return float(np.clip(scale * 72 / (0.6 * max(longest, 1)), 5.0, 10.0))
