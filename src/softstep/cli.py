"""The command line: ``softstep train``, ``evaluate``, ``info`` and ``bench``.

What goes wrong is one line on standard error and exit status 2; Ctrl-C is status 130.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import softstep
from softstep.data import ImageDataModule
from softstep.models.affine import AffineModel
from softstep.models.checks import check_integer, check_number

__all__ = ["main"]

_ERROR, _INTERRUPTED, _CLOSED_PIPE = 2, 130, 141  # 128 + SIGINT, 128 + SIGPIPE: what shells report

T = TypeVar("T")


class _Data(NamedTuple):
    """A data set of the command line, with the settings that suit it."""

    make: Callable[..., ImageDataModule]
    reads_files: bool
    epochs: int
    lr: float
    batch_size: int


_DATA = {
    "digits": _Data(softstep.Digits, reads_files=False, epochs=30, lr=0.5, batch_size=32),
    "mnist": _Data(softstep.MNIST, reads_files=True, epochs=10, lr=0.1, batch_size=256),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the program's name; by default the process's own.

    Returns
    -------
    int
        The exit status: 0, 2 after an error, 130 after Ctrl-C, 141 if the reader of the output went
        away.

    Raises
    ------
    SystemExit
        Status 0 after ``--help`` and ``--version``, 2 after wrong arguments.

    Examples
    --------
    >>> from softstep.cli import main
    >>> main(["evaluate", "no-such-file"])
    2
    """
    try:
        try:
            options = _parser().parse_args(arguments)
            options.run(options)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        _discard_output()
        return _CLOSED_PIPE
    except OSError as error:
        _discard_output()
        return _fail(_name_file(error))
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return _fail(str(error) or type(error).__name__)
    return 0


# Commands


class _Reporting(softstep.Trainer):
    """A trainer that prints a line for each epoch."""

    def fit_epoch(self) -> None:
        """Train for one epoch and print what came of it."""
        super().fit_epoch()
        record = self.history[-1]
        print(
            f"epoch {record.epoch + 1}/{self.max_epochs}: train loss {record.train_loss:.4g}, "
            f"test loss {record.val_loss:.4g}, test accuracy {record.val_accuracy:.4f}, "
            f"{record.rows_per_second:,.0f} rows/s",
            flush=True,
        )


def _train(options: argparse.Namespace) -> None:
    defaults = _DATA[options.data]
    settings = {
        name: getattr(defaults if getattr(options, name) is None else options, name)
        for name in ("epochs", "lr", "batch_size")
    }
    path = Path(options.out or f"softstep-{options.data}.safetensors")
    _check_writable(path)
    data = _open(options, batch_size=settings["batch_size"], seed=options.seed)
    model = softstep.SoftmaxRegression(data.num_classes, settings["lr"], seed=options.seed)
    if options.json:
        trainer = softstep.Trainer(settings["epochs"], threads=options.threads)
    else:
        trainer = _Reporting(settings["epochs"], threads=options.threads, progress=False)
    history = trainer.fit(model, data)
    model.save(path)
    last = history[-1]
    if options.json:
        _print_json(
            {
                "data": options.data,
                **settings,
                "seed": options.seed,
                "history": [record.as_dict() for record in history],
                "model": str(path),
                "test_loss": last.val_loss,
                "test_accuracy": last.val_accuracy,
            }
        )
    else:
        print(f"test accuracy {last.val_accuracy:.4f}")
        print(f"model saved to {path}")


def _evaluate(options: argparse.Namespace) -> None:
    model = softstep.load(options.model)
    if not (isinstance(model, softstep.Classifier) and isinstance(model, AffineModel)):
        raise ValueError(f"{options.model} holds a {type(model).__name__}; accepted: a classifier")
    data = _open(options)
    height, width = data.image_shape
    if model.weight.shape != (data.num_classes, height * width):
        outputs, features = model.weight.shape
        raise ValueError(
            f"{options.model} tells {outputs} classes of rows of {features} features apart; "
            f"{options.data} has {data.num_classes} classes of {height * width} features "
            "(see --data)"
        )
    found = softstep.evaluate(model, data, threads=options.threads)
    if options.json:
        _print_json(
            {
                "data": options.data,
                "model": options.model,
                "rows": found.rows,
                "test_loss": found.mean_loss,
                "test_accuracy": found.accuracy,
            }
        )
    else:
        print(f"test accuracy {found.accuracy:.4f}, test loss {found.mean_loss:.4g}")


def _info(options: argparse.Namespace) -> None:
    found = softstep.show_config()
    if options.json:
        _print_json(found)
    else:
        for name, value in found.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{name.replace('_', ' ') + ':':<15}{shown}")


