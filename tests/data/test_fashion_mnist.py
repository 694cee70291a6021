"""Fashion-MNIST, whose files are told from MNIST's, and load_mnist on small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softstep.data import MNIST, DataFileError, FashionMNIST, load_mnist

# The first ten labels of each file, as published.
FIRST = {
    MNIST: ([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
    FashionMNIST: ([9, 0, 0, 3, 0, 2, 7, 2, 5, 5], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
}


def labels_like(owner: type) -> dict[str, Any]:
    names = ("train_labels", "t10k_labels")
    return {
        name: np.resize(np.array(first, np.uint8), n)
        for name, first, n in zip(names, FIRST[owner], (50, 20), strict=True)
    }


@pytest.mark.parametrize("inner", ["fashion-mnist", "."])
def test_small_files(tmp_path: Path, small_mnist: Any, inner: str) -> None:
    arrays = small_mnist(tmp_path / "data" / inner, compress=True, **labels_like(FashionMNIST))
    data = FashionMNIST(16, root=tmp_path / "data", val_size=10)
    assert (len(data.train), len(data.val), len(data.test)) == (40, 10, 20)
    x, y = data.test[:]
    images = arrays["t10k-images-idx3-ubyte"]
    assert np.array_equal(x[:, 0], images.astype("f4") * np.float32(1 / 255))
    assert data.text_labels(y[:3]) == ["ankle boot", "pullover", "trouser"]


@pytest.mark.parametrize(("mine", "other"), [(MNIST, FashionMNIST), (FashionMNIST, MNIST)])
def test_files_of_the_other_are_refused(
    tmp_path: Path, small_mnist: Any, mine: Any, other: Any
) -> None:
    """Their names and shapes are the same, so that only the content tells."""
    small_mnist(tmp_path, **labels_like(other))
    with pytest.raises(DataFileError, match=f"these are the labels of {other.title}, not of"):
        _ = mine(root=tmp_path).train
    with pytest.raises(DataFileError, match="t10k-labels-idx1-ubyte: these are"):
        _ = mine(root=tmp_path).val
    assert len(other(root=tmp_path).train) == 50


def test_folders_side_by_side(
    tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_mnist(tmp_path / "mnist", train=30)
    small_mnist(tmp_path / "fashion-mnist", train=40)
    for root in (tmp_path, tmp_path / "mnist"):
        assert len(MNIST(root=root).train) == 30
    for root in (tmp_path, tmp_path / "fashion-mnist"):
        assert len(FashionMNIST(root=root).train) == 40
    # The folder of one is not searched for the other.
    with pytest.raises(FileNotFoundError, match="passed over, it is another data set's"):
        FashionMNIST(root=tmp_path / "mnist")
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path / "fashion-mnist"))
    with pytest.raises(FileNotFoundError, match="MNIST files not found"):
        MNIST()


def test_missing_files(no_places: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        FashionMNIST(root=tmp_path)
    message = str(caught.value)
    assert message.startswith("Fashion-MNIST files not found. Put train-images-idx3-ubyte")
    assert str(tmp_path / "fashion-mnist") in message
    assert "download=True" in message


def test_load_mnist(tmp_path: Path, small_mnist: Any) -> None:
    arrays = small_mnist(tmp_path)
    (x, t), (x_test, t_test) = load_mnist(root=tmp_path)
    assert [a.shape for a in (x, t, x_test, t_test)] == [(50, 784), (50,), (20, 784), (20,)]
    assert (x.dtype, t.dtype) == (np.float32, np.int64)
    images = arrays["train-images-idx3-ubyte"]
    assert np.array_equal(x, images.reshape(50, 784).astype("f4") * np.float32(1 / 255))
    assert np.array_equal(t_test, arrays["t10k-labels-idx1-ubyte"])
    (x, t), _ = load_mnist(False, False, True, root=tmp_path)
    assert (x.shape, x.dtype) == ((50, 1, 28, 28), np.uint8)
    assert np.array_equal(x[:, 0], images)
    assert (t.shape, t.dtype) == ((50, 10), np.float32)
    assert np.array_equal(t.argmax(1), arrays["train-labels-idx1-ubyte"])


def test_real_files(mnist: MNIST, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST's are not taken for clothes, wherever they lie."""
    folder = mnist.files["train-labels-idx1-ubyte"].parent
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises((DataFileError, FileNotFoundError)):
        _ = FashionMNIST(root=folder).train
    x, y = mnist.train[:10]
    assert x.shape == (10, 1, 28, 28)
    assert y.tolist() == FIRST[MNIST][0]
    assert mnist.val[:10][1].tolist() == FIRST[MNIST][1]
