"""What every kernel must equal: the same names and signatures in plain NumPy, in float64.

Results come back in the dtype of the inputs, so float64 inputs give the float64 result. ``threads``
is accepted and ignored. Slow on purpose: the text is the formula.
"""

from __future__ import annotations

from .cross_entropy import ByProducts, cross_entropy, cross_entropy_with_grad
from .gather_rows import gather_rows
from .linear import linear, linear_backward
from .linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_with_grad
from .losses import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_with_grad,
    mse_loss,
    mse_loss_with_grad,
)
from .optimizers import adam_step, adamw_step, clip_grad_norm, rmsprop_step, sgd_step
from .rules import OptimizerRule
from .softmax import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    softmax,
    softmax_backward,
)
from .train_mlp import train_mlp
from .train_step import (
    TrainRun,
    evaluate_linear_regression,
    evaluate_softmax_regression,
    train_linear_regression,
    train_softmax_regression,
)

__all__ = [
    "ByProducts",
    "OptimizerRule",
    "TrainRun",
    "adam_step",
    "adamw_step",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_with_grad",
    "clip_grad_norm",
    "cross_entropy",
    "cross_entropy_with_grad",
    "evaluate_linear_regression",
    "evaluate_softmax_regression",
    "gather_rows",
    "linear",
    "linear_backward",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "mse_loss",
    "mse_loss_with_grad",
    "rmsprop_step",
    "sgd_step",
    "softmax",
    "softmax_backward",
    "train_linear_regression",
    "train_mlp",
    "train_softmax_regression",
]
