"""The same training with several learning rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from softstep.models.checks import check_number
from softstep.models.module import Module
from softstep.training.history import EpochRecord
from softstep.training.trainer import Trainer

__all__ = ["compare_learning_rates"]


def compare_learning_rates(
    make_model: Callable[[float], Module],
    data: Any,
    lrs: Iterable[float],
    max_epochs: int = 10,
    **options: Any,
) -> dict[float, list[EpochRecord]]:
    """Train a new model with each of several learning rates.

    Parameters
    ----------
    make_model : callable
        Makes a model for a learning rate, for example ``lambda lr: SoftmaxRegression(10, lr)``.
        With the same seed, the trainings differ in nothing else.
    data : DataModule
    lrs : iterable of float
        The learning rates: finite, at least 0, each of them once.
    max_epochs : int, default 10
    **options
        More arguments of `Trainer`. Callbacks serve each training in turn.

    Returns
    -------
    dict of float to list of EpochRecord
        The history of each training, in the order of `lrs`. That of a training whose loss was not
        finite any more ends with the last whole epoch before, and may be empty.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; other errors as ``Trainer.fit``.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 12.3.1.2.

    Examples
    --------
    >>> from softstep import Digits, SoftmaxRegression
    >>> from softstep.training import compare_learning_rates
    >>> found = compare_learning_rates(
    ...     lambda lr: SoftmaxRegression(10, lr), Digits(), lrs=[0.001, 0.5], max_epochs=3
    ... )
    >>> {lr: history[-1].val_accuracy > 0.8 for lr, history in found.items()}
    {0.001: False, 0.5: True}
    """
    rates = [check_number(f"lrs[{i}]", lr) for i, lr in enumerate(lrs)]
    if not rates or len(set(rates)) < len(rates):
        raise ValueError(f"lrs is {rates}; accepted: at least one learning rate, each of them once")
    if not callable(make_model):
        raise TypeError(
            f"make_model is a {type(make_model).__name__}; accepted: a function of a learning rate"
        )
    trainer = Trainer(max_epochs, **options)
    found: dict[float, list[EpochRecord]] = {}
    for lr in rates:
        model = make_model(lr)
        try:
            found[lr] = trainer.fit(model, data)
        except FloatingPointError:
            found[lr] = trainer.history
    return found
