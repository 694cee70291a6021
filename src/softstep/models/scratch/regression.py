"""Linear regression from scratch, with and without weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep.models.checks import check_number
from softstep.models.parameter import Parameter
from softstep.models.rows import flat_rows, like_outputs
from softstep.models.scratch.base import ScratchModule

__all__ = ["LinearRegressionScratch", "WeightDecayScratch"]

Array = NDArray[Any]


class LinearRegressionScratch(ScratchModule):
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
        return np.asarray(flat_rows(X, self.num_inputs) @ self.w.data + self.b.data)

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
        self.w.accumulate(flat_rows(X).T @ error)
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
