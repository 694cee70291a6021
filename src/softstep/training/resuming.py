"""The state of a trainer, as a checkpoint keeps it, and the way back."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from softstep.models.checks import check_integer, check_number
from softstep.models.module import Module
from softstep.training.history import EpochRecord, Totals
from softstep.training.state_file import CheckpointError, pack

if TYPE_CHECKING:
    from softstep.training.trainer import Trainer

__all__ = [
    "collect",
    "data_identity",
    "optimizer_settings",
    "restore",
    "restore_callbacks",
    "snapshot",
]

_FIELDS = [field.name for field in dataclasses.fields(EpochRecord)]
_OPTIONAL = {"train_accuracy", "val_loss", "val_accuracy"}
_SAMPLE_ROWS, _SAMPLE_BYTES = 256, 1 << 16  # what is looked at of the training data
_OF_THE_ORDER = ("batch_size", "seed", "shuffle")
_NUMBERS = ("lr", "seed")  # do not say what a model or an optimizer is
_MOST = 2**53
_MOST_CHARACTERS = 200  # of what a message quotes


def collect(trainer: Trainer, model: Module) -> dict[str, Any]:
    """Return all that a training depends on, but for the arguments of its trainer."""
    values, known = _table(trainer.history)
    return {
        "model": _model_identity(model),
        "parameters": {name: p.data for name, p in model.named_parameters().items()},
        "modules": [module.training_state() for module in model.modules()],
        "optimizer": {
            "configured": trainer._optimizer_settings,
            "state": _optimizer_state(trainer.optim),
        },
        "data": trainer._data_identity,
        "position": {
            "epoch": trainer.epoch, "step": trainer.step, "epoch_step": trainer.epoch_step,
            "loss": trainer._totals.loss, "correct": trainer._totals.correct,
            "rows": trainer._totals.rows, "seconds": trainer._elapsed(),
        },
        "fields": _FIELDS, "history": values, "known": known,
        "callbacks": [
            {"name": type(callback).__name__, "state": callback.state_dict()}
            for callback in trainer.callbacks
        ],
    }  # fmt: skip


def restore(trainer: Trainer, model: Module, path: Any, state: Mapping[str, Any]) -> None:
    """Bring trainer, model and optimizer into a state that `collect` has returned.

    Raises
    ------
    CheckpointError
        It is not of this model, this optimizer or these data, or damaged. The model may have been
        changed then: see `snapshot`.
    """
    with _explained(path):
        pairs = {
            "model": (state["model"], _model_identity(model)),
            "optimizer": (state["optimizer"]["configured"], trainer._optimizer_settings),
        }
        # What they are comes before their numbers: another optimizer usually has another lr.
        for what, (theirs, ours) in pairs.items():
            _compare(path, what, theirs, ours, besides=_NUMBERS)
        for what, (theirs, ours) in pairs.items():
            _compare(path, what, theirs, ours)
        _compare(path, "data", state["data"], trainer._data_identity)
        model.accept_parameters(state["parameters"])
        for module, found in zip(model.modules(), state["modules"], strict=True):
            module.accept_training_state(found)
        trainer.optim.load_state_dict(state["optimizer"]["state"])
        history = _records(state)
        _restore_position(trainer, state["position"], len(history))
        trainer.history[:] = history


def restore_callbacks(trainer: Trainer, path: Any, state: Mapping[str, Any]) -> None:
    """Give each callback the state of the next one of its class; CheckpointError as `restore`."""
    with _explained(path):
        waiting = [(str(found["name"]), found["state"]) for found in state["callbacks"]]
        for callback in trainer.callbacks:
            for i, (name, found) in enumerate(waiting):
                if name == type(callback).__name__:
                    try:
                        callback.load_state_dict(found)
                    except (AttributeError, KeyError, TypeError, ValueError) as error:
                        raise ValueError(f"the state of the callback {name}: {error}") from None
                    del waiting[i]
                    break


def snapshot(model: Module) -> Callable[[], None]:
    """Return a function that gives a model back the parameters and the state that it has now."""
    parameters = [(parameter, parameter._data) for parameter in model.parameters()]
    states = [(module, module.training_state()) for module in model.modules()]

    def put_back() -> None:
        for parameter, data in parameters:
            parameter._data = data
        for module, state in states:
            module.accept_training_state(state)

    return put_back


@contextlib.contextmanager
def _explained(path: Any) -> Iterator[None]:
    """Say which file it is that does not fit."""
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = _shortened(str(error))
        raise CheckpointError(path, f"is damaged, or not of this training: {reason}") from None


def optimizer_settings(optimizer: Any) -> dict[str, Any]:
    """Return what an optimizer was configured with."""
    settings = getattr(optimizer, "settings", dict)  # all that one of somebody's own may have
    configuration = getattr(optimizer, "configuration", settings)
    return {"class": type(optimizer).__name__, **configuration()}


def data_identity(data: Any, loader: Any = None) -> dict[str, Any]:
    """Return what tells training data from others: numbers, and a hash of some of the rows."""
    arrays = data.arrays(True) if hasattr(data, "arrays") else None
    dataset: Any = getattr(loader, "dataset", None)
    if arrays is None and hasattr(dataset, "tensors"):
        arrays = (
            *dataset.tensors,
            getattr(dataset, "scale", None),
            getattr(dataset, "shift", None),
        )
    found: dict[str, Any] = {
        name: getattr(data, name) for name in _OF_THE_ORDER if hasattr(data, name)
    }
    if arrays is None:
        if hasattr(loader, "__len__"):
            found["batches"] = len(loader)
        return found
    *tensors, scale, shift = arrays
    found["rows"] = len(tensors[0])
    digest = hashlib.sha256()
    for array in (*tensors, scale, shift):
        if array is not None:
            digest.update(_sample(np.asarray(array)))
    found["sha256"] = digest.hexdigest()
    return found


def _sample(array: NDArray[Any]) -> bytes:
    """Return some rows of an array as bytes; the same however a row's shape is written."""
    rows = array.reshape(1) if array.ndim == 0 else array
    width = max(1, rows[:1].size * rows.itemsize)
    count = min(len(rows), _SAMPLE_ROWS, max(2, _SAMPLE_BYTES // width))
    chosen = rows[np.linspace(0, max(0, len(rows) - 1), count).astype(np.int64)]
    chosen = chosen.astype(chosen.dtype.newbyteorder("<"), copy=False)
    return f"{chosen.dtype.str} {len(rows)} {width};".encode() + chosen.tobytes()


def _model_identity(model: Module) -> dict[str, Any]:
    return {"class": type(model).__name__, **model.hyperparameters()}


def _optimizer_state(optimizer: Any) -> Any:
    if not callable(getattr(optimizer, "state_dict", None)) or not callable(
        getattr(optimizer, "load_state_dict", None)
    ):
        raise TypeError(
            f"the optimizer is a {type(optimizer).__name__}, whose state cannot be saved; accepted "
            "for checkpoints: an optimizer with state_dict and load_state_dict"
        )
    return optimizer.state_dict()


def _compare(path: Any, what: str, theirs: Any, ours: Any, besides: tuple[str, ...] = ()) -> None:
    """Raise CheckpointError unless a checkpoint's description equals that of this training."""
    if not isinstance(theirs, dict):
        raise TypeError(f"{what} is no dictionary")
    mine, their = (
        {name: value for name, value in pack(found, what, {}).items() if name not in besides}
        for found in (ours, theirs)
    )
    if their == mine:
        return
    differences = [
        f"{name} {_shortened(repr(their.get(name)))} instead of {_shortened(repr(mine.get(name)))}"
        for name in {**mine, **their}
        if their.get(name) != mine.get(name) and name != "sha256"
    ]
    found = differences[0] if differences else "other values in its rows"
    raise CheckpointError(path, f"is of another training: its {what} has {found}")


def _restore_position(trainer: Trainer, position: Mapping[str, Any], epochs: int) -> None:
    names = ("epoch", "step", "epoch_step", "rows")
    epoch, step, epoch_step, rows = (_count(name, position[name]) for name in names)
    steps = trainer.num_train_batches
    if epoch != epochs or epoch_step > step or (epoch_step > 0) != (rows > 0):
        raise ValueError("its position and its history do not fit each other")
    if steps is not None and epoch_step >= max(steps, 1):
        raise ValueError(f"it has made {epoch_step} steps of an epoch that has {steps}")
    correct = position["correct"]
    totals = Totals(
        check_number("loss", position["loss"], -np.inf),
        None if correct is None else check_number("correct", correct),
        rows,
    )
    trainer._seconds = check_number("seconds", position["seconds"])
    trainer.epoch, trainer.step, trainer.epoch_step = epoch, step, epoch_step
    trainer._totals = totals


def _table(history: list[EpochRecord]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return records as rows of numbers, and which of these are known."""
    rows = [[getattr(record, name) for name in _FIELDS] for record in history]
    shape = len(rows), len(_FIELDS)
    known = np.array([[value is not None for value in row] for row in rows], np.uint8)
    values = np.array([[0.0 if v is None else v for v in row] for row in rows], np.float64)
    return values.reshape(shape), known.reshape(shape)


def _records(state: Mapping[str, Any]) -> list[EpochRecord]:
    values, known = state["history"], state["known"]
    if state["fields"] != _FIELDS:
        raise ValueError(f"its history has the columns {state['fields']}, not {_FIELDS}")
    for array, dtype in ((values, np.float64), (known, np.uint8)):
        if array.dtype != dtype or array.ndim != 2 or array.shape[1] != len(_FIELDS):
            raise ValueError(f"its history is {array.dtype} {array.shape}")
    if values.shape != known.shape or (values[:, 0] != np.arange(len(values))).any():
        raise ValueError("its history is not that of epochs 0, 1, ...")
    if not known[:, [name not in _OPTIONAL for name in _FIELDS]].all():
        raise ValueError("its history has gaps")
    records = []
    for epoch, (row, mask) in enumerate(zip(values.tolist(), known.tolist(), strict=True)):
        found: dict[str, Any] = {
            name: value if there else None
            for name, value, there in zip(_FIELDS, row, mask, strict=True)
        }
        records.append(EpochRecord(**{**found, "epoch": epoch}))
    return records


def _shortened(text: str) -> str:
    """Return a text of one line that is not too long to be read: files may hold anything."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."


def _count(name: str, value: Any) -> int:
    number = check_integer(name, value, 0)
    if number > _MOST:
        raise ValueError(f"{name} is {number}; accepted: at most {_MOST}")
    return number