def _bench(options: argparse.Namespace) -> None:
    from softstep.bench.command import run  # what it times takes long to import

    report = run(
        options.case,
        style="json" if options.json else "markdown" if options.markdown else "text",
        quick=options.quick,
        listing=options.list,
        scaling=options.scaling,
        threads=options.threads,
    )
    if report is not None:
        _print_json(report)


def _open(options: argparse.Namespace, **arguments: Any) -> ImageDataModule:
    chosen = _DATA[options.data]
    if options.data_dir is not None:
        if not chosen.reads_files:
            raise ValueError(
                f"--data-dir is given, but {options.data} comes with softstep: "
                "choose a data set of files with --data"
            )
        if not Path(options.data_dir).is_dir():
            raise ValueError(f"--data-dir {options.data_dir} is no folder")
        arguments["root"] = options.data_dir
    return chosen.make(**arguments)


def _check_writable(path: Path) -> None:
    """Raise before the training, not after it, if a model cannot be saved there."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"--out {path}: {folder} is no folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"--out {path} is not a regular file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--out {path}: no permission to write in {folder}")


# Arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2."""
        _fail(f"{message} (see {self.prog} --help)")
        raise SystemExit(_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="softstep", description=softstep.__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"softstep {softstep.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = _command(commands, "train", _train, "train softmax regression and save the model")
    _add_data(train)
    each = ", ".join(f"{name}: {{{name}}}" for name in _DATA)
    for name, kind, text in (
        ("epochs", _integer(1), "passes over the training rows"),
        ("lr", _number, "learning rate"),
        ("batch_size", _integer(1), "rows of a minibatch"),
    ):
        values = {data: getattr(defaults, name) for data, defaults in _DATA.items()}
        train.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar="N",
            help=f"{text} (default: {each.format(**values)})",
        )  # fmt: skip
    train.add_argument(
        "--seed", type=_integer(0), default=0, metavar="N",
        help="of the shuffle and the first weights (default: 0)",
    )  # fmt: skip
    train.add_argument(
        "--out", type=_path, metavar="FILE",
        help="where the model goes (default: softstep-DATA.safetensors in this folder)",
    )  # fmt: skip
    _add_common(train)

    evaluate = _command(commands, "evaluate", _evaluate, "measure a saved model on the test rows")
    evaluate.add_argument("model", type=_path, metavar="MODEL", help="a file that train has saved")
    _add_data(evaluate)
    _add_common(evaluate)

    info = _command(commands, "info", _info, "show the build, the processor and the threads")
    info.add_argument("--json", action="store_true", help="print one JSON object")

    text = "time the kernels beside every installed peer, each result checked first"
    bench = _command(commands, "bench", _bench, text)
    bench.add_argument(
        "--case", action="append", default=[], metavar="PART",
        help="only cases with this in their name; may be given several times",
    )  # fmt: skip
    bench.add_argument(
        "--quick", action="store_true",
        help="under a minute: the smaller cases that have floors, fewer samples of each",
    )  # fmt: skip
    bench.add_argument("--list", action="store_true", help="only print the names of the cases")
    bench.add_argument(
        "--scaling", action="store_true", help="also time ours with one thread beside all of them"
    )
    bench.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="for everybody (default: $SOFTSTEP_BENCH_THREADS, or 2)",
    )  # fmt: skip
    style = bench.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    style.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", choices=list(_DATA), default="digits", help="the data set (default: digits)"
    )
    parser.add_argument(
        "--data-dir", type=_path, metavar="FOLDER",
        help="folder of the data set's files, or one that holds it (default: see $SOFTSTEP_DATA)",
    )  # fmt: skip


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="at most so many threads; results do not depend on it (default: automatic)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")


def _argument(convert: Callable[[str], Any], check: Callable[[Any], T]) -> Callable[[str], T]:
    """Make a type of argument; argparse names the argument, `check` says what is accepted."""

    def parse(text: str) -> T:
        try:
            value = convert(text)
        except ValueError:
            value = text
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            accepted = str(error).partition("accepted: ")[2]
            raise argparse.ArgumentTypeError(f"is {text!r}; accepted: {accepted}") from None

    return parse


def _integer(least: int) -> Callable[[str], int]:
    return _argument(int, lambda value: check_integer("", value, least))


_number = _argument(float, lambda value: check_number("", value))


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"is {text!r}; accepted: a path")
    return text


# Output


def _fail(message: str, status: int = _ERROR) -> int:
    """Print one line on standard error."""
    kind = "error: " if status == _ERROR else ""
    print(f"softstep: {kind}{' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def _name_file(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    file = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{file}{error.strerror}"


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say, NaN and infinities, by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _discard_output() -> None:
    """If the output cannot be written, send the rest nowhere, lest Python try again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        devnull = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):  # an output without a descriptor
            os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
