"""Training: the trainer, its two ways through the data, and what it records."""

from __future__ import annotations

from softstep.training.board import ProgressBoard
from softstep.training.callbacks import Callback, LearningRateSchedule
from softstep.training.checkpoint import Checkpoint
from softstep.training.clipping import clip_gradients
from softstep.training.early_stopping import EarlyStopping
from softstep.training.evaluation import evaluate
from softstep.training.history import EpochRecord, Totals
from softstep.training.learning_rates import compare_learning_rates
from softstep.training.progress_plot import ProgressPlot
from softstep.training.state_file import CheckpointError
from softstep.training.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "EarlyStopping",
    "EpochRecord",
    "LearningRateSchedule",
    "ProgressBoard",
    "ProgressPlot",
    "Totals",
    "Trainer",
    "clip_gradients",
    "compare_learning_rates",
    "evaluate",
]
