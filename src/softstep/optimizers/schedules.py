"""Learning-rate schedules: functions of the number of an epoch or step.

They are small immutable objects that compare equal and pickle; `LearningRateSchedule` applies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from softstep.models.checks import check_integer, check_number

__all__ = ["ConstantLR", "CosineLR", "StepLR", "WarmUp"]


def _number(owner: object, name: str, least: float = 0.0) -> None:
    object.__setattr__(owner, name, check_number(name, getattr(owner, name), least))


def _count(owner: object, name: str) -> None:
    object.__setattr__(owner, name, check_integer(name, getattr(owner, name), 1))


@dataclass(frozen=True)
class ConstantLR:
    """The same learning rate always.

    Parameters
    ----------
    lr : float
        Finite, at least 0.

    Raises
    ------
    TypeError, ValueError
        `lr` is no such number.

    Examples
    --------
    >>> from softstep import ConstantLR
    >>> ConstantLR(0.1)(1000)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        _number(self, "lr")

    def __call__(self, number: int) -> float:
        """Return the learning rate of an epoch or step."""
        return self.lr


@dataclass(frozen=True)
class StepLR:
    """A learning rate that is multiplied by a factor every so often.

    Parameters
    ----------
    lr : float
        The first learning rate. This and the factor: finite, at least 0.
    every : int
        After how many epochs or steps it is multiplied, at least 1.
    factor : float, default 0.1

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.11.3; as
    ``torch.optim.lr_scheduler.StepLR``.

    Examples
    --------
    >>> from softstep import StepLR
    >>> schedule = StepLR(1.0, every=2, factor=0.5)
    >>> [schedule(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _number(self, "lr")
        _count(self, "every")
        _number(self, "factor")

    def __call__(self, number: int) -> float:
        """Return the learning rate of an epoch or step."""
        return float(self.lr * self.factor ** (number // self.every))


@dataclass(frozen=True)
class CosineLR:
    """A learning rate that falls along half a cosine, from `lr` to `final_lr`.

    ``final_lr + (lr - final_lr) * (1 + cos(pi * number / count)) / 2``, and `final_lr` from `count`
    on.

    Parameters
    ----------
    lr : float
        The first learning rate. This and `final_lr`: finite, at least 0.
    count : int
        In how many epochs or steps it falls, at least 1.
    final_lr : float, default 0

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic gradient descent with warm restarts" (2016); A.
    Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.11.3.

    Examples
    --------
    >>> from softstep import CosineLR
    >>> schedule = CosineLR(1.0, count=4)
    >>> [round(schedule(epoch), 4) for epoch in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    lr: float
    count: int
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        _number(self, "lr")
        _count(self, "count")
        _number(self, "final_lr")

    def __call__(self, number: int) -> float:
        """Return the learning rate of an epoch or step."""
        if number >= self.count:
            return self.final_lr
        share = (1 + math.cos(math.pi * number / self.count)) / 2
        return self.final_lr + (self.lr - self.final_lr) * share


@dataclass(frozen=True)
class WarmUp:
    """A learning rate that rises evenly to that of another schedule, which then begins.

    Parameters
    ----------
    schedule : callable
        What comes after the rise; its number 0 is the first epoch or step after it.
    count : int
        How many epochs or steps the rise takes, at least 1.
    first_lr : float, default 0
        The learning rate it begins with; finite, at least 0.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.11.3.

    Examples
    --------
    >>> from softstep import CosineLR, WarmUp
    >>> schedule = WarmUp(CosineLR(1.0, count=2), count=4)
    >>> [round(schedule(step), 4) for step in range(8)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.0]
    """

    schedule: Callable[[int], float]
    count: int
    first_lr: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(
                f"schedule is a {type(self.schedule).__name__}; accepted: a schedule, or a "
                "function of the number of an epoch or step"
            )
        _count(self, "count")
        _number(self, "first_lr")

    def __call__(self, number: int) -> float:
        """Return the learning rate of an epoch or step."""
        if number >= self.count:
            return self.schedule(number - self.count)
        return self.first_lr + (self.schedule(0) - self.first_lr) * number / self.count
