"""Transforms of batches, and data sets and modules that use them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import softstep
from softstep.data import (
    ArrayDataset,
    Compose,
    DataLoader,
    Digits,
    Normalize,
    RandomHorizontalFlip,
    Resize,
    ToTensor,
    TransformedDataset,
)
from softstep.data.transforms import BatchTransform

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 5), np.uint8)


def test_to_tensor() -> None:
    x = ToTensor()(IMAGES)
    assert (x.shape, x.dtype) == ((40, 1, 6, 5), np.float32)
    assert np.array_equal(x[:, 0], IMAGES * np.float32(1 / 255))
    colour = ToTensor()(np.stack([IMAGES] * 3, axis=-1))
    assert colour.shape == (40, 3, 6, 5)
    assert colour.flags.c_contiguous
    assert np.array_equal(colour[:, 2], x[:, 0])
    # Values of other integers stay; floats are tensors already.
    assert np.array_equal(ToTensor()(IMAGES.astype("i4"))[:, 0], IMAGES)
    assert ToTensor()(x) is x
    assert ToTensor()(x[:, 0].astype("f8")).shape == x.shape
    assert ToTensor()(x.astype("f2")).dtype == np.float32


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 5, 3, 28), np.uint8), ValueError, "with 1 to 4 channels, got the shape"),
        (np.zeros((2, 5), np.uint8), ValueError, "x must be images"),
        (np.zeros((2, 5, 5), "U1"), TypeError, "real numbers"),
        (3, ValueError, "x must be a batch of rows"),
    ],
)
def test_to_tensor_refuses(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ToTensor()(x)


def test_normalize_as_torch(rng: Any) -> None:
    x = rng.random((7, 3, 4, 5)).astype("f4")
    mean, std = [0.1, 0.2, 0.3], [0.5, 2.0, 0.25]
    expected = (x - np.float32(mean).reshape(3, 1, 1)) / np.float32(std).reshape(3, 1, 1)
    assert np.array_equal(Normalize(mean, std)(x), expected)
    assert np.array_equal(Normalize(0.5, 2.0)(x), (x - np.float32(0.5)) / np.float32(2))
    rows = x.reshape(7, -1)
    assert Normalize(0.5, 2.0)(rows).shape == rows.shape
    assert Normalize(0.0, [1.0, 2.0, 4.0])(x)[0, 2, 0, 0] == x[0, 2, 0, 0] / 4


@pytest.mark.parametrize(
    ("mean", "std", "error", "message"),
    [
        (0, 0, ValueError, "std must not be 0"),
        ([0, 1], [1, 2, 3], ValueError, "as many values as there are channels"),
        (np.nan, 1, ValueError, "mean must be finite"),
        ("a", 1, TypeError, "mean must be a number"),
        ([[1]], 1, ValueError, "mean must be a number or a sequence"),
        (0, [], (TypeError, ValueError), "std must be a number"),
    ],
)
def test_normalize_arguments(mean: Any, std: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Normalize(mean, std)


def test_normalize_refuses() -> None:
    with pytest.raises(TypeError, match=r"got uint8: convert it with ToTensor\(\) first"):
        Normalize(0, 1)(IMAGES)
    with pytest.raises(ValueError, match="x must have 3 channels"):
        Normalize([0, 0, 0], 1)(np.zeros((2, 1, 4, 4)))


# Random transforms


def flipped(x: Any, result: Any) -> Any:
    """Which rows were mirrored."""
    mirrored = np.array([np.array_equal(a[..., ::-1], b) for a, b in zip(x, result, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(x, result, strict=True)])
    assert (mirrored ^ same).all()
    return mirrored


def test_flip_depends_on_seed_epoch_and_row_alone() -> None:
    flip = RandomHorizontalFlip(seed=3)
    rows = np.arange(100, 140)
    whole = flipped(IMAGES, flip(IMAGES, rows, epoch=2))
    part = flipped(IMAGES[5:9], flip(IMAGES[5:9], rows[5:9], epoch=2))
    assert np.array_equal(whole[5:9], part)
    order = np.random.default_rng(1).permutation(40)
    assert np.array_equal(flipped(IMAGES[order], flip(IMAGES[order], rows[order], 2)), whole[order])
    assert not np.array_equal(whole, flipped(IMAGES, flip(IMAGES, rows, epoch=3)))
    other = RandomHorizontalFlip(seed=4)
    assert not np.array_equal(whole, flipped(IMAGES, other(IMAGES, rows, epoch=2)))


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_share_of_flips(p: float) -> None:
    images = np.broadcast_to(np.arange(2), (1, 2))
    n = 40_000
    result = RandomHorizontalFlip(p, seed=1)(np.broadcast_to(images, (n, 1, 2)))
    share = (result[:, 0, 0] == 1).mean()
    assert abs(share - p) <= 5 * np.sqrt(p * (1 - p) / n)


def test_flips_of_neighbours_are_independent() -> None:
    """Rows, epochs and seeds that are next to each other are not correlated."""
    n = 20_000
    images = np.broadcast_to(np.arange(2), (n, 1, 2))

    def draw(seed: int, epoch: int) -> Any:
        return RandomHorizontalFlip(seed=seed)(images, epoch=epoch)[:, 0, 0] - 0.5

    base = draw(0, 0)
    pairs = [(base[1:], base[:-1]), (base, draw(0, 1)), (base, draw(1, 0)), (base[2:], base[:-2])]
    for a, b in pairs:
        assert abs((a * b).mean() * 4) <= 5 / np.sqrt(n)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), "1", None, True])
def test_flip_arguments(p: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="p must be a number from 0 to 1"):
        RandomHorizontalFlip(p)


# Compose


def test_compose() -> None:
    steps = Compose([ToTensor(), lambda x: x * 2, Compose([Normalize(1.0, 0.5), Resize((3, 3))])])
    x = steps(IMAGES)
    expected = Resize(3)((ToTensor()(IMAGES) * 2 - np.float32(1)) / np.float32(0.5))
    assert np.array_equal(x, expected)
    assert not steps.random
    assert Compose([Compose([RandomHorizontalFlip()])]).random
    assert Compose([])(IMAGES) is IMAGES
    assert "Resize((3, 3), antialias=True)" in repr(steps)


@pytest.mark.parametrize("wrong", [None, 3, ToTensor])
def test_compose_arguments(wrong: Any) -> None:
    with pytest.raises(TypeError, match="a transform must be a function of a batch"):
        Compose([wrong])


def test_transform_of_ones_own() -> None:
    class Row(BatchTransform):
        def apply(self, x: Any, rows: Any, epoch: int) -> Any:
            return x + rows[:, None] + 1000 * epoch

    data = TransformedDataset(ArrayDataset(np.zeros((9, 1)), np.arange(9)), Row())
    assert data[[3, -1]][0].ravel().tolist() == [3, 8]
    assert data[::-4][0].ravel().tolist() == [8, 4, 0]
    loader = DataLoader(data, 4, shuffle=True, seed=2)
    for epoch in range(2):
        for x, y in loader:
            assert np.array_equal(x[:, 0], y + 1000 * epoch)
    with pytest.raises(NotImplementedError, match="BatchTransform defines no apply"):
        BatchTransform()(np.zeros(3))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x[1:], ValueError, "must return 4 rows, as it was given, got 3"),
        (lambda x: None, TypeError, "must return an array, got NoneType"),
        (lambda x: x.sum(), TypeError, "must return an array"),
    ],
)
def test_transform_that_is_none(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TransformedDataset(ArrayDataset(np.zeros((4, 2))), function)[:]


def test_transformed_dataset_arguments() -> None:
    with pytest.raises(TypeError, match="dataset must have a length"):
        TransformedDataset(np.zeros(3), ToTensor())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a transform must be a function"):
        TransformedDataset(ArrayDataset(np.zeros((4, 2))), None)  # type: ignore[arg-type]


# Data modules


@pytest.mark.parametrize(
    "transform",
    [None, ToTensor(), Normalize(0.3, 0.2), Compose([ToTensor(), Normalize([0.3], [0.2])]),
     Compose([Normalize(0.5, 2), Compose([Normalize(1, 3)])])],
)  # fmt: skip
def test_normalised_data_keep_the_fused_path(transform: Any) -> None:
    data = Digits(transform=transform)
    raw = data.arrays(True)
    assert raw is not None
    assert raw[0].dtype == np.uint8
    plain, _ = Digits().train[:]
    expected = plain if transform is None else transform(plain)
    bound = 8 * np.finfo("f4").eps * np.abs(expected).max()
    assert np.abs(data.train[:][0] - expected).max() <= bound
    trainer = softstep.Trainer(1)
    trainer.fit(softstep.SoftmaxRegression(10, 0.1), data)
    assert trainer.fused


def test_random_transforms_change_training_images_only() -> None:
    data = Digits(transform=Compose([RandomHorizontalFlip(seed=1), Normalize(0.5, 0.5)]))
    plain = Digits()
    assert data.arrays(True) is None
    assert data.arrays(False) is not None  # nothing random is left: scale and shift
    assert np.allclose(data.val[:][0], Normalize(0.5, 0.5)(plain.val[:][0]), atol=1e-6)
    assert data.test is data.val
    changed = flipped(plain.train[:][0], data.train[:][0] * np.float32(0.5) + np.float32(0.5))
    assert 0.4 < changed.mean() < 0.6
    loader = data.train_dataloader()
    epochs = [np.concatenate([x for x, _ in loader]) for _ in range(2)]
    loader.set_epoch(0)
    assert np.array_equal(epochs[0], np.concatenate([x for x, _ in loader]))
    trainer = softstep.Trainer(2)
    trainer.fit(softstep.SoftmaxRegression(10, 0.1), data)
    assert not trainer.fused


def test_resized_module_trains() -> None:
    data = Digits(resize=(4, 4))
    assert data.train[0][0].shape == (1, 4, 4)
    model = softstep.SoftmaxRegression(10, 0.5)
    history = softstep.Trainer(10).fit(model, data)
    assert model.weight.shape == (10, 16)
    assert history[-1].val_accuracy > 0.6


def test_modules_with_transforms_copy_and_pickle() -> None:
    data = Digits(transform=Compose([RandomHorizontalFlip(seed=1), Resize((4, 4))]))
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert np.array_equal(other.train[:][0], data.train[:][0])


def test_transform_argument() -> None:
    with pytest.raises(TypeError, match="a transform must be a function"):
        Digits(transform=3)  # type: ignore[arg-type]
