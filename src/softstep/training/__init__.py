"""Training: the trainer, its two ways through the data, and what it records."""

from __future__ import annotations

from softstep.training.evaluation import evaluate
from softstep.training.history import EpochRecord, Totals
from softstep.training.trainer import Trainer

__all__ = ["EpochRecord", "Totals", "Trainer", "evaluate"]
