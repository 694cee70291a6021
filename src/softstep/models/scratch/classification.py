"""Softmax regression and a multilayer perceptron from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_number
from softstep.models.classifier import Classifier
from softstep.models.parameter import Parameter
from softstep.models.rows import check_labels, flat_rows
from softstep.models.scratch.base import ScratchModule

__all__ = ["MLPScratch", "SoftmaxRegressionScratch"]

Array = NDArray[Any]


def relu(X: Array) -> Array:
    """Compute max(X, 0)."""
    return np.maximum(X, 0)


def softmax(X: Array) -> Array:
    """Compute the softmax of each row; the maximum is subtracted, so nothing overflows."""
    X_exp = np.exp(X - X.max(axis=1, keepdims=True))
    return np.asarray(X_exp / X_exp.sum(axis=1, keepdims=True))


def log_softmax(X: Array) -> Array:
    """Compute the logarithm of the softmax of each row, also where the softmax underflows."""
    X = X - X.max(axis=1, keepdims=True)
    return np.asarray(X - np.log(np.exp(X).sum(axis=1, keepdims=True)))


def cross_entropy(y_hat: Array, y: Array) -> Array:
    """Compute the cross-entropy of each row of probabilities with its class.

    A probability that has underflowed to 0 counts as the smallest normal number.
    """
    smallest = np.finfo(y_hat.dtype).tiny
    return np.asarray(-np.log(np.maximum(y_hat[np.arange(len(y)), y], smallest)))


class SoftmaxRegressionScratch(ScratchModule, Classifier):
    """Softmax regression from scratch. As in the book, outputs are probabilities and not logits.

    Parameters
    ----------
    num_inputs : int
        The number of features K of a row or pixels of an image.
    num_outputs : int
        The number of classes C.
    lr, sigma, seed
        As in `LinearRegressionScratch`.

    Attributes
    ----------
    W : Parameter, (K, C), float32
    b : Parameter, (C,), float32

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.4.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegressionScratch, Trainer
    >>> model = SoftmaxRegressionScratch(num_inputs=64, num_outputs=10, lr=0.5)
    >>> history = Trainer(max_epochs=10).fit(model, Digits())
    >>> history[-1].val_accuracy > 0.85
    True
    """

    num_inputs: int
    num_outputs: int

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        lr: float,
        sigma: float = 0.01,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(num_inputs=num_inputs, num_outputs=num_outputs, seed=seed)
        self.save_hyperparameters()
        self.lr, self.sigma = check_number("lr", lr), check_number("sigma", sigma)
        self.W = self.draw(np.random.default_rng(seed), self.sigma, (num_inputs, num_outputs))
        self.b = Parameter(np.zeros(num_outputs, np.float32))

    @staticmethod
    def shapes(hyperparameters: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters."""
        inputs, outputs = hyperparameters["num_inputs"], hyperparameters["num_outputs"]
        return {"W": (inputs, outputs), "b": (outputs,)}

    def forward(self, X: ArrayLike) -> Array:
        """Compute the probabilities (N, C) of rows (N, K) or images (N, ...)."""
        X = flat_rows(X, self.num_inputs)
        return softmax(X @ self.W.data + self.b.data)

    def loss(self, y_hat: ArrayLike, y: ArrayLike, averaged: bool = True) -> Any:
        """Compute the cross-entropy of probabilities (N, C) with class indices (N,)."""
        y_hat = np.asarray(y_hat)
        l = cross_entropy(y_hat, check_labels(y, *y_hat.shape))  # noqa: E741
        return l.mean() if averaged else l

    def backward(self, batch: Any) -> None:
        """Add the gradient of the mean loss of a batch: that of the logits is y_hat - y."""
        X, y = flat_rows(batch[0]), batch[1]
        error = self(X)
        error[np.arange(len(X)), check_labels(y, *error.shape)] -= 1
        error /= len(X)
        self.W.accumulate(X.T @ error)
        self.b.accumulate(error.sum(axis=0))

    def predict_proba(self, x: ArrayLike) -> Array:
        """Return the probabilities (N, C) of all classes."""
        return self.forward(x)


