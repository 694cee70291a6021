"""``softstep train``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import softstep
from softstep.cli.data import DATA, DataSet, as_images, open_data
from softstep.cli.output import check_writable, print_json
from softstep.data import DataModule
from softstep.models.module import Module

__all__ = ["MODELS", "held_out", "train"]

MODELS = ("softmax", "mlp", "linear")

_HIDDEN = [256]
_VAL_SIZE = 0.1  # of the training rows, with --early-stopping
# The share of the step of SGD that suits an optimizer: with a momentum of 0.9 steps add up to
# ten times one of them.
_SHARES = {"momentum": 0.1, "nesterov": 0.1}
# The adaptive methods' steps have the size of the learning rate, whatever the gradient.
_RATES = {"rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3}
_MLP_ONLY = ("hidden", "activation", "dropout")


class _Report(softstep.Callback):
    """Prints a line for each epoch."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.is_first = True

    def on_epoch_begin(self, trainer: softstep.Trainer) -> None:
        """Say where a checkpoint goes on."""
        if self.is_first and trainer.step:
            print(f"resumed after {trainer.step} steps", flush=True)
        self.is_first = False

    def on_epoch_end(self, trainer: softstep.Trainer, record: softstep.EpochRecord) -> None:
        """Print what came of the epoch."""
        measured = [f"train loss {record.train_loss:.4g}"]
        if record.val_loss is not None:
            measured.append(f"{self.what} loss {record.val_loss:.4g}")
        if record.val_accuracy is not None:
            measured.append(f"{self.what} accuracy {record.val_accuracy:.4f}")
        print(
            f"epoch {record.epoch + 1}/{trainer.max_epochs}: {', '.join(measured)}, "
            f"{record.rows_per_second:,.0f} rows/s",
            flush=True,
        )


def train(options: argparse.Namespace) -> None:
    """Train a model and save it."""
    name = options.data or ("synthetic" if options.model == "linear" else "digits")
    chosen = DATA[name]
    settings = _settings(options, name, chosen)
    out = Path(options.out or f"softstep-{name}.safetensors")
    _check_files(options, out)
    data = _open(options, name, settings)
    model = _make_model(options, data, settings)
    stopping, callbacks = _callbacks(options, name, settings)
    trainer = softstep.Trainer(
        settings["epochs"], callbacks=callbacks, optimizer=options.optimizer,
        threads=options.threads, progress=None if options.json else False,
    )  # fmt: skip
    history = trainer.fit(model, data, resume=options.resume)
    test_loss, test_accuracy = _test(options, name, model, data, settings, history)
    model.save(out)
    if options.plot:
        from softstep.plotting import plot_history, save_figure

        title, rows = f"{options.model} on {name}", held_out(name, settings)
        save_figure(plot_history(history, title=title, held_out=rows), options.plot)
    if options.json:
        found = {
            "data": name,
            "kind": options.model,
            **settings,
            "history": [record.as_dict() for record in history],
            "model": str(out),
            "plot": options.plot,
            "checkpoint": options.checkpoint,
            "stopped_early": stopping is not None and len(history) < settings["epochs"],
            "best_epoch": None if stopping is None else stopping.best_epoch,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }
        print_json(found)
        return
    if stopping is not None and stopping.best_epoch is not None:
        print(f"the model is that of epoch {stopping.best_epoch + 1}, the best one")
    print(
        f"test loss {test_loss:.4g}" if test_accuracy is None
        else f"test accuracy {test_accuracy:.4f}"
    )  # fmt: skip
    print(f"model saved to {out}")
    if options.plot:
        print(f"picture saved to {options.plot}")


def _settings(options: argparse.Namespace, name: str, chosen: DataSet) -> dict[str, Any]:
    """Return what the training is made with, checked; defaults are those of the data set."""
    if chosen.has_classes == (options.model == "linear"):
        fitting = "softmax, mlp" if chosen.has_classes else "linear"
        raise ValueError(f"--model {options.model} does not fit --data {name}; accepted: {fitting}")
    if options.model != "mlp":
        for option in _MLP_ONLY:
            if getattr(options, option) is not None:
                raise ValueError(f"--{option} is given, but --model {options.model} has no layers "
                                 "inside; choose --model mlp")  # fmt: skip
    lr = options.lr
    if lr is None:
        lr = _RATES.get(options.optimizer, chosen.lr * _SHARES.get(options.optimizer, 1.0))
    settings: dict[str, Any] = {
        "epochs": options.epochs or chosen.epochs,
        "lr": lr,
        "batch_size": options.batch_size or chosen.batch_size,
        "seed": options.seed,
        "optimizer": options.optimizer,
    }
    if options.model == "mlp":
        settings["hidden"] = _HIDDEN if options.hidden is None else list(options.hidden)
        settings["activation"] = options.activation or "relu"
        settings["dropout"] = options.dropout or 0.0
    val_size = options.val_size
    if not chosen.has_classes:
        if val_size is not None:
            raise ValueError(f"--val-size is given, but {name} has validation rows of its own")
    elif val_size is None and options.early_stopping is not None:
        val_size = _VAL_SIZE
    settings["val_size"] = val_size
    return settings


