"""The arguments of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import softstep
from softstep.cli.data import DATA
from softstep.cli.evaluating import evaluate
from softstep.cli.machine import bench, info
from softstep.cli.output import ERROR, fail
from softstep.cli.plotting import plot
from softstep.cli.predicting import predict
from softstep.cli.training import MODELS, train
from softstep.models.checks import check_integer, check_number
from softstep.optimizers.named import OPTIMIZERS

__all__ = ["make_parser"]

T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2."""
        fail(f"{message} (see {self.prog} --help)")
        raise SystemExit(ERROR)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; what it parses has the command's function as ``run``."""
    parser = _Parser(prog="softstep", description=softstep.__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"softstep {softstep.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_plot(commands)
    command = _command(commands, "info", info, "show the build, the processor and the threads")
    _add_json(command)
    _add_bench(commands)
    return parser


# fmt: off

def _add_train(commands: Any) -> None:
    train_ = _command(commands, "train", train, "train a model and save it")
    train_.add_argument(
        "--model", choices=MODELS, default="softmax",
        help="softmax regression, a multilayer perceptron, or linear regression "
        "(default: softmax)",
    )
    _add_data(train_, None, "digits; synthetic for linear")
    each = ", ".join(f"{name}: {{{name}}}" for name in DATA)
    for name, kind, text in (
        ("epochs", _integer(1), "passes over the training rows"),
        ("lr", _number, "learning rate"),
        ("batch_size", _integer(1), "rows of a minibatch"),
    ):
        values = {data: getattr(defaults, name) for data, defaults in DATA.items()}
        other = "; a tenth for momentum and nesterov, 0.001 for the adaptive optimizers"
        train_.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar="N",
            help=f"{text} (default: {each.format(**values)}{other if name == 'lr' else ''})",
        )
    train_.add_argument(
        "--optimizer", choices=list(OPTIMIZERS), default="sgd", help="(default: sgd)"
    )
    train_.add_argument(
        "--hidden", type=_sizes, metavar="N[,N...]",
        help="units of the hidden layers of --model mlp (default: 256)",
    )
    train_.add_argument(
        "--activation", choices=["relu", "sigmoid", "tanh"],
        help="after each hidden layer of --model mlp (default: relu)",
    )
    train_.add_argument(
        "--dropout", type=_rate, metavar="RATE",
        help="share of the hidden units that --model mlp leaves out of a step (default: 0)",
    )
    train_.add_argument(
        "--val-size", type=_part, metavar="N",
        help="hold so many training rows, or a share of them below 1, out for validation; the test "
        "rows are then read once, at the end (default: the test rows validate)",
    )
    train_.add_argument(
        "--early-stopping", type=_integer(1), nargs="?", const=3, metavar="PATIENCE",
        help="stop after so many epochs (3) in which the accuracy on rows held out of training "
        "(a tenth, see --val-size) has not risen, and keep the best model",
    )
    train_.add_argument(
        "--checkpoint", type=_path, metavar="FILE",
        help="write the state of the training after each epoch",
    )
    train_.add_argument(
        "--resume", type=_path, metavar="FILE",
        help="go on from a checkpoint, with the other arguments as they were",
    )
    train_.add_argument(
        "--seed", type=_integer(0), default=0, metavar="N",
        help="of the shuffle, the first weights and the rows held out (default: 0)",
    )
    train_.add_argument(
        "--out", type=_path, metavar="FILE",
        help="where the model goes (default: softstep-DATA.safetensors in this folder)",
    )
    train_.add_argument(
        "--plot", type=_path, metavar="FILE",
        help="draw the loss and accuracy of each epoch: PNG, SVG or PDF",
    )
    _add_common(train_)


def _add_evaluate(commands: Any) -> None:
    text = "measure a saved model on the test rows"
    evaluate_ = _command(commands, "evaluate", evaluate, text)
    evaluate_.add_argument("model", type=_path, metavar="MODEL", help="a file that train has saved")
    _add_data(evaluate_, "digits", "digits")
    _add_common(evaluate_)


