"""Linear regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep import kernels
from softstep.kernels._arrays import as_array, as_float
from softstep.models.affine import AffineModel

__all__ = ["LinearRegression"]


class LinearRegression(AffineModel):
    """Linear regression, trained by minibatch SGD on the mean squared error (without 1/2).

    Parameters
    ----------
    lr : float
        The learning rate, finite and at least 0.
    num_outputs : int, default 1
        How many values are predicted for a row.
    seed : int, default 0
        Of the initialisation: weights from N(0, 0.01) (standard deviation), biases 0.
    dtype : {float32, float64}
        Of the parameters and of the computation.

    Attributes
    ----------
    weight : Parameter, (num_outputs, K)
    bias : Parameter, (num_outputs,)

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.5.

    Examples
    --------
    >>> from softstep import LinearRegression, SyntheticRegressionData, Trainer
    >>> model = LinearRegression(lr=0.03)
    >>> history = Trainer(max_epochs=10).fit(model, SyntheticRegressionData(w=[2, -3.4], b=4.2))
    >>> w, b = model.get_w_b()
    >>> w.round(1), b.round(1)
    (array([[ 2. , -3.4]], dtype=float32), array([4.2], dtype=float32))
    """

    def __init__(
        self,
        lr: float,
        *,
        num_outputs: int = 1,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(num_outputs, lr, seed=seed, dtype=dtype)

    def loss(self, y_hat: ArrayLike, y: ArrayLike) -> Any:
        """Compute the mean over all elements of ``(y_hat - y) ** 2``."""
        predicted = as_float("y_hat", y_hat)
        return kernels.mse_loss(predicted, self.targets(y, predicted.dtype), threads=self.threads)

    def loss_with_grad(self, y_hat: ArrayLike, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        """Compute the mean squared error and its gradient with respect to the predictions."""
        predicted = as_float("y_hat", y_hat)
        return kernels.mse_loss_with_grad(
            predicted, self.targets(y, predicted.dtype), threads=self.threads
        )

    def targets(self, y: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return targets in the model's dtype, and as (N, 1) where one output has them as (N,).

        Nothing else is reshaped: the kernels refuse to broadcast.
        """
        array = as_array("y", y)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"y has the dtype {array.dtype}; accepted: real numbers")
        if array.ndim == 1 and self.num_outputs == 1:
            array = array[:, np.newaxis]
        return array.astype(self.dtype if dtype is None else dtype, copy=False)

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Return the values (N, num_outputs) for rows as a loader delivers them.

        Raises
        ------
        RuntimeError
            The model has seen no data.
        ValueError
            The rows have another number of features than the model.
        """
        self.require_data()
        return self.forward(x)
