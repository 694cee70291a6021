"""The base class of models that tell classes apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softstep import kernels
from softstep.models.module import Module
from softstep.models.rows import class_indices, class_targets, predicted_classes

__all__ = ["Classifier"]


class Classifier(Module):
    """A module whose outputs are logits: cross-entropy, accuracy and predictions.

    Parameters
    ----------
    seed : int, default 0
        Of the initialisation; see `Module`.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 4.3.
    """

    def loss(self, y_hat: ArrayLike, y: ArrayLike, averaged: bool = True) -> Any:
        """Compute the cross-entropy of logits (N, C) with class indices (N,), or distributions.

        Parameters
        ----------
        y_hat : array_like, (N, C)
        y : array_like of any integer dtype, (N,), or of floats, (N, C)
        averaged : bool, default True
            The mean over the rows, or the loss of each row.

        Returns
        -------
        scalar or ndarray (N,)

        Raises
        ------
        TypeError, ValueError, IndexError
            As `softstep.kernels.cross_entropy`; every row has to be of a class.
        """
        return kernels.cross_entropy(
            y_hat, class_targets(y, y_hat), reduction="mean" if averaged else "none",
            threads=self.threads,
        )  # fmt: skip

    def accuracy(self, y_hat: ArrayLike, y: ArrayLike, averaged: bool = True) -> Any:
        """Compute the share of rows whose largest logit is that of their class.

        The first of equal logits counts; a row with NaN is never correct.

        Parameters
        ----------
        y_hat : array_like, (N, C)
        y : array_like of any integer dtype, (N,)
        averaged : bool, default True
            The mean over the rows (NaN if there are none), or 1.0 and 0.0 for each.

        Returns
        -------
        float or float32 ndarray (N,)

        Raises
        ------
        TypeError
            `y` holds no integers.
        ValueError
            The shapes do not fit.

        Examples
        --------
        >>> from softstep import Classifier
        >>> logits = [[0.0, 1.0], [2.0, 2.0], [float("nan"), 0.0]]
        >>> Classifier().accuracy(logits, [1, 0, 0], averaged=False)
        array([1., 1., 0.], dtype=float32)
        """
        logits, labels = np.asarray(y_hat), class_indices(y)
        if logits.ndim != 2 or logits.shape[1] == 0 or labels.shape != logits.shape[:1]:
            raise ValueError(
                f"y_hat has the shape {logits.shape} and y {labels.shape}; "
                "accepted: (N, C) and (N,)"
            )
        correct = (logits.argmax(axis=1) == labels) & ~np.isnan(logits).any(axis=1)
        if not averaged:
            return correct.astype(np.float32)
        return float(correct.mean()) if len(correct) else float("nan")

    def validation_step(self, batch: Any) -> Any:
        """Return the loss and the accuracy of a validation batch."""
        y_hat = self(*batch[:-1])
        return {"loss": self.loss(y_hat, batch[-1]), "accuracy": self.accuracy(y_hat, batch[-1])}

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Return the class indices (N,) of rows as a loader delivers them.

        Raises
        ------
        RuntimeError
            The model has seen no data.
        ValueError
            The rows have another number of features than the model.
        FloatingPointError
            The outputs of a row are NaN; the row is named.

        Examples
        --------
        >>> from softstep import Digits, SoftmaxRegression, Trainer
        >>> data = Digits()
        >>> model = SoftmaxRegression(num_outputs=10, lr=0.5)
        >>> history = Trainer(max_epochs=20).fit(model, data)
        >>> X, y = next(iter(data.val_dataloader()))
        >>> model.predict(X)[:5], y[:5]
        (array([2, 3, 4, 5, 6]), array([2, 3, 4, 5, 6]))
        """
        self.require_data()
        return predicted_classes(np.asarray(self(x)))

    def predict_proba(self, x: ArrayLike) -> NDArray[Any]:
        """Return the probabilities (N, C) of all classes; errors as `predict`."""
        self.require_data()
        return kernels.softmax(self(x), threads=self.threads)
