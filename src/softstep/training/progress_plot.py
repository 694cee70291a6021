"""The callback that draws the history on a board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from softstep.training.board import ProgressBoard, check_strings
from softstep.training.callbacks import Callback
from softstep.training.history import EpochRecord

__all__ = ["ProgressPlot"]


class ProgressPlot(Callback):
    """Draw losses and accuracies, epoch by epoch; the fused path stays.

    Parameters
    ----------
    board : ProgressBoard, optional
        What to draw on; by default one with the axis ``epoch``.
    monitors : sequence of str
        The measures of `EpochRecord` that are drawn; those that are not measured are left out.

    Attributes
    ----------
    board : ProgressBoard

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> from softstep import Digits, ProgressBoard, ProgressPlot, SoftmaxRegression, Trainer
    >>> plot = ProgressPlot(ProgressBoard(xlabel="epoch", display=False))
    >>> trainer = Trainer(max_epochs=3, callbacks=[plot])
    >>> history = trainer.fit(SoftmaxRegression(num_outputs=10, lr=0.5), Digits())
    >>> list(plot.board.data), [point.x for point in plot.board.data["val_loss"]]
    (['train_loss', 'val_loss', 'val_accuracy'], [1.0, 2.0, 3.0])
    """

    def __init__(
        self,
        board: ProgressBoard | None = None,
        monitors: Sequence[str] = ("train_loss", "val_loss", "val_accuracy"),
    ) -> None:
        if board is not None and not isinstance(board, ProgressBoard):
            raise TypeError(f"board is a {type(board).__name__}; accepted: a ProgressBoard")
        self.board = ProgressBoard(xlabel="epoch") if board is None else board
        self.monitors = check_strings("monitors", monitors)
        for name in self.monitors:
            if name not in EpochRecord.__dataclass_fields__:
                accepted = ", ".join(EpochRecord.__dataclass_fields__)
                raise ValueError(f"monitors holds {name!r}; accepted: {accepted}")

    def on_fit_begin(self, trainer: Any) -> None:
        """Begin anew, in a drawing of its own, with the epochs that a checkpoint tells of."""
        self.board.clear()
        for record in trainer.history:
            self._draw(record)

    def on_epoch_end(self, trainer: Any, record: EpochRecord) -> None:
        """Draw the epoch."""
        self._draw(record)

    def on_fit_end(self, trainer: Any) -> None:
        """Bring the drawing up to date."""
        self.board.flush()

    def _draw(self, record: EpochRecord) -> None:
        for name in self.monitors:
            value = getattr(record, name)
            if value is not None:
                self.board.draw(record.epoch + 1, value, name)
