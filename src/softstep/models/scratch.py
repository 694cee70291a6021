"""The models of the book from scratch: plain NumPy, to be read beside it.

Weights stand as in the book, ``w`` and ``W`` with one column for each output, so that outputs are
``X @ W + b``. There is no automatic differentiation here, so each model has a ``backward`` with the
gradient that the book's framework would find. The models of the same names without ``Scratch``
compute the same on the kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_integer, check_number
from softstep.models.classifier import Classifier
from softstep.models.module import Module, check_parameter
from softstep.models.parameter import Parameter
from softstep.models.rows import check_labels, flat_rows, like_outputs

__all__ = [
    "LinearRegressionScratch",
    "MLPScratch",
    "SoftmaxRegressionScratch",
    "WeightDecayScratch",
]

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


class _Scratch(Module):
    """What these models share: parameters whose shapes follow from the constructor's arguments."""

    def __init__(self, *, seed: int, **sizes: Any) -> None:
        super().__init__(seed=seed)
        for name, size in sizes.items():
            setattr(self, name, check_integer(name, size, 1))

    @staticmethod
    def shapes(hyperparameters: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters that a constructor with these arguments makes."""
        raise NotImplementedError

    @classmethod
    def check_file(cls, hyperparameters: Mapping[str, Any], values: Mapping[str, Array]) -> None:
        """Raise ValueError unless the parameters have the shapes that the arguments say."""
        try:
            shapes = cls.shapes(hyperparameters)
        except KeyError as error:
            raise ValueError(f"the argument {error} is missing") from None
        for name, shape in shapes.items():
            if name in values:
                check_parameter(name, values[name], shape, np.dtype(np.float32))

    def draw(self, rng: np.random.Generator, sigma: float, shape: tuple[int, ...]) -> Parameter:
        """Draw a parameter from N(0, sigma)."""
        return Parameter(rng.normal(0, sigma, shape).astype(np.float32))


class LinearRegressionScratch(_Scratch):
    """Linear regression from scratch, on half the mean squared error.

    Parameters
    ----------
    num_inputs : int
        The number of features K.
    lr : float
        The learning rate, finite and at least 0.
    sigma : float, default 0.01
        The standard deviation of the first weights, at least 0; the bias starts from 0.
    seed : int, default 0
        Of the initialisation.

    Attributes
    ----------
    w : Parameter, (K, 1), float32
    b : Parameter, (1,), float32

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.4.

    Examples
    --------
    >>> from softstep import LinearRegressionScratch, SyntheticRegressionData, Trainer
    >>> model = LinearRegressionScratch(2, lr=0.03)
    >>> history = Trainer(max_epochs=10).fit(model, SyntheticRegressionData(w=[2, -3.4], b=4.2))
    >>> model.w.data.ravel().round(1), model.b.data.round(1)
    (array([ 2. , -3.4], dtype=float32), array([4.2], dtype=float32))
    """

    num_inputs: int
    sigma: float

    def __init__(self, num_inputs: int, lr: float, sigma: float = 0.01, *, seed: int = 0) -> None:
        super().__init__(num_inputs=num_inputs, seed=seed)
        self.save_hyperparameters()
        self.lr, self.sigma = check_number("lr", lr), check_number("sigma", sigma)
        self.w = self.draw(np.random.default_rng(seed), self.sigma, (num_inputs, 1))
        self.b = Parameter(np.zeros(1, np.float32))

    @staticmethod
    def shapes(hyperparameters: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters."""
        return {"w": (hyperparameters["num_inputs"], 1), "b": (1,)}

    def forward(self, X: ArrayLike) -> Array:
        """Compute the predictions (N, 1) of rows (N, K)."""
        return np.asarray(np.asarray(X) @ self.w.data + self.b.data)

    def loss(self, y_hat: ArrayLike, y: ArrayLike) -> Any:
        """Compute half the mean squared error of predictions (N, 1) and targets (N, 1) or (N,)."""
        y_hat = np.asarray(y_hat)
        l = (y_hat - like_outputs(y, y_hat)) ** 2 / 2  # noqa: E741
        return l.mean()

    def backward(self, batch: Any) -> None:
        """Add the gradient of the mean loss of a batch."""
        X, y = batch
        y_hat = self(X)
        error = (y_hat - like_outputs(y, y_hat)) / len(y_hat)
        self.w.accumulate(np.asarray(X).T @ error)
        self.b.accumulate(error.sum(axis=0))


class WeightDecayScratch(LinearRegressionScratch):
    r"""Linear regression from scratch with the penalty :math:`\lambda \|w\|^2 / 2`.

    The bias has none. The training loss includes the penalty. The validation loss does not, so that
    models with different penalties can be compared by it.

    Parameters
    ----------
    num_inputs : int
    lambd : float
        The factor of the penalty, finite and at least 0.
    lr, sigma, seed
        As in `LinearRegressionScratch`.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.7.

    Examples
    --------
    >>> import numpy as np
    >>> from softstep import WeightDecayScratch
    >>> model = WeightDecayScratch(2, lambd=3, lr=0.1)
    >>> model.w.data[:] = [[1.0], [2.0]]
    >>> float(model.loss(np.zeros((4, 1)), np.zeros((4, 1))))
    7.5
    """

    def __init__(
        self, num_inputs: int, lambd: float, lr: float, sigma: float = 0.01, *, seed: int = 0
    ) -> None:
        super().__init__(num_inputs, lr, sigma, seed=seed)
        self.save_hyperparameters()
        self.lambd = check_number("lambd", lambd)

    def penalty(self) -> Any:
        """Compute half the squared norm of the weights."""
        return (self.w.data**2).sum() / 2

    def loss(self, y_hat: ArrayLike, y: ArrayLike) -> Any:
        """Compute half the mean squared error and the penalty."""
        return super().loss(y_hat, y) + self.lambd * self.penalty()

    def validation_step(self, batch: Any) -> Any:
        """Return half the mean squared error, without the penalty."""
        return {"loss": super().loss(self(*batch[:-1]), batch[-1])}

    def backward(self, batch: Any) -> None:
        """Add the gradient of the mean loss of a batch and of the penalty."""
        super().backward(batch)
        self.w.accumulate(np.float32(self.lambd) * self.w.data)


class SoftmaxRegressionScratch(_Scratch, Classifier):
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
        X = flat_rows(X)
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


class MLPScratch(_Scratch, Classifier):
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
        X = flat_rows(X)
        H = relu(X @ self.W1.data + self.b1.data)
        return np.asarray(H @ self.W2.data + self.b2.data)

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
