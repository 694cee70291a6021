"""Optimizers: they read ``grad`` and change ``data`` of parameters."""

from __future__ import annotations

from softstep.optimizers.adaptive import Adam, AdamW, RMSprop
from softstep.optimizers.optimizer import Optimizer
from softstep.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]
