"""Every row of the course material has a test of its own, in the file of its section.

The rows are written down here as the courses have them: a row without a test fails, and so does a
test of a row that is not here.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent


class Row(NamedTuple):
    section: str
    name: str
    shows: str


ROWS = [
    # Information
    Row("information", "Hartley information", "n * log2(s); 5 coin tosses: 5 bits"),
    Row("information", "self-information", "-log p, in nats, or bits with base=2; 1.4427 bits"),
    Row("information", "entropy", "uniform over 4: 2 bits; (1/2, 1/8, 1/8, 1/4): 1.75; 0 log 0"),
    Row("information", "cross-entropy of p under q", "2 bits; never below the entropy"),
    Row("information", "Kullback-Leibler divergence", ".25 bits; 0 iff equal; inf"),
    Row("information", "arrays of distributions along an axis", "ValueError if it is none"),
    # Losses
    Row("losses", "sum of squares", "0.0975 and 0.5975"),
    Row("losses", "mean squared error, with and without 1/2", "both"),
    Row("losses", "cross-entropy of probabilities", "delta 1e-7: 0.510825457, 2.302584093"),
    Row("losses", "batched, one-hot or index targets", "the same: 1.4979"),
    Row("losses", "cross-entropy of logits", "finite for +-1e4; gradient softmax - target"),
    Row("losses", "binary cross-entropy", "of probabilities and logits; multi-label"),
    Row("losses", "log-likelihood, negative log-likelihood, perplexity", "exp(NLL)"),
    Row("losses", "book names", "mean_squared_error, cross_entropy_error, softmax"),
    Row("losses", "softmax facts", "sigmoid, order, shift, temperature, linear boundaries"),
    # Differentiation and descent
    Row("descent", "central-difference numerical_gradient", "(6, 8) at (3, 4); x restored"),
    Row("descent", "the tiny net simpleNet", "logits, loss .20849860, dW in two ways"),
    Row("descent", "gradient_descent", "(-3, 4) * .8^20, and the path"),
    Row("descent", "minimise (w - 5)^2", "0.1 after a step, 5(1 - .98^1001) after 1001"),
    Row("descent", "optimizers on a plateau or a saddle", "the adaptive ones leave sooner"),
    Row("descent", "plots: contour, quiver, tangent", "with the path; the negative gradient"),
    # Data
    Row("data", "one-hot encoding", "and back; distances sqrt 2"),
    Row("data", "SyntheticRegressionData", "(32, K), (32, 1); 32 batches an epoch"),
    Row("data", "FashionMNIST and MNIST", "(64, 1, 28, 28) float32; 60000, 10000; (1, 32, 32)"),
    Row("data", "Fashion-MNIST names", "t-shirt ... ankle boot"),
    Row("data", "load_mnist", "(60000, 784), (60000, 10) with one-hot"),
    Row("data", "loaders of a DataModule", "get_dataloader, get_tensorloader, len, drop_last"),
    Row("data", "transforms", "Compose, ToTensor, Normalize, Resize, RandomHorizontalFlip"),
    Row(
        "data", "minibatches", "with and without replacement, order, seed, sampler, three-way split"
    ),
    Row("data", "data that does not fit in memory", "a shuffle without a permutation; generated"),
    Row("data", "visualize and show_images", "the wrongly classified with both labels"),
    # Models and training
    Row("models", "Module and Classifier", "forward, loss, steps, plot; accuracy(averaged=)"),
    Row("models", "save_hyperparameters", "attributes from the constructor's arguments"),
    Row("models", "add_to_class", "a method added after the object exists"),
    Row("training", "Trainer", "clipping, fit, fit_epoch, prepare_batch; no validation; several"),
    Row("training", "ProgressBoard and plot", "keeps its points; works headless"),
    Row("training", "SGD", "step, zero_grad"),
    Row("models", "LinearRegressionScratch", "(1 - .03)^96: errors near (.107, -.183), .226"),
    Row("models", "LinearRegression", ".94^96: errors near (.005, -.009), .011; get_w_b"),
    Row("models", "closed-form least squares", "for comparison"),
    Row("models", "SoftmaxRegressionScratch and SoftmaxRegression", ".82 to .85; .915 to .925"),
    Row("models", "weight decay", "the validation loss falls with lambda 3"),
    Row("models", "MLP", "ReLU, sigmoid, tanh; without them one linear layer"),
    Row("models", "model(X), train(), eval()", "flattening; input size inferred"),
    Row("training", "early stopping and learning-rate comparison", "on one picture"),
    Row("models", "number formats", "the arguments of exp; int8's range and scale; a table"),
]


@functools.cache
def rows_shown() -> dict[tuple[str, str], list[str]]:
    """The tests that are marked with a row, read from the files beside this one."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        if path == Path(__file__):
            continue
        spec = importlib.util.spec_from_file_location(f"curriculum_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, function in vars(module).items():
            if isinstance(function, FunctionType) and name.startswith("test_"):
                for mark in getattr(function, "pytestmark", []):
                    if mark.name == "curriculum":
                        section, row = mark.args
                        found.setdefault((section, row), []).append(f"{path.name}::{name}")
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}, {row.name}")
def test_row_has_a_test(row: Row) -> None:
    assert rows_shown().get((row.section, row.name)), f"no test shows {row}"


def test_no_test_of_another_row() -> None:
    named = {(row.section, row.name) for row in ROWS}
    assert len(named) == len(ROWS)
    assert set(rows_shown()) <= named


def test_docstrings_say_what_a_row_shows() -> None:
    for tests in rows_shown().values():
        for name in tests:
            file, _, test = name.partition("::")
            text = (HERE / file).read_text("utf-8").split(f"def {test}(")[1]
            assert '"""' in text.split("\n\n\n")[0], name
