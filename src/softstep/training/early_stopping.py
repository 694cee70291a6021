"""Early stopping, and the best epoch so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softstep.kernels._arrays import as_flag
from softstep.models.checks import check_integer, check_number
from softstep.models.module import check_parameter
from softstep.models.parameter import Parameter
from softstep.training.callbacks import Callback
from softstep.training.history import EpochRecord

if TYPE_CHECKING:
    from softstep.training.trainer import Trainer

__all__ = ["Best", "EarlyStopping"]

MONITORS = ("val_loss", "val_accuracy", "train_loss", "train_accuracy")


class Best:
    """The best value so far of one of the measures of an epoch.

    Parameters
    ----------
    monitor : {"val_loss", "val_accuracy", "train_loss", "train_accuracy"}
        Losses are better when smaller, accuracies when larger. NaN is never better.
    min_delta : float, default 0
        By how much a value has to be better.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.
    """

    def __init__(self, monitor: str, min_delta: float = 0.0) -> None:
        if monitor not in MONITORS:
            accepted = ", ".join(map(repr, MONITORS))
            raise ValueError(f"monitor is {monitor!r}; accepted: {accepted}")
        self.monitor = monitor
        self.min_delta = check_number("min_delta", min_delta)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.value: float | None = None
        self.epoch: int | None = None

    def require(self, trainer: Trainer) -> None:
        """Raise ValueError if the trainer will not measure what is monitored."""
        if self.monitor.startswith("val") and not trainer.has_validation:
            raise ValueError(
                f"monitor is {self.monitor!r}, but the data module has no validation data"
            )

    def improves(self, record: EpochRecord) -> bool:
        """Take note of an epoch; tell whether it is the best so far."""
        found = getattr(record, self.monitor)
        if found is None:
            raise ValueError(f"monitor is {self.monitor!r}, which this training does not measure")
        sign = 1.0 if self.monitor.endswith("loss") else -1.0
        before = math.inf if self.value is None else sign * self.value - self.min_delta
        if not sign * found < before:
            return False
        self.value, self.epoch = float(found), record.epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and its epoch."""
        return {"monitor": self.monitor, "value": self.value, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` has returned."""
        if state["monitor"] != self.monitor:
            raise ValueError(f"it monitored {state['monitor']!r}, this one {self.monitor!r}")
        value, epoch = state["value"], state["epoch"]
        if (value is None) != (epoch is None):
            raise ValueError("it has a value without an epoch")
        self.value = None if value is None else check_number("value", value, -math.inf)
        self.epoch = None if epoch is None else check_integer("epoch", epoch, 0)


class EarlyStopping(Callback):
    """Stop when an epoch's measure has not become better for some epochs.

    What is monitored should come from rows that are held out from training, not from the test set:
    whoever stops at the best test accuracy has chosen with the test set, and has none left to
    measure with. The image data modules hold rows out with ``val_size``.

    Parameters
    ----------
    monitor : {"val_loss", "val_accuracy", "train_loss", "train_accuracy"}
    patience : int, default 3
        After how many epochs in a row without a better value training stops, at least 1.
    min_delta : float, default 0
        By how much a value has to be better, to count.
    restore_best : bool, default True
        Whether the model gets back the parameters of the best epoch when the fit ends, also when it
        ends at ``max_epochs``. (A fit that ends with an exception leaves them.)

    Attributes
    ----------
    best : float or None
        The best value of the latest fit.
    best_epoch : int or None
        Its epoch.
    waited : int
        How many epochs were not better since then.
    stopped_epoch : int or None
        The epoch after which training stopped; None if it did not.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described. From ``Trainer.fit``: what is monitored is not measured,
        for example because there are no validation data.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", section 5.5.3;
    L. Prechelt, "Early stopping, but when?", in: Neural Networks: Tricks of the Trade (1998).

    Examples
    --------
    >>> from softstep import Digits, EarlyStopping, SoftmaxRegression, Trainer
    >>> stopping = EarlyStopping("val_accuracy", patience=2)
    >>> trainer = Trainer(max_epochs=1000, callbacks=[stopping])
    >>> history = trainer.fit(SoftmaxRegression(num_outputs=10, lr=0.5), Digits(val_size=0.1))
    >>> len(history) == stopping.best_epoch + 1 + 2 < 1000
    True
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self._best = Best(monitor, min_delta)
        self.patience = check_integer("patience", patience, 1)
        self.restore_best = as_flag("restore_best", restore_best)
        self._parameters: dict[str, NDArray[Any]] = {}
        self._like: dict[str, NDArray[Any]] = {}
        self.waited = 0
        self.stopped_epoch: int | None = None

    @property
    def monitor(self) -> str:
        """What is monitored."""
        return self._best.monitor

    @property
    def best(self) -> float | None:
        """The best value."""
        return self._best.value

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best value."""
        return self._best.epoch

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget the training before."""
        self._best.require(trainer)
        self._best.forget()
        self._parameters, self.waited, self.stopped_epoch = {}, 0, None
        self._like = {
            name: parameter.data
            for name, parameter in _parameters(trainer).items()
            if parameter.is_initialized
        }

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Stop at once if a checkpoint says that it is time."""
        self._stop_if_due(trainer)

    def on_epoch_end(self, trainer: Trainer, record: EpochRecord) -> None:
        """Compare the epoch with the best one."""
        if self._best.improves(record):
            self.waited = 0
            if self.restore_best:
                self._parameters = {
                    name: parameter.data.copy() for name, parameter in _parameters(trainer).items()
                }
        else:
            self.waited += 1
            self._stop_if_due(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Give the model its best parameters."""
        mine = _parameters(trainer)
        for name, value in self._parameters.items():
            np.copyto(mine[name].data, value)

    def _stop_if_due(self, trainer: Trainer) -> None:
        if self.waited >= self.patience:
            trainer.should_stop = True
            self.stopped_epoch = len(trainer.history) - 1

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch, its parameters, and how long it is past."""
        return {
            "best": self._best.state_dict(), "waited": self.waited, "parameters": self._parameters
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` has returned."""
        self._best.load_state_dict(state["best"])
        self.waited = check_integer("waited", state["waited"], 0)
        found = dict(state["parameters"])
        if found and set(found) != set(self._like):
            raise ValueError(f"its parameters are {sorted(found)}, not {sorted(self._like)}")
        for name, value in found.items():
            check_parameter(name, value, self._like[name].shape, self._like[name].dtype)
        self._parameters = found if self.restore_best else {}


def _parameters(trainer: Trainer) -> dict[str, Parameter]:
    return {} if trainer.model is None else trainer.model.named_parameters()
