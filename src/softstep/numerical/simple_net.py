"""The tiny network of the book: one matrix, a softmax and its cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep._probabilities import as_float64
from softstep.kernels import cross_entropy_with_grad
from softstep.losses import cross_entropy

__all__ = ["SimpleNet", "simpleNet"]


class SimpleNet:
    """A network of one matrix `W`, without a bias, to try gradients on.

    Parameters
    ----------
    W : array_like, (K, C), optional
        The weights, copied as float64. By default (2, 3) from a normal distribution of mean 0 and
        standard deviation 1.
    seed : int, default 0
        Of the default weights.

    Attributes
    ----------
    W : ndarray of float64, (K, C)
        May be changed in place, as `softstep.numerical.numerical_gradient` does.

    Raises
    ------
    TypeError, ValueError
        `W` is no matrix of numbers.

    References
    ----------
    Deep Learning from Scratch, section 4.4.2 (``simpleNet``).

    Examples
    --------
    >>> from softstep.numerical import SimpleNet, numerical_gradient
    >>> net = SimpleNet([[0.0, 1.0], [1.0, 0.0]])
    >>> x, t = [0.6, 0.9], 0
    >>> net.predict(x)
    array([0.9, 0.6])
    >>> dW = numerical_gradient(lambda W: net.loss(x, t), net.W)
    >>> bool(abs(dW - net.gradient(x, t)).max() < 1e-8)
    True
    """

    def __init__(self, W: ArrayLike | None = None, *, seed: int = 0) -> None:
        if W is None:
            W = np.random.default_rng(seed).normal(size=(2, 3))
        self.W = as_float64("W", W)[0].copy()
        if self.W.ndim != 2:
            raise ValueError(f"W has shape {self.W.shape}; accepted: (K, C)")

    def predict(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the logits ``x @ W``: (C,) for one row (K,), (N, C) for a batch (N, K)."""
        features = as_float64("x", x)[0]
        if features.ndim not in (1, 2) or features.shape[-1] != len(self.W):
            raise ValueError(
                f"x has shape {features.shape}; accepted: ({len(self.W)},) or (N, {len(self.W)})"
            )
        return features @ self.W

    def loss(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Return the cross-entropy of the logits, the mean over a batch.

        `t` holds classes, or one-hot rows (or other distributions) of the logits' shape.
        """
        return cross_entropy(self.predict(x), t)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
        """Return the gradient of the loss with respect to `W`, by its formula.

        That is ``x.T @ (softmax(x @ W) - t)``, divided by the rows of a batch.
        """
        logits = self.predict(x)
        target = np.asarray(t)
        if logits.ndim == 1:
            logits, target = logits[np.newaxis], target[np.newaxis]
        slope: NDArray[np.float64] = cross_entropy_with_grad(logits, target)[1]
        return np.atleast_2d(as_float64("x", x)[0]).T @ slope


simpleNet = SimpleNet  # noqa: N816  # the book's name
