"""The course material's section on data, row by row."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import softstep
from softstep.data import (
    ArrayDataModule,
    ArrayDataset,
    DataLoader,
    DataModule,
    GeneratedDataModule,
    permutation,
    train_val_test_split,
)

CLOTHES = [
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
]  # fmt: skip


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of Fashion-MNIST's names and sizes: 60,000 and 10,000 images, of noise."""
    folder = tmp_path_factory.mktemp("data") / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        header = struct.pack(">HBB3I", 0, 8, 3, n, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = rng.integers(0, 10, n, np.uint8)
        header = struct.pack(">HBBI", 0, 8, 1, n)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return folder.parent


@pytest.fixture(scope="module")
def mnist() -> softstep.MNIST:
    """The real MNIST files."""
    try:
        return softstep.MNIST()
    except FileNotFoundError:
        pytest.skip("MNIST files not found (set SOFTSTEP_DATA)")


@pytest.mark.curriculum("data", "one-hot encoding")
def test_one_hot() -> None:
    """One-hot encoding and back; distances between any two one-hot vectors are equal: sqrt 2."""
    labels = np.array([3, 0, 9, 3])
    vectors = softstep.one_hot(labels, 10)
    assert vectors.shape == (4, 10)
    assert np.array_equal(softstep.from_one_hot(vectors), labels)
    every = softstep.one_hot(range(10), 10, np.float64)
    distances = np.linalg.norm(every[:, None] - every, axis=-1)
    assert (distances[~np.eye(10, dtype=bool)] == np.sqrt(2)).all()
    with pytest.raises(IndexError, match="row 1 holds 10"):  # no label wraps silently
        softstep.one_hot([0, 10], 10)


@pytest.mark.curriculum("data", "SyntheticRegressionData")
def test_synthetic_regression_data() -> None:
    """SyntheticRegressionData(w, b): shapes (32, K), (32, 1); 32 batches an epoch."""
    data = softstep.SyntheticRegressionData(w=[2, -3.4], b=4.2)
    X, y = next(iter(data.train_dataloader()))
    assert (X.shape, y.shape) == ((32, 2), (32, 1))
    assert len(data.train_dataloader()) == len(list(data.train_dataloader())) == 32
    assert (len(data.train), len(data.val)) == (1000, 1000)
    residual = data.y - (data.X @ np.float32([[2], [-3.4]]) + np.float32(4.2))
    # The noise's deviation is 0.01, of 2,000 rows measured to about 0.01 / sqrt(4000).
    assert abs(residual.std() - 0.01) < 5 * 0.01 / np.sqrt(4000)
    K = softstep.SyntheticRegressionData(np.ones(7), 0, noise=0.1, num_train=64, batch_size=8)
    assert next(iter(K.train_dataloader()))[0].shape == (8, 7)


@pytest.mark.curriculum("data", "FashionMNIST and MNIST")
def test_fashion_mnist(fashion: Path, mnist: softstep.MNIST) -> None:
    """Batches (64, 1, 28, 28) float32 in [0, 1]; 60,000 and 10,000 rows; (1, 32, 32) resized."""
    for data in (softstep.FashionMNIST(root=fashion), mnist):
        X, y = next(iter(data.train_dataloader()))
        assert (X.shape, X.dtype) == ((64, 1, 28, 28), np.float32)
        assert (y.shape, y.dtype) == ((64,), np.int64)
        assert X.min() == 0
        assert X.max() == 1
        assert (len(data.train), len(data.val)) == (60_000, 10_000)
    resized = softstep.FashionMNIST(batch_size=128, resize=(32, 32), root=fashion)
    assert resized.train[0][0].shape == (1, 32, 32)
    assert next(iter(resized.train_dataloader()))[0].shape == (128, 1, 32, 32)
    assert mnist.text_labels([5, 0]) == ["5", "0"]


@pytest.mark.curriculum("data", "Fashion-MNIST names")
def test_fashion_mnist_names(fashion: Path) -> None:
    """The names of the ten classes."""
    data = softstep.FashionMNIST(root=fashion)
    assert data.text_labels(range(10)) == CLOTHES
    assert data.num_classes == 10
    with pytest.raises(IndexError, match="label -1 is no class"):
        data.text_labels([0, -1])


@pytest.mark.curriculum("data", "load_mnist")
def test_load_mnist(mnist: softstep.MNIST) -> None:
    """load_mnist: (60000, 784), and (60000, 10) with one-hot."""
    (x, t), (x_test, t_test) = softstep.load_mnist()
    assert (x.shape, t.shape) == ((60_000, 784), (60_000,))
    assert (x_test.shape, t_test.shape) == ((10_000, 784), (10_000,))
    assert (x.dtype, x.min(), x.max()) == (np.float32, 0, 1)
    assert t[:5].tolist() == [5, 0, 4, 1, 9]
    assert t_test[:5].tolist() == [7, 2, 1, 0, 4]
    (images, vectors), _ = softstep.load_mnist(normalize=False, flatten=False, one_hot_label=True)
    assert (images.shape, images.dtype) == ((60_000, 1, 28, 28), np.uint8)
    assert vectors.shape == (60_000, 10)
    assert np.array_equal(softstep.from_one_hot(vectors), t)
    assert np.array_equal(images.reshape(60_000, 784) * np.float32(1 / 255), x)


@pytest.mark.curriculum("data", "loaders of a DataModule")
def test_loaders() -> None:
    """The loaders' names; len(loader); the last short batch is kept, or dropped with drop_last."""
    data = softstep.Digits(batch_size=100)
    assert len(data.train_dataloader()) == len(data.get_dataloader(True)) == 15
    assert [len(y) for _, y in data.train_dataloader()] == [100] * 14 + [37]
    assert [len(y) for _, y in data.val_dataloader()] == [100, 100, 100, 60]
    x, y = np.arange(50.0), np.arange(50)
    loader = data.get_tensorloader((x, y), train=False, indices=slice(10, 35))
    assert [y.tolist() for _, y in loader] == [list(range(10, 35))]
    dropped = DataLoader(data.train, 100, drop_last=True)
    assert len(dropped) == len(list(dropped)) == 14

    class Book(DataModule):
        def get_dataloader(self, train: bool) -> DataLoader:
            return self.get_tensorloader((x, y), train, slice(0, 40) if train else slice(40, None))

    assert len(list(Book(batch_size=16).train_dataloader())) == 3
    assert [y.tolist() for _, y in Book(batch_size=16).val_dataloader()] == [list(range(40, 50))]


@pytest.mark.curriculum("data", "transforms")
def test_transforms() -> None:
    """Compose, ToTensor, Normalize, Resize, RandomHorizontalFlip work on whole batches."""
    images = np.random.default_rng(0).integers(0, 256, (500, 28, 28), np.uint8)
    steps = softstep.Compose(
        [
            softstep.Resize((32, 32)),
            softstep.ToTensor(),
            softstep.RandomHorizontalFlip(seed=1),
            softstep.Normalize(0.5, 0.25),
        ]
    )
    x = steps(images)
    assert (x.shape, x.dtype) == ((500, 1, 32, 32), np.float32)
    plain = (softstep.Resize(32)(images) / 255 - 0.5) / 0.25
    same = np.isclose(x[:, 0], plain, atol=1e-5).all(axis=(1, 2))
    mirrored = np.isclose(x[:, 0], plain[:, :, ::-1], atol=1e-5).all(axis=(1, 2))
    assert (same ^ mirrored).all()
    assert 0.3 < mirrored.mean() < 0.7
    data = softstep.Digits(resize=(16, 16), transform=softstep.Normalize(0.3, 0.4))
    assert next(iter(data.train_dataloader()))[0].shape == (64, 1, 16, 16)


@pytest.mark.curriculum("data", "minibatches")
def test_minibatches() -> None:
    """With and without replacement, shuffled or not, seeded, a sampler, a three-way split."""
    data = ArrayDataset(np.arange(100.0), np.arange(100))

    def rows(**options: Any) -> list[int]:
        return np.concatenate([y for _, y in DataLoader(data, 32, **options)]).tolist()

    shuffled = rows(shuffle=True, seed=1)
    assert sorted(shuffled) == list(range(100)) != shuffled
    assert rows(shuffle=True, seed=1) == shuffled != rows(shuffle=True, seed=2)
    assert rows() == list(range(100))
    drawn = rows(replacement=True, seed=1)
    assert len(drawn) == 100
    assert len(set(drawn)) < 100
    assert rows(sampler=[5, 3, 5]) == [5, 3, 5]
    loader = DataLoader(data, 32, shuffle=True)
    first, second = (np.concatenate([y for _, y in loader]) for _ in range(2))
    assert not np.array_equal(first, second)  # every epoch has an order of its own
    loader.set_epoch(0)
    assert np.array_equal(np.concatenate([y for _, y in loader]), first)
    parts = train_val_test_split(np.arange(100.0), np.arange(100), val_size=0.2, test_size=0.1)
    assert [len(y) for _, y in parts] == [70, 20, 10]
    assert sorted(np.concatenate([y for _, y in parts])) == list(range(100))


@pytest.mark.curriculum("data", "data that does not fit in memory")
def test_data_beyond_memory(tmp_path: Path) -> None:
    """Files that stay mapped; a shuffle that stores no permutation; data made on the fly."""
    x = np.random.default_rng(0).random((2000, 16), np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = ArrayDataModule(mapped, x[:, 0] * 3, batch_size=100)
    arrays = data.arrays(True)
    assert arrays is not None
    assert np.shares_memory(arrays[0], mapped)  # what native calls read is the file
    order = data.train_dataloader().order()
    assert not hasattr(order, "__dict__")
    assert sorted(order) == list(range(2000))
    assert 0 <= permutation(10**15, seed=0, epoch=1)[10**14] < 10**15

    def make(rng: np.random.Generator, count: int) -> tuple[Any, Any]:
        features = rng.standard_normal((count, 3))
        return features, features.sum(axis=1)

    made = GeneratedDataModule(make, num_train=10**12, batch_size=50).train_dataloader()
    assert len(made) == 2 * 10**10
    batches: Iterator[Any] = iter(made)
    one, two = next(batches), next(batches)
    assert one[0].shape == (50, 3)
    assert not np.array_equal(one[0], two[0])


@pytest.mark.curriculum("data", "visualize and show_images")
def test_visualize(tmp_path: Path) -> None:
    """visualize(batch, nrows, ncols, labels), show_images, the wrongly classified: a PNG each."""
    pytest.importorskip("matplotlib")
    from softstep.plotting import show_errors, show_images

    data = softstep.Digits()
    batch = next(iter(data.val_dataloader()))
    figure = data.visualize(batch, nrows=2, ncols=8)
    assert len(figure.axes) == 16
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [str(label) for label in batch[1][:16]]
    named = data.visualize(batch, 1, 3, labels=["a", "b", "c"])
    assert [axes.get_title() for axes in named.axes] == ["a", "b", "c"]
    model = softstep.SoftmaxRegression(10, 0.5)
    softstep.Trainer(5).fit(model, data)
    figures = [figure, show_images(batch[0], 2, 4), show_errors(model, data)]
    for number, drawn in enumerate(figures):
        path = tmp_path / f"{number}.png"
        drawn.savefig(path)
        assert path.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(IndexError, match="label 12 is no class"):
        data.visualize((batch[0], np.full(64, 12)))