def _add_predict(commands: Any) -> None:
    text = "classify images with a saved model, the probability of each class beside it"
    predict_ = _command(commands, "predict", predict, text)
    predict_.add_argument("model", type=_path, metavar="MODEL", help="a file that train has saved")
    predict_.add_argument(
        "images", type=_path, nargs="+", metavar="IMAGE",
        help="a PNG or JPEG picture, or an IDX or NPY file of one or many; integers in NPY and IDX "
        "files are pixels as in the data set, other numbers 0 (black) to 1",
    )
    predict_.add_argument(
        "--data", choices=[name for name, data in DATA.items() if data.has_classes],
        help="what the model was trained on, for the names of its classes "
        "(default: their numbers)",
    )
    predict_.add_argument(
        "--invert", action="store_true", help="the images show dark on light, as ink on paper does"
    )
    _add_common(predict_)


def _add_plot(commands: Any) -> None:
    text = "draw the loss and accuracy of each epoch, or compare several trainings"
    plot_ = _command(commands, "plot", plot, text)
    plot_.add_argument(
        "history", type=_path, nargs="+", metavar="HISTORY",
        help="a file with what train --json has printed; - is the standard input",
    )
    plot_.add_argument(
        "--out", type=_path, metavar="FILE",
        help="PNG, SVG or PDF (default: the name of the first history with .png)",
    )
    plot_.add_argument("--log", action="store_true", help="losses on a logarithmic scale")
    _add_json(plot_)


def _add_bench(commands: Any) -> None:
    text = "time the kernels beside every installed peer, each result checked first"
    bench_ = _command(commands, "bench", bench, text)
    bench_.add_argument(
        "--case", action="append", default=[], metavar="PART",
        help="only cases with this in their name; may be given several times",
    )
    bench_.add_argument(
        "--quick", action="store_true",
        help="under a minute: the smaller cases that have floors, fewer samples of each",
    )
    bench_.add_argument("--list", action="store_true", help="only print the names of the cases")
    bench_.add_argument(
        "--scaling", action="store_true", help="also time ours with one thread beside all of them"
    )
    bench_.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="for everybody (default: $SOFTSTEP_BENCH_THREADS, or 2)",
    )
    style = bench_.add_mutually_exclusive_group()
    style.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    style.add_argument("--markdown", action="store_true", help="print the table in Markdown")


def _add_data(parser: argparse.ArgumentParser, default: str | None, shown: str) -> None:
    parser.add_argument(
        "--data", choices=list(DATA), default=default, help=f"the data set (default: {shown})"
    )
    parser.add_argument(
        "--data-dir", type=_path, metavar="FOLDER",
        help="folder of the data set's files, or one that holds it (default: see $SOFTSTEP_DATA)",
    )
    parser.add_argument(
        "--download", action="store_true",
        help="fetch the files if they are nowhere, into that folder or the user's cache",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="at most so many threads; results do not depend on it (default: automatic)",
    )
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")

# fmt: on


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


# Types of arguments: argparse names the argument, the check says what is accepted.


def _argument(convert: Callable[[str], Any], check: Callable[[Any], T]) -> Callable[[str], T]:
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


def _sizes(text: str) -> list[int]:
    try:
        return [check_integer("", int(part), 1) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"is {text!r}; accepted: integers of at least 1, with commas between them"
        ) from None


def _rate(text: str) -> float:
    try:
        rate = check_number("", float(text))
    except ValueError:
        rate = 1.0
    if rate >= 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; accepted: at least 0 and below 1")
    return rate


def _part(text: str) -> int | float:
    """Return a number of rows, or a share of them."""
    try:
        return check_integer("", int(text), 1)
    except ValueError:
        pass
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(
            f"is {text!r}; accepted: an integer of at least 1, or a share above 0 and below 1"
        )
    return share


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"is {text!r}; accepted: a path")
    return text
