"""Training: the trainer, its two ways through the data, and what it records."""

from __future__ import annotations

from softstep.training.board import ProgressBoard, ProgressPlot
from softstep.training.callbacks import Callback, EarlyStopping, LearningRateSchedule
from softstep.training.clipping import clip_gradients
from softstep.training.evaluation import evaluate
from softstep.training.history import EpochRecord, Totals
from softstep.training.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "EpochRecord",
    "LearningRateSchedule",
    "ProgressBoard",
    "ProgressPlot",
    "Totals",
    "Trainer",
    "clip_gradients",
    "evaluate",
]
