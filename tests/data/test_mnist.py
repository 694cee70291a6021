"""MNIST: where its files are found, what is refused, and the real data."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep.data import MNIST, DataFileError, Normalize
from softstep.data.files import cache_folder
from softstep.data.resizing import resize_images

# The published contents, uncompressed.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


# Small files of the same shape


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("inner", ["mnist", "."])
def test_small_files(tmp_path: Path, small_mnist: Any, compress: bool, inner: str) -> None:
    arrays = small_mnist(tmp_path / "data" / inner, compress=compress)
    data = MNIST(root=tmp_path / "data", batch_size=16)
    assert (len(data.train), len(data.val)) == (50, 20)
    x, y = next(iter(data.val_dataloader()))
    assert (x.shape, x.dtype) == ((16, 1, 28, 28), np.float32)
    assert (y.shape, y.dtype) == ((16,), np.int64)
    images = arrays["t10k-images-idx3-ubyte"][:16]
    assert np.array_equal(x[:, 0], images.astype(np.float32) * np.float32(1 / 255))
    assert np.array_equal(y, arrays["t10k-labels-idx1-ubyte"][:16])
    assert data.train[0][0].shape == (1, 28, 28)
    raw = data.arrays(True)
    assert raw is not None
    assert raw[0].shape == (50, 784)
    assert raw[0].dtype == raw[1].dtype == np.uint8
    assert raw[2:] == (np.float32(1 / 255), None)
    assert data.text_labels([7]) == ["7"]


def test_every_byte_is_a_number_from_0_to_1(tmp_path: Path, small_mnist: Any) -> None:
    images = np.resize(np.arange(256, dtype=np.uint8), (50, 28, 28))
    small_mnist(tmp_path, train_images=images)
    x, _ = MNIST(root=tmp_path, val=False).train[:]
    assert x.min() == 0
    assert x.max() == 1
    assert len(np.unique(x)) == 256


def test_places_in_order(
    tmp_path: Path, small_mnist: Any, no_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_mnist(no_places / "softstep" / "mnist", train=3)
    assert len(MNIST().train) == 3
    small_mnist(tmp_path / "environment", train=4)
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "environment"))
    assert len(MNIST().train) == 4
    small_mnist(tmp_path / "root", train=5)
    assert len(MNIST(root=tmp_path / "root").train) == 5
    assert len(MNIST(root=str(tmp_path / "root")).train) == 5
    small_mnist(tmp_path / "root" / "mnist", train=6)
    assert len(MNIST(root=tmp_path / "root").train) == 6
    assert len(MNIST(root=tmp_path / "elsewhere").train) == 4


def test_one_place_has_to_have_them_all(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path / "mnist", train=3)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    small_mnist(tmp_path, train=4)
    assert len(MNIST(root=tmp_path).train) == 4
    assert len(MNIST(root=tmp_path, val=False).train) == 3  # needs two files only


def test_plain_files_win(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path, train=3, compress=True)
    small_mnist(tmp_path, train=4)
    assert len(MNIST(root=tmp_path).train) == 4


def test_missing_files(
    tmp_path: Path, small_mnist: Any, no_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "environment"))
    small_mnist(tmp_path / "root" / "mnist")
    (tmp_path / "root" / "mnist" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(root=tmp_path / "root")
    message = str(caught.value)
    for name in MD5:
        assert name in message
    places = [tmp_path / "root", tmp_path / "environment", no_places / "softstep"]
    for place in places:
        assert f"{place / 'mnist'} (" in message
        assert f"{place} (" in message
    assert "(root): lacks train-labels-idx1-ubyte\n" in message
    assert "($SOFTSTEP_DATA): none of them" in message
    assert "(the cache): none of them" in message


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "softstep"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "softstep"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "softstep"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "softstep" / "Cache"


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"train_images": np.zeros((50, 8, 8), np.uint8)},
            r"\(n, 28, 28\), got uint8 \(50, 8, 8\)",
        ),
        ({"train_images": np.zeros((50, 784), np.uint8)}, r"got uint8 \(50, 784\)"),
        ({"train_images": np.zeros((50, 28, 28), "i2")}, "got int16"),
        ({"train_images": np.zeros((49, 28, 28), np.uint8)}, "50 labels for the 49 images in"),
        ({"train_labels": np.zeros((50, 1), np.uint8)}, r"labels of shape \(n,\), got uint8"),
        ({"train_labels": np.zeros(50, "i4")}, "got int32"),
        ({"train_labels": np.arange(50, dtype=np.uint8)}, "row 10 holds the label 10"),
        (
            {
                "train_images": np.zeros((0, 28, 28), np.uint8),
                "train_labels": np.zeros(0, np.uint8),
            },
            "holds no rows",
        ),
    ],
)
def test_other_data_are_refused(
    tmp_path: Path, small_mnist: Any, replaced: Any, message: str
) -> None:
    small_mnist(tmp_path, **replaced)
    data = MNIST(root=tmp_path)
    assert len(data.val) == 20
    with pytest.raises(DataFileError, match=message) as caught:
        _ = data.train
    assert str(tmp_path / "train-") in str(caught.value)


def test_damaged_file(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataFileError, match=r"train-images-idx3-ubyte\.gz: truncated"):
        MNIST(root=tmp_path).arrays(True)


def test_huge_declared_size(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path)
    header = struct.pack(">HBB3I", 0, 8, 3, 2**22, 28, 28)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(header + bytes(5000)))
    with pytest.raises(DataFileError, match="declares 3288334336 bytes"):
        _ = MNIST(root=tmp_path).train


def test_files_are_read_when_needed(tmp_path: Path, small_mnist: Any) -> None:
    small_mnist(tmp_path)
    data = MNIST(root=tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"broken")
    assert len(data.train) == 50
    assert data.train is data.train
    with pytest.raises(DataFileError, match="t10k-images"):
        _ = data.val


@pytest.mark.parametrize(
    ("resize", "error", "message"),
    [
        ((28,), TypeError, r"resize must be \(height, width\), got \(28,\)"),
        (28.0, TypeError, "resize must be"),
        ("28", TypeError, "resize must be"),
        ((0, 28), ValueError, r"resize\[0\] must be >= 1, got 0"),
        ((28, 2.5), TypeError, r"resize\[1\] must be an integer"),
    ],
)
def test_resize_arguments(
    tmp_path: Path, small_mnist: Any, resize: Any, error: type[Exception], message: str
) -> None:
    small_mnist(tmp_path)
    with pytest.raises(error, match=message):
        MNIST(root=tmp_path, resize=resize)


@pytest.mark.parametrize("resize", [None, 28, (28, 28), [28, 28], (32, 32), (14, 20)])
def test_resize(tmp_path: Path, small_mnist: Any, resize: Any) -> None:
    arrays = small_mnist(tmp_path)
    size = resize if isinstance(resize, (tuple, list)) else (28, 28)
    data = MNIST(64, resize, root=tmp_path)
    assert data.image_shape == tuple(size)
    assert MNIST.image_shape == (28, 28)
    x, y = data.train[:]
    assert (x.shape, x.dtype) == ((50, 1, *size), np.float32)
    assert np.array_equal(y, arrays["train-labels-idx1-ubyte"])
    bytes_ = resize_images(arrays["train-images-idx3-ubyte"], tuple(size))
    assert np.array_equal(x[:, 0], bytes_.astype("f4") * np.float32(1 / 255))
    raw = data.arrays(True)
    assert raw is not None
    assert raw[0].shape == (50, size[0] * size[1])
    assert data.train[0][0].shape == (1, *size)


def test_images_too_large_for_memory_are_resized_by_batches(
    tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_mnist(tmp_path)
    whole = MNIST(16, (40, 30), root=tmp_path, transform=Normalize(0.5, 0.25))
    expected = list(whole.val_dataloader())
    monkeypatch.setattr("softstep.data.images._MAX_RESIZED", 20 * 784)
    lazy = MNIST(16, (40, 30), root=tmp_path, transform=Normalize(0.5, 0.25))
    assert lazy.arrays(False) is None
    for (x, y), (x_whole, y_whole) in zip(lazy.val_dataloader(), expected, strict=True):
        # One multiplies and adds, the other subtracts and divides: a few roundings of |x| <= 2.
        assert np.abs(x - x_whole).max() <= 4 * 2 * np.finfo("f4").eps
        assert np.array_equal(y, y_whole)


# The real files


def test_real_contents(mnist: MNIST) -> None:
    for name, digest in MD5.items():
        content = mnist.files[name].read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == digest
        train = name.startswith("train")
        raw = mnist.arrays(train)
        assert raw is not None
        part, offset = (raw[0], 16) if "images" in name else (raw[1], 8)
        assert part.tobytes() == content[offset:]


def test_real_sizes_and_pixels(mnist: MNIST) -> None:
    assert (len(mnist.train), len(mnist.val)) == (60_000, 10_000)
    assert len(mnist.train_dataloader()) == 938
    assert mnist.train[0][0].shape == (1, 28, 28)
    assert mnist.train[0][1] == 5
    raw = mnist.arrays(True)
    assert raw is not None
    pixels = raw[0] / 255
    assert round(float(pixels.mean()), 4) == 0.1307
    assert round(float(pixels.std()), 4) == 0.3081


def test_real_epoch(mnist: MNIST) -> None:
    raw = mnist.arrays(True)
    assert raw is not None
    x, y, scale, _ = raw
    loader = mnist.train_dataloader()
    order = np.asarray(loader.order())
    for start, (images, labels) in zip(range(0, 60_000, 64), loader, strict=True):
        rows = order[start : start + 64]
        assert images.shape == (len(rows), 1, 28, 28)
        assert np.array_equal(images.reshape(len(rows), 784), x[rows].astype("f4") * scale)
        assert np.array_equal(labels, y[rows])
