"""What training records."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

__all__ = ["EpochRecord", "Totals"]


@dataclass
class Totals:
    """Sums over rows, and the means that follow: a short last batch weighs what its rows weigh.

    Parameters
    ----------
    loss, correct, rows
        The attributes of these names.
    """

    loss: float = 0.0
    """Sum of the rows' losses."""
    correct: float | None = None
    """Sum of the rows' accuracies; None where those of some were not measured."""
    rows: int = 0

    def add(self, loss: float, correct: float | None, rows: int) -> None:
        """Add sums over some rows."""
        measured = self.rows == 0 or self.correct is not None
        self.correct = None if correct is None or not measured else (self.correct or 0) + correct
        self.loss += loss
        self.rows += rows

    @property
    def mean_loss(self) -> float:
        """Mean loss of a row; NaN without rows."""
        return self.loss / self.rows if self.rows else float("nan")

    @property
    def accuracy(self) -> float | None:
        """Share of the rows that were correct; None where it was not measured."""
        return None if self.correct is None or not self.rows else self.correct / self.rows


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Parameters
    ----------
    epoch, train_loss, train_accuracy, val_loss, val_accuracy, seconds, rows_per_second
        The attributes of these names.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> history = Trainer(max_epochs=2).fit(SoftmaxRegression(10, lr=0.5), Digits())
    >>> [record.epoch for record in history], history[1].val_loss < history[0].val_loss
    ([0, 1], True)
    >>> list(history[0].as_dict())[:4]
    ['epoch', 'train_loss', 'train_accuracy', 'val_loss']
    """

    epoch: int
    """Counted from 0."""
    train_loss: float
    """Mean loss of a training row, each with the parameters its minibatch met."""
    train_accuracy: float | None
    """Share of the training rows that were correct, met in the same way; fused path only."""
    val_loss: float | None
    """Mean loss of a validation row after the epoch; None without validation data."""
    val_accuracy: float | None
    """Share of the validation rows that were correct; None for models without classes, too."""
    seconds: float
    """Of training and validation."""
    rows_per_second: float
    """Training rows, by the time without validation."""

    def as_dict(self) -> dict[str, int | float | None]:
        """Return the record as a dictionary."""
        return dataclasses.asdict(self)
