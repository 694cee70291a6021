"""Losses of predictions: numbers, probabilities and logits; one row or a batch.

Under the names of the courses: `mean_squared_error` (half the sum of squares),
`cross_entropy_error`, `softmax`, `sigmoid`. Losses of logits are the kernels' own. A target that is
a class is an index; one that is a distribution over the classes, such as a one-hot row, has the
shape of the prediction.
"""

from __future__ import annotations

from softstep.kernels import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_with_grad,
    cross_entropy_with_grad,
    log_softmax,
    logsumexp,
    mse_loss,
    mse_loss_with_grad,
    softmax,
)
from softstep.losses.binary import binary_cross_entropy, sigmoid
from softstep.losses.classes import cross_entropy, cross_entropy_error
from softstep.losses.likelihood import log_likelihood, negative_log_likelihood, perplexity
from softstep.losses.squared import mean_squared_error, squared_error, sum_squares_error

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_with_grad",
    "cross_entropy",
    "cross_entropy_error",
    "cross_entropy_with_grad",
    "log_likelihood",
    "log_softmax",
    "logsumexp",
    "mean_squared_error",
    "mse_loss",
    "mse_loss_with_grad",
    "negative_log_likelihood",
    "perplexity",
    "sigmoid",
    "softmax",
    "squared_error",
    "sum_squares_error",
]
