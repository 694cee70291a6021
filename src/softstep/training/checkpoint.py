"""Checkpoints: the whole state of a training, to go on as if it had never stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softstep.models.checks import check_integer
from softstep.training.callbacks import Callback
from softstep.training.early_stopping import Best
from softstep.training.history import EpochRecord

if TYPE_CHECKING:
    from softstep.training.trainer import Trainer

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Save the state of a training every so often, so that it can go on after a crash.

    ``Trainer.fit(model, data, resume=path)`` goes on where the file was written, to the same bits
    as if nothing had happened. A file is replaced as a whole: whenever the process or the machine
    dies, the complete old or the complete new one is there (and perhaps a part of one, which nobody
    reads, as ``.softstep-*.tmp``). It is read without executing anything.

    Parameters
    ----------
    path : path
        The checkpoint, replaced each time; a safetensors file with a description in JSON.
    every : int, default 1
        After how many epochs it is written, at least 1; also after the last one.
    every_steps : int, optional
        Write it between steps, too, after so many of them, counted over the whole fit. On the fused
        path native calls end there.
    best : path, optional
        Where the model goes whenever an epoch is the best so far: a model file, which
        `softstep.load` reads.
    monitor : {"val_loss", "val_accuracy", "train_loss", "train_accuracy"}
        By which epochs are compared for `best`.

    Attributes
    ----------
    best_value : float or None
        The best value of the latest fit, if `best` was given.
    best_epoch : int or None
        Its epoch.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.
    OSError
        From ``Trainer.fit``: a file cannot be written; before the training if there is no folder.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from softstep import Checkpoint, Digits, SoftmaxRegression, Trainer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "training.safetensors")
    ...     model = SoftmaxRegression(num_outputs=10, lr=0.5)
    ...     history = Trainer(2, callbacks=[Checkpoint(path)]).fit(model, Digits())
    ...     again = SoftmaxRegression(num_outputs=10, lr=0.5)
    ...     history = Trainer(4).fit(again, Digits(), resume=path)
    >>> straight = SoftmaxRegression(num_outputs=10, lr=0.5)
    >>> _ = Trainer(4).fit(straight, Digits())
    >>> len(history), np.array_equal(again.weight, straight.weight)
    (4, True)
    """

    last = True  # the others' state is then that after the epoch

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        every_steps: int | None = None,
        best: str | os.PathLike[str] | None = None,
        monitor: str = "val_loss",
    ) -> None:
        self.path = _path("path", path)
        self.every = check_integer("every", every, 1)
        if every_steps is not None:
            every_steps = check_integer("every_steps", every_steps, 1)
        self.every_steps = every_steps
        self.best = None if best is None else _path("best", best)
        if self.best is not None and self.best.absolute() == self.path.absolute():
            raise ValueError(f"best is {self.best}; accepted: another file than path")
        self._best = Best(monitor)
        self._saved_at: int | None = None

    @property
    def best_value(self) -> float | None:
        """The best value."""
        return self._best.value

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best value."""
        return self._best.epoch

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check that the files can be written: there are folders, and nothing else is there."""
        for path in (self.path, self.best):
            folder = None if path is None else path.absolute().parent
            if folder is not None and not folder.is_dir():
                raise FileNotFoundError(f"{path}: there is no folder {folder}")
            if path is not None and path.exists() and not path.is_file():
                raise OSError(f"{path} is not a regular file")
        self._best.forget()
        if self.best is not None:
            self._best.require(trainer)
        self._saved_at = None

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Take note of where the training begins: there is nothing to save yet."""
        if self._saved_at is None:
            self._saved_at = trainer.step

    def on_step_begin(self, trainer: Trainer) -> None:
        """Save the state between two steps."""
        if trainer.step != self._saved_at:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Save the state after an epoch, and the model if it is the best one."""
        if self.best is not None and self._best.improves(record) and trainer.model is not None:
            trainer.model.save(self.best)
        ends = trainer.should_stop or trainer.epoch >= trainer.max_epochs
        if ends or trainer.epoch % self.every == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved_at = trainer.step

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {} if self.best is None else self._best.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` has returned."""
        if state and self.best is not None:
            self._best.load_state_dict(state)


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} is a {type(value).__name__}; accepted: a path")
    return Path(value)