class MLPScratch(ScratchModule, Classifier):
    """Multilayer perceptron with one hidden layer and ReLU, from scratch. Outputs are logits.

    Parameters
    ----------
    num_inputs : int
        The number of features K of a row or pixels of an image.
    num_outputs : int
        The number of classes C.
    num_hiddens : int
        The size H of the hidden layer.
    lr, sigma, seed
        As in `LinearRegressionScratch`.

    Attributes
    ----------
    W1, b1 : Parameter, (K, H) and (H,), float32
    W2, b2 : Parameter, (H, C) and (C,), float32

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 5.2.

    Examples
    --------
    >>> from softstep import Digits, MLPScratch, Trainer
    >>> model = MLPScratch(num_inputs=64, num_outputs=10, num_hiddens=64, lr=0.5, sigma=0.1)
    >>> history = Trainer(max_epochs=20).fit(model, Digits())
    >>> history[-1].val_accuracy > 0.9
    True
    """

    num_inputs: int
    num_outputs: int
    num_hiddens: int

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int,
        lr: float,
        sigma: float = 0.01,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(
            num_inputs=num_inputs, num_outputs=num_outputs, num_hiddens=num_hiddens, seed=seed
        )
        self.save_hyperparameters()
        self.lr, self.sigma = check_number("lr", lr), check_number("sigma", sigma)
        rng = np.random.default_rng(seed)
        self.W1 = self.draw(rng, self.sigma, (num_inputs, num_hiddens))
        self.b1 = Parameter(np.zeros(num_hiddens, np.float32))
        self.W2 = self.draw(rng, self.sigma, (num_hiddens, num_outputs))
        self.b2 = Parameter(np.zeros(num_outputs, np.float32))

    @staticmethod
    def shapes(hyperparameters: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters."""
        inputs, hiddens, outputs = (
            hyperparameters[name] for name in ("num_inputs", "num_hiddens", "num_outputs")
        )
        return {
            "W1": (inputs, hiddens), "b1": (hiddens,), "W2": (hiddens, outputs), "b2": (outputs,)
        }  # fmt: skip

    def forward(self, X: ArrayLike) -> Array:
        """Compute the logits (N, C) of rows (N, K) or images (N, ...)."""
        X = flat_rows(X, self.num_inputs)
        H = relu(X @ self.W1.data + self.b1.data)
        return np.asarray(H @ self.W2.data + self.b2.data)

    def layer_shapes(self, x_shape: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of the output of each layer, for features of a shape."""
        flat_rows(np.zeros((0, *x_shape[1:]), np.float32), self.num_inputs)
        if len(x_shape) > 2:
            yield "Flatten", (x_shape[0], self.num_inputs)
        for name, size in (
            ("Linear", self.num_hiddens), ("ReLU", self.num_hiddens), ("Linear", self.num_outputs)
        ):  # fmt: skip
            yield name, (x_shape[0], size)

    def loss(self, y_hat: ArrayLike, y: ArrayLike, averaged: bool = True) -> Any:
        """Compute the cross-entropy of logits (N, C) with class indices (N,)."""
        y_hat = np.asarray(y_hat)
        labels = check_labels(y, *y_hat.shape)
        l = -log_softmax(y_hat)[np.arange(len(labels)), labels]  # noqa: E741
        return l.mean() if averaged else l

    def backward(self, batch: Any) -> None:
        """Add the gradient of the mean loss of a batch, layer by layer from the last one."""
        X, y = flat_rows(batch[0]), batch[1]
        H = relu(X @ self.W1.data + self.b1.data)
        error = softmax(H @ self.W2.data + self.b2.data)
        error[np.arange(len(X)), check_labels(y, *error.shape)] -= 1
        error /= len(X)
        self.W2.accumulate(H.T @ error)
        self.b2.accumulate(error.sum(axis=0))
        error = error @ self.W2.data.T * (H > 0)
        self.W1.accumulate(X.T @ error)
        self.b1.accumulate(error.sum(axis=0))
