"""The fused path of multilayer perceptrons; on every level."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, eps, same_bytes

from softstep import kernels, reference
from softstep.kernels import OptimizerRule

pytestmark = pytest.mark.usefixtures("level")

ACTIVATIONS = ("relu", "sigmoid", "tanh", None)
SHAPES: dict[str, tuple[int, ...]] = {  # features, hidden units ..., classes
    "none hidden": (9, 4),
    "one": (17, 24, 10),
    "narrow": (5, 3, 2, 2),
    "wide": (40, 70, 50, 37),
}
RULES: dict[str, tuple[str, dict[str, Any], int]] = {
    "sgd": ("sgd", {"lr": 0.1, "weight_decay": 0.01}, 0),
    "momentum": ("sgd", {"lr": 0.1, "momentum": 0.9, "first_step": True}, 1),
    "rmsprop": ("rmsprop", {"lr": 0.01, "eps": 1e-2}, 1),
    "adam": ("adam", {"lr": 0.01, "eps": 1e-2, "step": 3}, 2),
    "adamw": ("adamw", {"lr": 0.01, "eps": 1e-2}, 2),
}


class Problem:
    """Rows, classes, an order and starting parameters."""

    def __init__(
        self, rng: np.random.Generator, shape: str = "one", dtype: Any = np.float64, n: int = 130
    ) -> None:
        sizes = SHAPES[shape]
        self.dtype = dtype
        self.x = rng.normal(0, 1, (n, sizes[0])).astype(dtype)
        self.target = rng.integers(0, sizes[-1], n)
        self.order = np.concatenate([rng.permutation(n), rng.integers(0, n, n)])
        self.parameters: list[Any] = []
        for inputs, outputs in itertools.pairwise(sizes):
            weight = rng.normal(0, inputs**-0.5, (outputs, inputs))
            self.parameters += [weight, rng.normal(0, 0.1, outputs)]

    def start(self, dtype: Any = None) -> list[Any]:
        dtype = dtype or self.dtype
        return [None if a is None else a.astype(dtype) for a in self.parameters]

    def rule(self, name: str, parameters: list[Any]) -> OptimizerRule:
        kind, settings, count = RULES[name]
        states = [
            [None if a is None else np.full_like(a, 0.1) for a in parameters] for _ in range(count)
        ]
        return OptimizerRule(kind, settings, states, np.full(1, -1))

    def train(
        self, module: Any, name: str = "sgd", dtype: Any = None, order: Any = None, **options: Any
    ) -> tuple[Any, list[Any], OptimizerRule]:
        """The run, the parameters and what the rule has kept."""
        parameters = self.start(dtype)
        rule = self.rule(name, parameters)
        options = {"batch_size": 48, "rule": rule} | options
        order = self.order if order is None else order
        run = module.train_mlp(self.x, self.target, order, parameters, **options)
        return run, [*parameters, *(a for state in rule.states for a in state)], rule


def assert_close(got: Any, want: Any, dtype: Any) -> None:
    """To rounding: each of the 6 steps adds a few hundred of eps to numbers of about 1."""
    bound = 6 * 400 * eps(dtype)
    assert (got[0].rows, got[0].steps) == (want[0].rows, want[0].steps) == (260, 6)
    assert got[0].loss == pytest.approx(want[0].loss, rel=bound)
    assert abs(got[0].correct - want[0].correct) <= 1
    for a, b in zip(got[1], want[1], strict=True):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", None])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", RULES)
def test_steps_follow_the_reference(
    name: str, shape: str, activation: Any, dtype: Any, rng: np.random.Generator
) -> None:
    problem = Problem(rng, shape, dtype)
    got = problem.train(kernels, name, activation=activation)
    want = problem.train(reference, name, np.float64, activation=activation)
    assert_close(got, want, dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", RULES)
def test_steps_with_relu_follow_the_reference(
    name: str, shape: str, rng: np.random.Generator
) -> None:
    """In float64: in float32 a rounding may turn a unit off that is on in the reference."""
    problem = Problem(rng, shape)
    got, want = problem.train(kernels, name), problem.train(reference, name)
    assert_close(got, want, np.float64)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_it_is_what_the_kernels_make_of_it_one_by_one(
    clip: float | None, dtype: Any, activation: Any, threads: int, rng: np.random.Generator
) -> None:
    problem = Problem(rng, "wide", dtype)
    problem.parameters[3] = None  # a layer without a bias
    run, got, _ = problem.train(
        kernels, activation=activation, max_norm=clip, threads=threads, rule=None, lr=0.1
    )
    parameters, losses = problem.start(), []
    for start in range(0, 260, 48):
        rows = problem.order[start : start + 48]
        inputs = [problem.x]
        for i in range(0, 6, 2):
            order = rows if i == 0 else None
            act = activation if i < 4 else None
            inputs.append(
                kernels.linear(inputs[-1], *parameters[i : i + 2], activation=act, order=order)
            )
        _, d, more = kernels.cross_entropy_with_grad(
            inputs[-1], problem.target[rows], byproducts=("row_loss",)
        )
        losses.append(more.row_loss.astype(np.float64).sum())
        gradients: list[Any] = []
        for i in (4, 2, 0):
            dx, dweight, dbias = kernels.linear_backward(
                inputs[i // 2], parameters[i], d, order=rows if i == 0 else None,
                x_activation=activation if i else None,
            )  # fmt: skip
            gradients = [dweight, dbias, *gradients]
            d = dx
        there = [i for i in range(6) if parameters[i] is not None]
        kernels.sgd_step(
            [parameters[i] for i in there], [gradients[i] for i in there], lr=0.1, max_norm=clip
        )
    assert run.loss == pytest.approx(sum(losses), rel=1e-12)
    assert same_bytes(
        tuple(a for a in got if a is not None), tuple(a for a in parameters if a is not None)
    )


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("affine", [{}, {"scale": 1 / 64}, {"scale": 1 / 64, "shift": -0.5}])
def test_features_of_every_type(kind: Any, affine: Any, rng: np.random.Generator) -> None:
    problem = Problem(rng)
    problem.x = rng.integers(0, 3 if not affine else 100, problem.x.shape).astype(kind)
    want = problem.train(reference, **affine)
    assert_close(problem.train(kernels, **affine), want, np.float64)
    wide = np.zeros((130, 40), kind)  # rows that lie apart
    wide[:, 3:20] = problem.x
    problem.x = wide[:, 3:20]
    assert_close(problem.train(kernels, **affine), want, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_change_no_bit(dtype: Any, rng: np.random.Generator) -> None:
    problem = Problem(rng, "wide", dtype, n=600)
    runs = [problem.train(kernels, "momentum", threads=n, batch_size=300) for n in (1, 2, 3)]
    for run, arrays, _ in runs[1:]:
        assert run == runs[0][0]
        assert same_bytes(tuple(arrays), tuple(runs[0][1]))


def test_one_call_or_several_change_no_bit(rng: np.random.Generator) -> None:
    problem = Problem(rng)
    _, whole, _ = problem.train(kernels, "sgd")
    parameters = problem.start()
    for start in range(0, 260, 96):
        part = problem.order[start : start + 96]
        rule = problem.rule("sgd", parameters)
        kernels.train_mlp(problem.x, problem.target, part, parameters, batch_size=48, rule=rule)
    assert same_bytes(tuple(parameters), tuple(whole))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_features_that_are_not_finite_stop_the_run(
    activation: Any, poison: float, name: str, threads: int, rng: np.random.Generator
) -> None:
    """Also where a ReLU hides them from the loss."""
    problem = Problem(rng, "one", np.float32)
    options = {"activation": activation, "batch_size": 32, "threads": threads}
    _, whole, _ = problem.train(kernels, name, order=problem.order[:64], **options)
    for row in problem.order[64:96][[5, 20]]:
        problem.x[row, 16] = poison
    first = int(problem.order[69])
    if first in problem.order[:64]:
        raise AssertionError("the rows of a permutation are met once")
    parameters = problem.start()
    if activation == "relu":
        parameters[0][:, 16] = -np.abs(parameters[0][:, 16])  # inf becomes -inf, and that 0
        problem.parameters[0] = parameters[0].astype(np.float64)
        clean = problem.x.copy()
        clean[:, 16][~np.isfinite(clean[:, 16])] = 0
        dirty, problem.x = problem.x, clean
        _, whole, _ = problem.train(kernels, name, order=problem.order[:64], **options)
        problem.x = dirty
    rule = problem.rule(name, parameters)
    with pytest.raises(FloatingPointError, match=rf"in step 2 of this run, first in row {first};"):
        kernels.train_mlp(
            problem.x, problem.target, problem.order, parameters, rule=rule, **options
        )
    assert rule.applied is not None
    assert rule.applied[0] == 2
    got = [*parameters, *(a for state in rule.states for a in state)]
    assert same_bytes(tuple(got), tuple(whole))


def test_a_loss_that_is_not_finite_stops_the_run(rng: np.random.Generator) -> None:
    problem = Problem(rng, "one", np.float32)
    parameters = problem.start()
    parameters[2][:] = 3e38
    before = [a.copy() for a in parameters]
    with pytest.raises(FloatingPointError, match="step 0 of this run, first in row"):
        kernels.train_mlp(
            problem.x, problem.target, problem.order, parameters, batch_size=10, lr=0.1
        )
    assert same_bytes(tuple(parameters), tuple(before))


def test_gradients_that_overflow_are_not_the_features_fault(rng: np.random.Generator) -> None:
    """Finite features and losses are applied, as everywhere else, whatever comes of it."""
    problem = Problem(rng, "one", np.float32)
    problem.x[:] = 3e38
    parameters = problem.start()
    parameters[0][:] = 0
    run = kernels.train_mlp(
        problem.x, problem.target, problem.order[:48], parameters, batch_size=48, lr=0.1
    )
    assert run.steps == 1
    assert np.isfinite(run.loss)


def test_nothing_to_do(rng: np.random.Generator) -> None:
    problem = Problem(rng)
    run, arrays, rule = problem.train(kernels, order=[])
    assert run == (0.0, 0, 0, 0)
    assert same_bytes(tuple(arrays), tuple(problem.start()))
    assert rule.applied is not None
    assert rule.applied[0] == 0
    parameters = [np.zeros((3, 0)), np.ones(3), np.ones((2, 3)), np.zeros(2)]
    run = kernels.train_mlp(
        np.zeros((4, 0)), [0, 1, 0, 1], [0, 1, 2, 3], parameters, batch_size=2, lr=0.5
    )
    assert (run.rows, run.steps) == (4, 2)


W1, B1, W2, B2 = np.zeros((3, 2)), np.zeros(3), np.zeros((2, 3)), np.zeros(2)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"parameters": []}, ValueError, "parameters holds 0 arrays"),
        ({"parameters": [W1, B1, W2]}, ValueError, "parameters holds 3 arrays"),
        ({"parameters": 3}, TypeError, "parameters is a int"),
        ({"parameters": [W1, B1, [[1.0]], B2]}, TypeError, r"parameters\[2\] is a list"),
        ({"parameters": [None, B1]}, ValueError, r"parameters\[0\] is None"),
        ({"parameters": [W1, B1, None, B2]}, ValueError, r"parameters\[2\] is None"),
        (
            {"parameters": [W1, B1, np.zeros((2, 4)), B2]},
            ValueError,
            r"parameters\[2\] has shape \(2, 4\); accepted: \(2, 3\)",
        ),
        ({"parameters": [np.zeros((3, 4)), B1]}, ValueError, r"parameters\[0\] has shape \(3, 4\)"),
        ({"parameters": [W1, B2, W2, B2]}, ValueError, r"parameters\[1\] has shape \(2,\)"),
        ({"parameters": [W1, B1, W2, B2, np.zeros((0, 2)), None]}, ValueError, "one output"),
        ({"parameters": [W1, B1, W2.astype("f4"), B2]}, TypeError, r"parameters\[2\] has dtype"),
        ({"parameters": [W1.astype("i8"), None]}, TypeError, r"parameters\[0\] has dtype int64"),
        ({"parameters": [W1, B1, W2, B1[:2]]}, ValueError, r"parameters\[3\] shares memory"),
        ({"activation": "gelu"}, ValueError, "activation is 'gelu'"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size is 1.5"),
        ({"lr": None}, TypeError, "lr is missing"),
        ({"momentum": 0.5}, ValueError, r"momentum_buffers\[0\] is missing"),
        (
            {"momentum": 0.5, "momentum_buffers": (W1, B1)},
            TypeError,
            "(?s)momentum_buffers .* 4 nd",
        ),
        ({"target": [0, 2]}, IndexError, r"target\[1\] is 2; accepted: classes 0 to 1"),
        ({"target": [0]}, ValueError, r"target has shape \(1,\)"),
        ({"order": [0, 2]}, IndexError, r"order\[1\] is 2; accepted: row numbers 0 to 1"),
        ({"order": [0.5]}, TypeError, "order has dtype float64"),
        ({"scale": [1.0, 2.0, 3.0]}, ValueError, r"scale has shape \(3,\)"),
        ({"max_norm": -0.5}, ValueError, "max_norm is -0.5; accepted: a number of at least 0"),
        ({"x": [[1.0, 2.0]]}, ValueError, r"target has shape \(2,\)"),
        ({"rule": OptimizerRule("sgd", {"lr": 1.0}), "lr": 1.0}, TypeError, "lr is given beside"),
        (
            {"rule": OptimizerRule("adam", {"lr": 1.0}, [(W1, B1)]), "lr": None},
            ValueError,
            r"states\[0\] holds 2 arrays; accepted: 4",
        ),
        (
            {"rule": OptimizerRule("rmsprop", {"lr": 1.0}, [(W1, B1, W2, B2)]), "lr": None},
            ValueError,
            r"states\[0\]\[0\] shares memory with parameters\[0\]",
        ),
    ],
)
def test_what_is_refused_changes_nothing(changes: Any, error: Any, text: str) -> None:
    arguments: dict[str, Any] = {
        "x": [[1.0, 2.0], [3.0, 4.0]], "target": [0, 1], "order": [0, 1],
        "parameters": [W1, B1, W2, B2], "batch_size": 2, "lr": 0.1,
    }  # fmt: skip
    with pytest.raises(error, match=text):
        kernels.train_mlp(**arguments | changes)
    for array in (W1, B1, W2, B2):
        assert not array.any()


def test_more_than_memory_holds() -> None:
    """Weights of no inputs take no memory, whatever the number of outputs; what they make does."""
    for outputs in (2**60, 2**60 + 2**59):
        with pytest.raises(MemoryError):
            kernels.train_mlp(
                np.empty((3, 0), np.float32), [0, 0, 0], [0, 1, 2],
                [np.empty((outputs, 0), np.float32), None], batch_size=3, lr=0.1,
            )  # fmt: skip


def test_names_of_states() -> None:
    x = np.zeros((2, 4))
    shared = x[:, :2].T  # its memory, but no array that the kernel reads
    for name, options in (
        (
            r"momentum_buffers\[0\]",
            {"lr": 0.1, "momentum": 0.5, "momentum_buffers": [x, B1, W2, B2]},
        ),
        ("states is 5", {"rule": OptimizerRule("adam", {"lr": 0.1}, 5)}),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, ValueError), match=name):
            kernels.train_mlp(x[:, ::2], [0, 1], [0], [W1, B1, W2, B2], batch_size=1, **options)
    assert not shared.any()


def test_read_only_and_shared_parameters_are_refused(rng: np.random.Generator) -> None:
    problem = Problem(rng)
    parameters = problem.start()
    parameters[2].flags.writeable = False
    with pytest.raises(ValueError, match=r"parameters\[2\] is read-only"):
        kernels.train_mlp(
            problem.x, problem.target, problem.order, parameters, batch_size=4, lr=0.1
        )
    parameters = problem.start()
    with pytest.raises(ValueError, match=r"parameters\[0\] shares memory with x"):
        kernels.train_mlp(parameters[0], np.zeros(24, int), [0], parameters, batch_size=4, lr=0.1)
