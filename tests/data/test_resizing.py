"""Resizing, beside PyTorch and Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softstep.data import Resize
from softstep.data.resizing import resize_images

SIZES = [
    ((28, 28), (32, 32)),
    ((28, 28), (14, 14)),
    ((28, 28), (28, 10)),
    ((8, 8), (224, 3)),
    ((5, 7), (3, 11)),
    ((1, 1), (4, 4)),
    ((31, 2), (1, 1)),
    ((3, 3), (3, 3)),
]


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_as_pytorch(rng: Any, before: Any, after: Any, antialias: bool, kind: str) -> None:
    torch = pytest.importorskip("torch")
    images = rng.normal(0, 3, (5, 2, *before)).astype(kind)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(images), size=after, mode="bilinear", align_corners=False,
        antialias=antialias,
    ).numpy()  # fmt: skip
    ours = resize_images(images, after, antialias=antialias)
    assert ours.dtype == images.dtype
    assert ours.shape == theirs.shape
    # Their weights come from places that are computed in the images' type, which costs eps times
    # the image's size; then each axis is a sum over its taps.
    taps = max(1, *(n / m for n, m in zip(before, after, strict=True))) * 2 + 1
    bound = np.finfo(kind).eps * (4 * max(*before, *after) + 2 * taps) * np.abs(images).max()
    assert np.abs(ours - theirs).max() <= bound


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_bytes_as_pillow(rng: Any, before: Any, after: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    images = rng.integers(0, 256, (4, *before), np.uint8)
    ours = resize_images(images, after)
    assert ours.dtype == np.uint8
    for one, result in zip(images, ours, strict=True):
        theirs = image.fromarray(one).resize(after[::-1], image.Resampling.BILINEAR)
        # Pillow rounds after each axis, to bytes.
        assert np.abs(np.asarray(theirs).astype(int) - result.astype(int)).max() <= 1


def test_by_hand() -> None:
    row = np.array([[0.0, 8.0]])
    assert resize_images(row, (1, 4)).tolist() == [[0, 2, 6, 8]]
    assert resize_images(row[:, [0, 0, 1, 1]], (1, 2), antialias=False).tolist() == [[0, 8]]
    # Halves are rounded up.
    assert resize_images(np.array([[0, 1]], np.uint8), (1, 1)).tolist() == [[1]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40),
       st.booleans())  # fmt: skip
def test_constant_images_stay(h: int, w: int, new_h: int, new_w: int, antialias: bool) -> None:
    """The weights' sum is 1: no darker border, for any size."""
    for value in (0, 255):
        images = np.full((2, h, w), value, np.uint8)
        result = resize_images(images, (new_h, new_w), antialias=antialias)
        assert (result == value).all()
    result = resize_images(np.full((h, w), 1.0), (new_h, new_w), antialias=antialias)
    assert np.abs(result - 1).max() <= 8 * np.finfo(float).eps


def test_images_are_independent(rng: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = rng.normal(size=(50, 28, 28)).astype("f4")
    images[7] = np.nan
    images[9, 3, 3] = np.inf
    whole = resize_images(images, (32, 20))
    monkeypatch.setattr("softstep.data.resizing._CHUNK_BYTES", 5000)  # one by one
    assert whole.tobytes() == resize_images(images, (32, 20)).tobytes()
    assert whole[11:12].tobytes() == resize_images(images[11:12], (32, 20)).tobytes()
    assert np.isfinite(whole[[6, 8, 10]]).all()
    assert np.isfinite(whole[9, 10:]).all()  # an infinity reaches its neighbours only


def test_result_is_new_memory(rng: Any) -> None:
    images = rng.normal(size=(2, 5, 5))
    same = resize_images(images, (5, 5))
    assert np.array_equal(same, images)
    assert not np.shares_memory(same, images)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"images \(B, height, width\).* got the shape \(2, 3\)"),
        (np.zeros((2, 0, 3)), ValueError, "got the shape"),
        (np.zeros((2, 3, 3), np.int32), TypeError, "uint8, float32 or float64, got int32"),
    ],
)
def test_refused_images(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Resize(4)(x)


@pytest.mark.parametrize("size", [(0, 3), (3,), 2.5, "ab", (2, None), True, (1, 2, 3)])
def test_refused_sizes(size: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="size"):
        Resize(size)