def _check_files(options: argparse.Namespace, out: Path) -> None:
    check_writable("--out", out)
    if options.plot is not None:
        from softstep.plotting.figures import check_format, require_matplotlib

        try:
            check_format(options.plot)
        except ValueError as error:
            raise ValueError(f"--plot {error}") from None
        check_writable("--plot", Path(options.plot))
        require_matplotlib()
    if options.checkpoint is not None:
        check_writable("--checkpoint", Path(options.checkpoint))
    written = [out, *(Path(path) for path in (options.plot, options.checkpoint) if path)]
    if len({path.resolve() for path in written}) < len(written):
        raise ValueError("two of --out, --plot and --checkpoint name the same file")
    # To go on writing the checkpoint that one resumes from is what --checkpoint is for.
    if options.resume is not None and any(
        Path(path).resolve() == Path(options.resume).resolve()
        for path in (out, options.plot)
        if path
    ):
        raise ValueError(
            f"{options.resume} is what --resume reads; choose another file for --out and --plot"
        )


def _open(options: argparse.Namespace, name: str, settings: dict[str, Any]) -> DataModule:
    held = {} if settings["val_size"] is None else {"val_size": settings["val_size"]}
    return open_data(
        name, options, batch_size=settings["batch_size"], seed=options.seed, **held
    )  # fmt: skip


def _make_model(options: argparse.Namespace, data: DataModule, settings: dict[str, Any]) -> Module:
    lr, seed = settings["lr"], options.seed
    if options.model == "linear":
        return softstep.LinearRegression(lr, seed=seed)
    classes = as_images(data).num_classes
    if options.model == "softmax":
        return softstep.SoftmaxRegression(classes, lr, seed=seed)
    return softstep.MLP(
        classes, settings["hidden"], lr, activation=settings["activation"],
        dropout=settings["dropout"], seed=seed,
    )  # fmt: skip


def held_out(name: str, settings: Mapping[str, Any]) -> str:
    """Return what the rows are that each epoch is measured on: "validation" or "test"."""
    own = settings["val_size"] is not None or not DATA[name].has_classes
    return "validation" if own else "test"


def _callbacks(
    options: argparse.Namespace, name: str, settings: dict[str, Any]
) -> tuple[softstep.EarlyStopping | None, list[softstep.Callback]]:
    stopping = None
    callbacks: list[softstep.Callback] = []
    if options.early_stopping is not None:
        monitor = "val_accuracy" if DATA[name].has_classes else "val_loss"
        stopping = softstep.EarlyStopping(monitor, patience=options.early_stopping)
        callbacks.append(stopping)
    if options.checkpoint is not None:
        callbacks.append(softstep.Checkpoint(options.checkpoint))
    if not options.json:
        callbacks.append(_Report(held_out(name, settings)))
    return stopping, callbacks


def _test(
    options: argparse.Namespace,
    name: str,
    model: Module,
    data: DataModule,
    settings: dict[str, Any],
    history: Sequence[softstep.EpochRecord],
) -> tuple[float | None, float | None]:
    """Return loss and accuracy of the test rows, which are read once if others were held out."""
    if settings["val_size"] is not None:
        found = softstep.evaluate(model, data.on_test(), threads=options.threads)
    elif not DATA[name].has_classes:
        # Rows that nothing has been chosen by: drawn with the next seed.
        fresh = open_data(name, options, batch_size=settings["batch_size"], seed=options.seed + 1)
        found = softstep.evaluate(model, fresh, threads=options.threads)
    else:  # the validation rows are the test rows, as in the book
        return history[-1].val_loss, history[-1].val_accuracy
    return found.mean_loss, found.accuracy
