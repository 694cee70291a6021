"""Optimizers: rules that change parameters by their gradients, and schedules of learning rates."""

from __future__ import annotations

from softstep.optimizers.adaptive import Adam, AdamW, RMSprop
from softstep.optimizers.named import make_optimizer
from softstep.optimizers.optimizer import Optimizer
from softstep.optimizers.schedules import ConstantLR, CosineLR, StepLR, WarmUp
from softstep.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ConstantLR",
    "CosineLR",
    "Optimizer",
    "RMSprop",
    "StepLR",
    "WarmUp",
    "make_optimizer",
]
