"""Synthetic data whose true parameters are known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from softstep.data.datasets import ArrayDataset, Dataset
from softstep.data.loaders import integer
from softstep.data.modules import DataModule

__all__ = ["SyntheticRegressionData"]


class SyntheticRegressionData(DataModule):
    """Linear regression data: X from N(0, 1), ``y = X w + b + noise``.

    Parameters
    ----------
    w : (K,) or (K, 1) array_like
        The true weights.
    b : float
        The true bias.
    noise : float, default 0.01
        The standard deviation of the noise, at least 0.
    num_train, num_val : int, default 1000
        Rows for training and for validation; with ``num_val=0`` there is no validation.
    batch_size : int, default 32
        Rows of a batch, at least 1.
    seed : int, default 0
        Of the data and of the shuffle; at least 0.

    Attributes
    ----------
    X : (num_train + num_val, K) float32 ndarray
        The features, training rows first.
    y : (num_train + num_val, 1) float32 ndarray
        The targets, computed in float64 and rounded once.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.3.

    Examples
    --------
    >>> data = SyntheticRegressionData(w=[2, -3.4], b=4.2)
    >>> X, y = next(iter(data.train_dataloader()))
    >>> X.shape, y.shape, len(data.train_dataloader())
    ((32, 2), (32, 1), 32)
    """

    def __init__(
        self,
        w: ArrayLike,
        b: float,
        noise: float = 0.01,
        num_train: int = 1000,
        num_val: int = 1000,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        self.num_train = integer("num_train", num_train, 1)
        self.num_val = integer("num_val", num_val, 0)
        super().__init__(batch_size=batch_size, seed=seed, val=self.num_val > 0)
        self.w = np.asarray(w, dtype=np.float64)
        if self.w.ndim == 0 or self.w.shape not in ((self.w.size,), (self.w.size, 1)):
            raise ValueError(f"w must have the shape (K,) or (K, 1), got {self.w.shape}")
        self.b = float(b)
        self.noise = float(noise)
        if not np.isfinite(self.w).all() or not math.isfinite(self.b):
            raise ValueError(f"w and b must be finite, got {self.w} and {self.b}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be >= 0 and finite, got {noise}")
        rng = np.random.default_rng(self.seed)
        n = self.num_train + self.num_val
        self.X = rng.standard_normal((n, self.w.size), dtype=np.float32)
        deviations = self.noise * rng.standard_normal((n, 1))
        exact = self.X.astype(np.float64) @ self.w.reshape(-1, 1) + self.b + deviations
        self.y = exact.astype(np.float32)

    def dataset(self, train: bool) -> Dataset | None:
        """Return the training or validation rows."""
        rows = slice(0, self.num_train) if train else slice(self.num_train, None)
        return ArrayDataset(self.X[rows], self.y[rows])
