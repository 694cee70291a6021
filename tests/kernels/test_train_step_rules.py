"""The fused path beyond plain SGD on a few classes: many outputs, other optimizers, clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, eps, same_bytes
from training_cases import Problem, flat

from softstep import kernels, reference
from softstep.kernels import OptimizerRule

pytestmark = pytest.mark.usefixtures("level")

RULES: dict[str, tuple[str, dict[str, Any], int]] = {
    "sgd": ("sgd", {"lr": 0.1}, 0),
    "sgd with momentum": ("sgd", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, 1),
    "rmsprop": ("rmsprop", {"lr": 0.01, "eps": 1e-3}, 1),
    "rmsprop, centered": ("rmsprop", {"lr": 0.01, "eps": 1e-2, "momentum": 0.5}, 3),
    "adam": ("adam", {"lr": 0.01, "eps": 1e-3, "weight_decay": 0.1}, 2),
    "adam, amsgrad": ("adam", {"lr": 0.01, "eps": 1e-3, "step": 3}, 3),
    "adamw": ("adamw", {"lr": 0.01, "eps": 1e-3}, 2),
}  # eps large enough that a tiny gradient's rounding is not blown up to a whole step


def start(problem: Problem, name: str, dtype: Any) -> tuple[Any, Any, OptimizerRule]:
    rule, settings, states = RULES[name]
    weight, bias, _ = problem.start(dtype)
    pairs = [
        (np.full_like(weight, 0.1), None if bias is None else np.full_like(bias, 0.1))
        for _ in range(states)
    ]
    return weight, bias, OptimizerRule(rule, settings, pairs)


def train(module: Any, problem: Problem, name: str, dtype: Any, **options: Any) -> tuple[Any, Any]:
    weight, bias, rule = start(problem, name, dtype)
    function = getattr(
        module,
        "train_softmax_regression" if problem.kind == "softmax" else "train_linear_regression",
    )
    run = function(
        problem.x, problem.target, problem.order, weight, bias, rule=rule, batch_size=48,
        scale=problem.scale, shift=problem.shift, **options,
    )  # fmt: skip
    return run, [weight, *([] if bias is None else [bias]), *(a for p in rule.states for a in p)]


def assert_follows(got: tuple[Any, Any], want: tuple[Any, Any], dtype: Any) -> None:
    """To rounding: each of the 9 steps adds a few hundred of eps to numbers of about 1."""
    bound = 9 * 400 * eps(dtype)
    assert got[0].rows == want[0].rows
    assert got[0].steps == want[0].steps
    assert got[0].loss == pytest.approx(want[0].loss, rel=bound)
    assert abs(got[0].correct - want[0].correct) <= 1
    for a, b in zip(got[1], want[1], strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("classes", [10, 37])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_rules_follow_the_reference(
    kind: str, classes: int, name: str, dtype: Any, rng: np.random.Generator
) -> None:
    problem = Problem(rng, kind, classes=classes, dtype=dtype, rows=dtype, momentum=False)
    got = train(kernels, problem, name, dtype)
    assert_follows(got, train(reference, problem, name, np.float64), dtype)


@pytest.mark.parametrize("classes", [10, 37])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_clipping_follows_the_reference(kind: str, classes: int, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind, classes=classes, dtype=np.float64, rows=np.float64)
    free = train(kernels, problem, "sgd", np.float64)
    for max_norm in (0.05, 0.0):
        got = train(kernels, problem, "sgd", np.float64, max_norm=max_norm)
        assert not np.allclose(got[1][0], free[1][0], rtol=1e-3)
        want = train(reference, problem, "sgd", np.float64, max_norm=max_norm)
        assert_follows(got, want, np.float64)


@pytest.mark.parametrize("rule", ["rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("columns", [1, 5, 16, 33])
def test_without_eps_padding_stays_out(rule: str, columns: int, rng: np.random.Generator) -> None:
    """0 / 0 in lanes beyond the last feature is no row that is not finite."""
    x = rng.normal(3, 1, (64, columns))
    order = np.arange(64)
    for module in (kernels, reference):
        weight, bias = np.zeros((3, columns)), np.zeros(3)
        states = 1 if rule == "rmsprop" else 2
        pairs = [(np.zeros_like(weight), np.zeros_like(bias)) for _ in range(states)]
        module.train_softmax_regression(
            x, order % 3, order, weight, bias, batch_size=16,
            rule=OptimizerRule(rule, {"lr": 0.01, "eps": 0.0}, pairs),
        )  # fmt: skip
        if module is kernels:
            got = weight
    np.testing.assert_allclose(got, weight, rtol=0, atol=1e-9)  # a step is 0.01 whatever the size


@pytest.mark.parametrize("rows", [np.uint8, np.int8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("classes", [10, 50])
@pytest.mark.parametrize("shift", [True, False])
def test_rows_of_every_type(rows: Any, classes: int, shift: bool, rng: np.random.Generator) -> None:
    problem = Problem(rng, classes=classes, momentum=False)
    problem.x = (rng.integers(-100 if rows is np.int8 else 0, 100, problem.x.shape)).astype(rows)
    problem.scale = rng.uniform(0.005, 0.02, problem.x.shape[1])
    problem.shift = -0.3 if shift else None
    got = train(kernels, problem, "sgd", np.float32)
    assert_follows(got, train(reference, problem, "sgd", np.float64), np.float32)


@pytest.mark.parametrize("name", ["sgd with momentum", "adam, amsgrad"])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("classes", [10, 67])
def test_threads_change_no_bit(
    classes: int, kind: str, name: str, rng: np.random.Generator
) -> None:
    problem = Problem(rng, kind, n=700, columns=130, classes=classes, momentum=False)
    one = train(kernels, problem, name, np.float32, threads=1, max_norm=0.3)
    for threads in (2, 3, 4, 7):
        many = train(kernels, problem, name, np.float32, threads=threads, max_norm=0.3)
        assert same_bytes(tuple(one[1]), tuple(many[1]))
        assert one[0] == many[0]


@pytest.mark.parametrize("classes", [10, 40])
def test_a_bad_row_stops_before_its_step(classes: int, rng: np.random.Generator) -> None:
    problem = Problem(rng, classes=classes, momentum=False)
    weight, bias, rule = start(problem, "adam", np.float32)
    problem.x[17, 3] = np.nan
    order = np.array([*range(10), 17, *range(20, 40)])
    with pytest.raises(FloatingPointError, match="step 1 of this run, first in row 17"):
        kernels.train_softmax_regression(
            problem.x, problem.target, order, weight, bias, batch_size=8, rule=rule
        )
    again = start(problem, "adam", np.float32)
    kernels.train_softmax_regression(
        problem.x, problem.target, order[:8], again[0], again[1], batch_size=8, rule=again[2]
    )
    assert same_bytes((weight, bias), (again[0], again[1]))


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_evaluation_of_many_outputs(kind: str, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind, classes=45, rows=np.uint8)
    function = "evaluate_softmax_regression" if kind == "softmax" else "evaluate_linear_regression"
    arguments = (problem.x, problem.target, problem.weight, problem.bias)
    options = {"scale": problem.scale, "shift": problem.shift, "order": problem.order}
    got = getattr(kernels, function)(*arguments, **options)
    want = getattr(reference, function)(*arguments, **options)
    assert got.loss == pytest.approx(want.loss, rel=200 * eps(np.float32))
    assert got[1:] == want[1:]


def test_no_bias_and_short_batches(rng: np.random.Generator) -> None:
    problem = Problem(rng, classes=40, bias=False, momentum=False, n=50)
    problem.order = np.arange(50)
    got = train(kernels, problem, "adam", np.float32)
    assert_follows(got, train(reference, problem, "adam", np.float64), np.float32)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, TypeError, "lr is missing"),
        ({"lr": 0.1, "rule": OptimizerRule("sgd", {"lr": 0.1})}, TypeError, "lr is given beside"),
        ({"rule": OptimizerRule("lion", {"lr": 0.1})}, ValueError, "lion"),
        ({"rule": OptimizerRule("sgd", {})}, TypeError, "lr"),
        ({"rule": OptimizerRule("adam", {"alpha": 0.1})}, TypeError, "alpha"),
        ({"rule": OptimizerRule("adam", {"lr": -0.1})}, ValueError, "lr is -0.1"),
        ({"rule": OptimizerRule("adam", {"betas": (1.0, 0.5)})}, ValueError, r"betas\[0\]"),
        ({"rule": OptimizerRule("adam", {"step": 0})}, ValueError, "step is 0"),
        ({"rule": OptimizerRule("adam", {})}, ValueError, r"states\[0\] of weight"),
        ({"lr": 0.1, "max_norm": -1.0}, ValueError, "max_norm is -1"),
        ({"rule": OptimizerRule("sgd", {"rate": 1})}, TypeError, "'rate'; accepted: lr, momentum"),
        ({"rule": OptimizerRule("sgd", {"lr": 1}, [None] * 2)}, ValueError, "states holds 2"),
        ({"rule": OptimizerRule("adam", {}, [None] * 4)}, ValueError, "states holds 4; .* 3, of"),
    ],
)
def test_wrong_rules(options: dict[str, Any], error: type, text: str) -> None:
    weight = np.ones((3, 2), np.float32)
    with pytest.raises(error, match=text):
        kernels.train_softmax_regression([[1.0, 2.0]], [0], [0], weight, None, batch_size=1,
                                         **options)  # fmt: skip
    assert (weight == 1).all()


@pytest.mark.parametrize(
    "beside",
    [
        {"momentum": 0.9},
        {"dampening": -0.5},
        {"weight_decay": 0.1},
        {"nesterov": True},
        {"maximize": True},
        {"first_step": True},
        {"momentum_buffers": (np.ones((3, 2), np.float32), None)},
        {"weight_decay": [1.0, 2.0]},
    ],
)
def test_settings_beside_a_rule(beside: dict[str, Any]) -> None:
    """They would be ignored; those that change nothing may stand there."""
    (name,) = beside
    weight = np.ones((3, 2), np.float32)
    rule = OptimizerRule("sgd", {"lr": 0.1})

    def train(**options: Any) -> None:
        kernels.train_softmax_regression(
            [[1.0, 2.0]], [0], [0], weight, None, batch_size=1, rule=rule, **options
        )

    with pytest.raises(TypeError, match=f"{name} is given beside a rule"):
        train(**beside)
    assert (weight == 1).all()
    train(momentum=0.0, nesterov=False, weight_decay=0, momentum_buffers=None)
    assert (weight != 1).any()


def test_states_must_lie_apart() -> None:
    weight = np.ones((3, 2), np.float32)
    one = np.zeros_like(weight)
    for states in ([(one, None), (one, None)], [(one, None), (weight, None)]):
        rule = OptimizerRule("adam", {}, states)
        with pytest.raises(ValueError, match=r"states\[1\] of weight shares memory"):
            kernels.train_softmax_regression([[1.0, 2.0]], [0], [0], weight, None, batch_size=1,
                                             rule=rule)  # fmt: skip
    assert (weight == 1).all()
    assert (one == 0).all()


def test_a_rule_is_the_same_as_the_arguments(rng: np.random.Generator) -> None:
    """A run with a rule is the run with SGD's own arguments."""
    problem = Problem(rng, classes=37)
    state = problem.start()
    problem.train(kernels, state, lr=0.1, momentum=0.9, batch_size=16)
    weight, bias, buffers = problem.start()
    rule = OptimizerRule("sgd", {"lr": 0.1, "momentum": 0.9, "first_step": True}, [buffers])
    kernels.train_softmax_regression(
        problem.x, problem.target, problem.order, weight, bias, batch_size=16, rule=rule
    )
    assert same_bytes(tuple(flat(state)), tuple(flat((weight, bias, buffers))))
