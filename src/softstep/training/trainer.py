"""The trainer: epochs of training and validation, and what they measured."""

from __future__ import annotations

import time
from typing import Any

from softstep.models.checks import check_integer
from softstep.models.module import Module
from softstep.runtime import check_threads
from softstep.training.evaluation import evaluation_of, limited
from softstep.training.exclusive import exclusive
from softstep.training.fused import FusedEvaluation, FusedTraining, fused_training
from softstep.training.history import EpochRecord, Totals
from softstep.training.progress import Progress
from softstep.training.stepwise import StepwiseEvaluation, StepwiseTraining

__all__ = ["Trainer"]


class Trainer:
    """Trains models on data, one after the other.

    Library models with the optimizer `SGD` on data modules with arrays are trained by native calls
    that run many minibatches each; any other combination step by step, through the loaders and the
    methods of the model. Both see the same rows in the same order and agree to rounding.

    Parameters
    ----------
    max_epochs : int
        How many epochs `fit` trains, at least 1.
    threads : int, optional
        How many threads at the most; see `softstep.threads`. Results do not depend on it.
    progress : bool, optional
        Whether to show a progress bar on standard error; by default only if that is a terminal.

    Attributes
    ----------
    history : list of EpochRecord
        The epochs of the latest `fit`.
    model, optim
        The model of the latest `fit`, and its optimizer.
    epoch : int
        The epoch that is running, or is next; counted from 0.
    fused : bool
        Whether the latest `fit` trained by native calls.

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
        self, max_epochs: int, *, threads: int | None = None, progress: bool | None = None
    ) -> None:
        self.max_epochs = check_integer("max_epochs", max_epochs, 1)
        self.threads = None if threads is None else check_threads(threads)
        if progress is not None and not isinstance(progress, bool):
            raise TypeError(f"progress is {progress!r}; accepted: True, False, None")
        self.progress = progress
        self.history: list[EpochRecord] = []
        self.model: Module | None = None
        self.optim: Any = None
        self.epoch = 0
        self.fused = False
        self._training: FusedTraining | StepwiseTraining | None = None
        self._evaluation: FusedEvaluation | StepwiseEvaluation | None = None
        self._progress: Progress | None = None

    def fit(self, model: Module, data: Any) -> list[EpochRecord]:
        """Train a model, from its present parameters, with a new optimizer and from epoch 0.

        Parameters
        ----------
        model : Module
        data : DataModule
            Or any object with ``train_dataloader()`` and ``val_dataloader()``, which may be None.

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
        """
        if not isinstance(model, Module):
            raise TypeError(f"model is a {type(model).__name__}; accepted: a Module")
        _require("data is", data, "train_dataloader", "val_dataloader")
        with exclusive(self, model), limited(self.threads, *model.modules()):
            self.history, self.epoch, self.model = [], 0, model
            self.optim = model.configure_optimizers()
            _require("configure_optimizers() returned", self.optim, "step", "zero_grad")
            with limited(self.threads, self.optim):
                self._prepare(model, data)
                try:
                    while self.epoch < self.max_epochs:
                        self.fit_epoch()
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
        start = time.perf_counter()
        self.model.train()
        trained = self._training.epoch(self.epoch, self._progress.update)
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

    def prepare_batch(self, batch: Any) -> Any:
        """Return a batch as the model gets it; a subclass may change it (then step by step)."""
        return batch

    def _prepare(self, model: Module, data: Any) -> None:
        """Choose the way through the data."""
        plain = type(self).prepare_batch is Trainer.prepare_batch and "prepare_batch" not in vars(
            self
        )
        training: FusedTraining | StepwiseTraining | None = None
        if plain:
            training = fused_training(model, self.optim, data)
        self.fused = training is not None
        if training is None:
            loader = data.train_dataloader()
            training = StepwiseTraining(model, self.optim, loader, self.prepare_batch)
        self._training = training
        self._evaluation = evaluation_of(model, data, self.prepare_batch, fused=plain)
        steps = None if training.steps is None else self.max_epochs * training.steps
        self._progress = Progress(steps, self.progress)

    def _end(self) -> None:
        """Let go of the data."""
        if self._progress is not None:
            self._progress.close()
        self._training = self._evaluation = self._progress = None


def _require(what: str, thing: object, *methods: str) -> None:
    """Raise TypeError unless an object has the methods."""
    if not all(callable(getattr(thing, method, None)) for method in methods):
        raise TypeError(
            f"{what} a {type(thing).__name__}; accepted: an object with {' and '.join(methods)}"
        )
