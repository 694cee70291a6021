"""Synthetic regression data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from softstep.data import SyntheticRegressionData

W, B = [2.0, -3.4], 4.2


def test_shapes() -> None:
    data = SyntheticRegressionData(W, B)
    loader = data.train_dataloader()
    assert len(loader) == 32
    batches = list(loader)
    assert [len(y) for _, y in batches] == [32] * 31 + [8]
    x, y = batches[0]
    assert (x.shape, y.shape) == ((32, 2), (32, 1))
    assert x.dtype == y.dtype == np.float32
    assert (len(data.train), len(data.val)) == (1000, 1000)
    assert len(data.val_dataloader()) == 32


def test_arrays_are_the_batches() -> None:
    data = SyntheticRegressionData(W, B, num_train=70, num_val=30)
    for train, rows in ((True, slice(0, 70)), (False, slice(70, None))):
        raw = data.arrays(train)
        assert raw is not None
        x, y, scale, shift = raw
        assert scale is None
        assert shift is None
        assert np.array_equal(x, data.X[rows])
        assert np.array_equal(y, data.y[rows])
        batch = (data.train if train else data.val)[:]
        assert np.array_equal(batch[0], x)
        assert np.array_equal(batch[1], y)


def test_exact_without_noise() -> None:
    data = SyntheticRegressionData(np.array([[2.0], [-3.4]]), B, noise=0)
    exact = data.X.astype(np.float64) @ [2.0, -3.4] + B
    assert np.array_equal(data.y[:, 0], exact.astype(np.float32))


def test_distributions() -> None:
    n = 20_000
    data = SyntheticRegressionData(W, B, noise=0.5, num_train=n, num_val=0, seed=3)
    noise = data.y[:, 0] - (data.X.astype(np.float64) @ W + B)
    for values, deviation in ((data.X[:, 0], 1.0), (data.X[:, 1], 1.0), (noise, 0.5)):
        z = values / deviation
        assert abs(z.mean()) * math.sqrt(n) < 5
        assert stats.chi2.ppf(1e-6, n) < (z * z).sum() < stats.chi2.isf(1e-6, n)
    assert abs(np.corrcoef(data.X[:, 0], noise)[0, 1]) * math.sqrt(n) < 5


def test_least_squares_finds_the_parameters() -> None:
    data = SyntheticRegressionData(W, B)
    raw = data.arrays(True)
    assert raw is not None
    x = np.hstack([raw[0], np.ones((1000, 1))])
    found = np.linalg.lstsq(x, raw[1], rcond=None)[0][:, 0]
    assert np.abs(found - [*W, B]).max() < 5 * 0.01 / math.sqrt(1000)


def test_seeds() -> None:
    a, b, c = (SyntheticRegressionData(W, B, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.y, b.y)
    assert not np.array_equal(a.X, c.X)
    first = [next(iter(data.train_dataloader()))[0] for data in (a, b)]
    assert np.array_equal(*first)


def test_without_validation() -> None:
    data = SyntheticRegressionData(W, B, num_val=0)
    assert data.val is None
    assert data.val_dataloader() is None
    assert data.arrays(False) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"w": 3.0}, ValueError, r"w must have the shape \(K,\) or \(K, 1\), got \(\)"),
        ({"w": np.ones((2, 2))}, ValueError, r"w must have .* got \(2, 2\)"),
        ({"w": [1.0, math.nan]}, ValueError, "w and b must be finite"),
        ({"b": math.inf}, ValueError, "w and b must be finite"),
        ({"noise": -1}, ValueError, "noise must be >= 0 and finite, got -1"),
        ({"num_train": 0}, ValueError, "num_train must be >= 1, got 0"),
        ({"num_val": -1}, ValueError, "num_val must be >= 0, got -1"),
        ({"num_train": 1.5}, TypeError, "num_train must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be >= 1"),
        ({"seed": -1}, ValueError, "seed must be >= 0"),
    ],
)
def test_arguments(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SyntheticRegressionData(**{"w": W, "b": B, **options})
