"""The trainer: epochs of training and validation, and what they measured."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import Any

from softstep.hyperparameters import HyperParameters
from softstep.models.checks import check_integer, check_number
from softstep.models.module import Module
from softstep.runtime import check_threads
from softstep.training.board import ProgressBoard
from softstep.training.callbacks import Callback, check_callbacks
from softstep.training.clipping import clip_gradients
from softstep.training.evaluation import evaluation_of, limited
from softstep.training.exclusive import exclusive
from softstep.training.fused import FusedEvaluation
from softstep.training.history import EpochRecord, Totals
from softstep.training.layered import LayeredEvaluation
from softstep.training.progress import Progress
from softstep.training.resuming import (
    collect,
    data_identity,
    optimizer_settings,
    restore,
    restore_callbacks,
    snapshot,
)
from softstep.training.state_file import read_state, write_state
from softstep.training.stepwise import StepwiseEvaluation, StepwiseTraining
from softstep.training.ways import (
    OptimizerChoice,
    Training,
    check_optimizer,
    optimizer_of,
    require,
    way_of,
)

__all__ = ["Trainer"]


class Trainer(HyperParameters):
    """Trains models on data, one after the other.

    Library models with an optimizer of the library on data modules with arrays are trained by
    native calls that run many minibatches each; any other combination step by step, through the
    loaders and the methods of the model. Both see the same rows in the same order and agree to
    rounding.

    Parameters
    ----------
    max_epochs : int
        How many epochs `fit` trains, at least 1.
    gradient_clip_val : float, default 0
        Before each step the gradients are multiplied by ``min(1, gradient_clip_val / (norm +
        1e-6))``, where `norm` is that of all of them together; 0: they are left as they are.
    callbacks : sequence of Callback
        Called as the training goes, in this order; see `Callback`.
    optimizer : str or callable, optional
        In the place of the model's ``configure_optimizers()``: a name that `make_optimizer` knows,
        with the learning rate ``model.lr``, or a function of the list of parameters.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only if that is a terminal.

    Attributes
    ----------
    history : list of EpochRecord
        The epochs of the latest `fit`.
    model, optim
        The model of the latest `fit`, and its optimizer. While it runs, ``model.trainer`` is the
        trainer.
    epoch : int
        The epoch that is running, or is next; counted from 0.
    step, epoch_step : int
        How many steps the fit, and its present epoch, have made.
    num_train_batches, num_val_batches : int or None
        How many batches an epoch and a validation have; None where it is not known.
    should_stop : bool
        Whether training stops after this epoch; a callback may set it.
    fused : bool
        Whether the latest `fit` trained by native calls, or an `MLP` by one pass for each batch,
        and not step by step through the model's methods.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 3.2.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression, Trainer
    >>> trainer = Trainer(max_epochs=3)
    >>> history = trainer.fit(SoftmaxRegression(num_outputs=10, lr=0.5), Digits())
    >>> len(history), trainer.fused
    (3, True)
    """

    def __init__(
        self,
        max_epochs: int,
        gradient_clip_val: float = 0.0,
        callbacks: Iterable[Callback] = (),
        *,
        optimizer: OptimizerChoice = None,
        threads: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self.max_epochs = check_integer("max_epochs", max_epochs, 1)
        self.gradient_clip_val = check_number("gradient_clip_val", gradient_clip_val)
        self.callbacks = check_callbacks(callbacks)
        self.optimizer = check_optimizer(optimizer)
        self.threads = None if threads is None else check_threads(threads)
        if progress is not None and not isinstance(progress, bool):
            raise TypeError(f"progress is {progress!r}; accepted: True, False, None")
        self.progress = progress
        self.history: list[EpochRecord] = []
        self.model: Module | None = None
        self.optim: Any = None
        self.epoch = self.step = self.epoch_step = 0
        self.should_stop = False
        self.fused = False
        self._totals = Totals()
        self._seconds = self._began = 0.0
        self._is_whole = False  # whether the state is that between two steps
        self._data_identity: dict[str, Any] = {}
        self._optimizer_settings: dict[str, Any] = {}
        self._training: Training | None = None
        self._evaluation: FusedEvaluation | LayeredEvaluation | StepwiseEvaluation | None = None
        self._progress: Progress | None = None

    def fit(
        self, model: Module, data: Any, *, resume: str | os.PathLike[str] | None = None
    ) -> list[EpochRecord]:
        """Train a model, from its present parameters, with a new optimizer and from epoch 0.

        With `resume`, go on from a checkpoint instead, to the same bits as if the training had not
        stopped: parameters, optimizer, history, callbacks and position are those of the file. What
        the trainer was made with (epochs, clipping, threads, callbacks) is its own.

        Parameters
        ----------
        model : Module
        data : DataModule
            Or any object with ``train_dataloader()`` and ``val_dataloader()``, which may be None.
        resume : path, optional
            A file that `Checkpoint` or `save_checkpoint` has written, for a model with the same
            class and hyperparameters, the same optimizer and the same data.

        Returns
        -------
        list of EpochRecord
            The new `history`.

        Raises
        ------
        FloatingPointError
            The loss, or a feature on the fused path, is not finite: the epoch and the step are
            named, and the parameters are those of the step before.
        KeyboardInterrupt
            Ctrl-C: the parameters are those of a whole step, `history` holds the whole epochs.
        RuntimeError
            The model or the trainer is taking part in another training.
        NotImplementedError
            The model lacks a method, for example ``backward``.
        TypeError, ValueError, IndexError
            Model and data do not fit each other, or hold values that are not accepted.
        CheckpointError
            A ValueError: `resume` is damaged, or of another model, optimizer or other data; the
            model is then as it was.
        OSError
            `resume` cannot be read.
        """
        if not isinstance(model, Module):
            raise TypeError(f"model is a {type(model).__name__}; accepted: a Module")
        require("data is", data, "train_dataloader", "val_dataloader")
        checkpoint = None if resume is None else read_state(resume)
        with exclusive(self, model), limited(self.threads, *model.modules()):
            self.history, self.model = [], model
            self.epoch = self.step = self.epoch_step = 0
            self.should_stop, self._totals, self._seconds = False, Totals(), 0.0
            self._is_whole = False
            put_back = snapshot(model)
            self.optim = optimizer_of(self.optimizer, model)
            with limited(self.threads, self.optim):
                try:
                    self._prepare(model, data)
                    if checkpoint is not None:
                        restore(self, model, resume, checkpoint)
                    self._call("on_fit_begin")
                    if checkpoint is not None:
                        restore_callbacks(self, resume, checkpoint)
                        self._show_steps(self.step)
                    self._is_whole = True
                    while self.epoch < self.max_epochs and not self.should_stop:
                        self.fit_epoch()
                    self._call("on_fit_end")
                    board = vars(model).get("board")
                    if isinstance(board, ProgressBoard):
                        board.flush()
                except BaseException:
                    if not self._is_whole:  # nothing was trained: not even drawn parameters stay
                        put_back()
                    self._is_whole = False
                    raise
                finally:
                    self._end()
        return self.history

    def fit_epoch(self) -> None:
        """Train for one epoch, validate, and add to `history`; `fit` calls it.

        Raises
        ------
        RuntimeError
            Called while nothing is being fitted.
        """
        if self._training is None or self._progress is None or self.model is None:
            raise RuntimeError("fit_epoch is a part of fit: call fit(model, data)")
        self._call("on_epoch_begin")
        if self.should_stop:
            return
        start = self._began = time.perf_counter() - self._seconds
        self.model.train()
        self._training.epoch(self.epoch, self.epoch_step, self._before_steps, self._after_steps)
        trained = self._totals
        if trained.rows == 0:
            raise ValueError("the training data have no rows")
        seconds = time.perf_counter() - start
        validated = Totals()
        if self._evaluation is not None:
            self.model.eval()
            validated = self._evaluation.run()
        record = EpochRecord(
            epoch=self.epoch,
            train_loss=trained.mean_loss,
            train_accuracy=trained.accuracy,
            val_loss=validated.mean_loss if validated.rows else None,
            val_accuracy=validated.accuracy,
            seconds=time.perf_counter() - start,
            rows_per_second=trained.rows / max(seconds, 1e-9),
        )
        self.history.append(record)
        self._progress.show(record)
        self.epoch += 1
        self.epoch_step, self._totals, self._seconds = 0, Totals(), 0.0
        self._call("on_epoch_end", record)

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Save the whole state of the training; `fit` goes on from it with ``resume=path``.

        Between epochs or steps, from a callback, or after a fit; see `Checkpoint`. Where
        `EarlyStopping` has put the best epoch's parameters back, these are saved: what goes on from
        there is another training. A `Checkpoint` beside it saves the last epoch's.

        Parameters
        ----------
        path : path
            A file that exists already is replaced as a whole: either the old or the new one is
            there, whatever happens.

        Raises
        ------
        RuntimeError
            Nothing has been fitted, or the latest fit ended with an exception, perhaps in the midst
            of a native call: go on from the last file of a `Checkpoint` callback.
        TypeError
            The state of the optimizer or of a callback cannot be saved.
        OSError
            The file cannot be written there.
        """
        if self.model is None or not self._is_whole:
            raise RuntimeError(
                "there is no state to save: nothing has been fitted, or the latest fit ended with "
                "an exception"
            )
        self.model.require_data()
        write_state(path, collect(self, self.model))

    def prepare_batch(self, batch: Any) -> Any:
        """Return a batch as the model gets it; a subclass may change it (then step by step)."""
        return batch

    def clip_gradients(self, grad_clip_val: float, model: Module) -> None:
        """Clip the gradients of a model to a common norm; a subclass may do it otherwise.

        Called between ``backward`` and the step if `gradient_clip_val` is not 0 and training goes
        step by step; native calls clip in the same way.
        """
        clip_gradients(model.parameters(), grad_clip_val, threads=model.threads)

    @property
    def has_validation(self) -> bool:
        """Whether the fit that is running has validation data."""
        return self._evaluation is not None

    @property
    def num_train_batches(self) -> int | None:
        """How many batches an epoch of the running fit has; None where it is not known."""
        return None if self._training is None else self._training.steps

    @property
    def num_val_batches(self) -> int | None:
        """How many batches a validation of the running fit has; None where it is not known."""
        if isinstance(self._evaluation, (FusedEvaluation, LayeredEvaluation)):
            return 1
        loader: Any = getattr(self._evaluation, "loader", None)
        return len(loader) if hasattr(loader, "__len__") else None

    def _prepare(self, model: Module, data: Any) -> None:
        """Choose the way through the data."""
        own_batches = not _is_own(self, "prepare_batch")
        max_norm = self.gradient_clip_val or None
        training = way_of(
            model, self.optim, data, self.prepare_batch, self.clip_gradients, max_norm,
            plain=not own_batches and (max_norm is None or _is_own(self, "clip_gradients")),
        )  # fmt: skip
        self.fused = not isinstance(training, StepwiseTraining)
        self._training = training
        self._evaluation = evaluation_of(model, data, self.prepare_batch, fused=not own_batches)
        self._data_identity = data_identity(data, getattr(training, "loader", None))
        self._optimizer_settings = optimizer_settings(self.optim)
        steps = None if training.steps is None else self.max_epochs * training.steps
        self._progress = Progress(steps, self.progress)
        for i, callback in enumerate(self.callbacks):
            if callback.every_steps is not None:
                check_integer(f"callbacks[{i}].every_steps", callback.every_steps, 1)
        vars(model)["trainer"] = self  # for the model's plot; gone when the fit ends

    def _elapsed(self) -> float:
        """Return the seconds that the present epoch has taken so far."""
        return time.perf_counter() - self._began if self.epoch_step else 0.0

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)

    def _before_steps(self) -> int:
        """Call the callbacks that are due; return after how many steps the next one is."""
        following = sys.maxsize
        for callback in self.callbacks:
            every = callback.every_steps
            if every is not None:
                if self.step % every == 0:
                    callback.on_step_begin(self)
                following = min(following, every - self.step % every)
        return following

    def _after_steps(self, steps: int, loss: float, correct: float | None, rows: int) -> None:
        """Count what was done."""
        self.step += steps
        self.epoch_step += steps
        self._totals.add(loss, correct, rows)
        self._show_steps(steps)

    def _show_steps(self, steps: int) -> None:
        if self._progress is not None:
            self._progress.update(steps)

    def _end(self) -> None:
        """Let go of the data."""
        if self._progress is not None:
            self._progress.close()
        self._training = self._evaluation = self._progress = None
        vars(self.model).pop("trainer", None)


def _is_own(trainer: Trainer, method: str) -> bool:
    """Whether a method is `Trainer`'s own, and not a subclass's or an object's."""
    return getattr(type(trainer), method) is getattr(Trainer, method) and method not in vars(
        trainer
    )
