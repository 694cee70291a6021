"""The progress bar."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from softstep.training.history import EpochRecord

__all__ = ["Progress"]


class Progress:
    """A bar on standard error that counts steps, or nothing at all.

    Parameters
    ----------
    steps : int or None
        How many there will be, if known.
    shown : bool or None
        None: only if standard error is a terminal.
    """

    def __init__(self, steps: int | None, shown: bool | None) -> None:
        self._bar: Any = None
        if sys.stderr is not None and (sys.stderr.isatty() if shown is None else shown):
            # not needed to train, so not imported before
            tqdm = importlib.import_module("tqdm").tqdm
            self._bar = tqdm(total=steps, unit="step", file=sys.stderr)

    def update(self, steps: int) -> None:
        """Count steps."""
        if self._bar is not None:
            self._bar.update(steps)

    def show(self, record: EpochRecord) -> None:
        """Show the latest epoch beside the bar."""
        if self._bar is not None:
            values = {"epoch": record.epoch, "train_loss": f"{record.train_loss:.4f}"}
            if record.val_loss is not None:
                values["val_loss"] = f"{record.val_loss:.4f}"
            if record.val_accuracy is not None:
                values["val_accuracy"] = f"{record.val_accuracy:.4f}"
            self._bar.set_postfix(values, refresh=False)

    def close(self) -> None:
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()
