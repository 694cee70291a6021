"""The kernels: NumPy arrays in, NumPy arrays out, computed in native code.

Every function has a plain NumPy counterpart of the same name and signature in `softstep.reference`.
"""

from __future__ import annotations

from softstep.kernels.cross_entropy import ByProducts, cross_entropy, cross_entropy_with_grad
from softstep.kernels.gather_rows import gather_rows
from softstep.kernels.linear import linear, linear_backward
from softstep.kernels.linear_cross_entropy import (
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from softstep.kernels.losses import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_with_grad,
    mse_loss,
    mse_loss_with_grad,
)
from softstep.kernels.optimizers import (
    adam_step,
    adamw_step,
    clip_grad_norm,
    rmsprop_step,
    sgd_step,
)
from softstep.kernels.rules import OptimizerRule
from softstep.kernels.softmax import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    softmax,
    softmax_backward,
)
from softstep.kernels.train_mlp import train_mlp
from softstep.kernels.train_step import (
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
