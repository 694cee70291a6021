"""Softmax regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep import kernels
from softstep.models.affine import AffineModel
from softstep.models.classifier import Classifier
from softstep.models.rows import class_indices, class_targets

__all__ = ["SoftmaxRegression"]


class SoftmaxRegression(AffineModel, Classifier):
    """Softmax (multinomial logistic) regression, trained by minibatch SGD on the cross-entropy.

    The weights start from N(0, 0.01) (standard deviation), the biases from 0, once the first batch
    tells the number of features. Images are flattened.

    Parameters
    ----------
    num_outputs : int
        The number of classes C, at least 1.
    lr : float
        The learning rate, finite and at least 0.
    seed : int, default 0
        Of the initialisation.
    dtype : {float32, float64}
        Of the parameters and of the computation.

    Attributes
    ----------
    weight : Parameter, (C, K)
    bias : Parameter, (C,)

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.5.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> model = SoftmaxRegression(num_outputs=10, lr=0.5)
    >>> history = Trainer(max_epochs=10).fit(model, Digits())
    >>> model.weight.shape, history[-1].val_accuracy > 0.85
    ((10, 64), True)
    """

    def __init__(
        self, num_outputs: int, lr: float, *, seed: int = 0, dtype: DTypeLike = np.float32
    ) -> None:
        super().__init__(num_outputs, lr, seed=seed, dtype=dtype)

    def loss_with_grad(self, y_hat: ArrayLike, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        """Compute the mean cross-entropy of logits and its gradient with respect to them."""
        loss, gradient = kernels.cross_entropy_with_grad(
            y_hat, class_targets(y, y_hat), threads=self.threads
        )
        return loss, gradient

    def targets(self, y: ArrayLike) -> NDArray[Any]:
        """Return class indices as int64."""
        return class_indices(y)
