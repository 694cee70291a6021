"""Callbacks: what happens between epochs and steps, without a trainer of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from softstep.models.checks import check_number
from softstep.training.history import EpochRecord

if TYPE_CHECKING:
    from softstep.training.trainer import Trainer

__all__ = ["Callback", "LearningRateSchedule", "check_callbacks"]


class Callback:
    """What a `Trainer` calls as it goes; a subclass overrides the methods it needs.

    A callback changes nothing in the way the data are gone through: the fused path stays. It may
    change the optimizer's settings, and set ``trainer.should_stop``.

    Attributes
    ----------
    every_steps : int or None
        How many steps lie between two calls of `on_step_begin`; None: it is not called.
    last : bool
        Whether this callback comes after those that are not, at each event: for those that save
        what the others keep.

    Examples
    --------
    >>> from softstep import Callback, Digits, SoftmaxRegression, Trainer
    >>> class Say(Callback):
    ...     def on_epoch_end(self, trainer, record):
    ...         print(record.epoch, record.val_accuracy > 0.5)
    >>> trainer = Trainer(max_epochs=2, callbacks=[Say()])
    >>> history = trainer.fit(SoftmaxRegression(num_outputs=10, lr=0.5), Digits())
    0 True
    1 True
    """

    every_steps: int | None = None
    last: bool = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget the training before; called when the trainer knows model, optimizer and data.

        When a training goes on, ``trainer.history`` holds its epochs already.
        """

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Prepare the epoch ``trainer.epoch``, of which ``trainer.epoch_step`` steps were made.

        These are more than 0 when a training goes on that was saved in the midst of an epoch.
        """

    def on_step_begin(self, trainer: Trainer) -> None:
        """Prepare the step ``trainer.step``: a multiple of `every_steps`, counted over the fit."""

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """See what came of an epoch, which ``trainer.history`` holds already."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """See what came of the training; not called when it ends with an exception."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep of this callback.

        Numbers, strings, booleans, None, float32 and float64 arrays, and dictionaries and lists of
        these.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` has returned; called after `on_fit_begin`.

        ``KeyError``, ``TypeError`` and ``ValueError`` say that the state is not of this callback.
        """


class LearningRateSchedule(Callback):
    """Set the optimizer's learning rate at the beginning of each epoch or step.

    Parameters
    ----------
    schedule : callable
        Gives the learning rate, finite and at least 0, for the number of an epoch or step, counted
        from 0: `ConstantLR`, `StepLR`, `CosineLR`, `WarmUp`, or a function of one's own.
    per : {"epoch", "step"}
        What is counted. Steps are counted over the whole fit; the fused path then makes one native
        call for each.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described. From ``Trainer.fit``: the schedule gave something that is
        no learning rate, or the optimizer has no ``lr``.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.11.

    Examples
    --------
    >>> from softstep import Digits, LearningRateSchedule, SoftmaxRegression, StepLR, Trainer
    >>> trainer = Trainer(3, callbacks=[LearningRateSchedule(StepLR(0.8, every=1, factor=0.5))])
    >>> history = trainer.fit(SoftmaxRegression(num_outputs=10, lr=0.8), Digits())
    >>> trainer.optim.lr, trainer.fused
    (0.2, True)
    """

    def __init__(self, schedule: Callable[[int], float], per: str = "epoch") -> None:
        if not callable(schedule):
            raise TypeError(
                f"schedule is a {type(schedule).__name__}; accepted: a function of the number of "
                "an epoch or step"
            )
        if per not in ("epoch", "step"):
            raise ValueError(f"per is {per!r}; accepted: 'epoch', 'step'")
        self.schedule = schedule
        self.per = per
        self.every_steps = 1 if per == "step" else None

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Set the rate of the epoch."""
        if self.per == "epoch":
            self._set(trainer, trainer.epoch)

    def on_step_begin(self, trainer: Trainer) -> None:
        """Set the rate of the step."""
        self._set(trainer, trainer.step)

    def _set(self, trainer: Trainer, number: int) -> None:
        if not hasattr(trainer.optim, "lr"):
            raise TypeError(
                f"the optimizer is a {type(trainer.optim).__name__}, which has no attribute lr; "
                "accepted by LearningRateSchedule: an optimizer with lr"
            )
        trainer.optim.lr = check_number(
            f"the learning rate of {self.per} {number}", self.schedule(number)
        )


def check_callbacks(callbacks: Iterable[Any]) -> list[Callback]:
    """Return callbacks as a list, those that come last at its end."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks is a {type(callbacks).__name__}; accepted: a list of callbacks")
    found = list(callbacks)
    for i, callback in enumerate(found):
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks[{i}] is a {type(callback).__name__}; accepted: a Callback")
    if len({id(callback) for callback in found}) < len(found):
        raise ValueError("callbacks holds a callback twice; accepted: each of them once")
    return sorted(found, key=lambda callback: callback.last)
