"""What stops a run of minibatches, or keeps it from starting; on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, same_bytes
from training_cases import Problem, flat

from softstep import _native, kernels, reference
from softstep.kernels import OptimizerRule

pytestmark = pytest.mark.usefixtures("level")


@pytest.mark.parametrize("kind", ["softmax", "linear"])
@pytest.mark.parametrize("rows", [np.float32, np.float64])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_stop_the_run(
    kind: str, rows: Any, poison: float, threads: int, rng: np.random.Generator
) -> None:
    """FloatingPointError with step and first row; parameters are those of the last whole step."""
    for columns, at_step in ((5, 0), (17, 2), (64, 3)):
        problem = Problem(rng, kind, n=130, columns=columns, classes=3, rows=rows)
        numbers = problem.order[32 * at_step : 32 * at_step + 32]
        numbers = numbers[: 130 - 32 * at_step]
        wanted = problem.start()
        options = {"batch_size": 32, "lr": 0.01, "momentum": 0.5}
        if at_step:
            problem.train(kernels, wanted, problem.order[: 32 * at_step], **options)
        for row in (numbers[3], numbers[17]):
            problem.x[row, columns - 1] = poison
        got = problem.start()
        with pytest.raises(FloatingPointError) as caught:
            problem.train(kernels, got, **options, threads=threads)
        text = str(caught.value)
        assert f"step {at_step}" in text, text
        assert f"row {numbers[3]}" in text, text
        assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))
        with pytest.raises(FloatingPointError) as plain:
            problem.train(reference, problem.start(), **options)
        assert f"step {at_step}, row {numbers[3]} " in str(plain.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_that_explode_stop_the_run(dtype: Any, rng: np.random.Generator) -> None:
    """Logits that overflow: the run ends with the parameters before that minibatch."""
    problem = Problem(rng, "linear", classes=2, dtype=dtype, momentum=False)
    state = problem.start()
    # A squared loss with a large lr multiplies the error by about lr in every step: after the
    # range is left, the message names the step, and that many steps alone give these parameters.
    lr = 1e6 if dtype == np.float32 else 1e30
    with pytest.raises(FloatingPointError, match=r"step \d+") as caught:
        problem.train(kernels, state, batch_size=32, lr=lr)
    step = int(str(caught.value).split("step ")[1].split()[0].strip(",.:;"))
    assert step >= 1
    again = problem.start()
    run = problem.train(kernels, again, problem.order[: 32 * step], batch_size=32, lr=lr)
    assert run.steps == step
    assert same_bytes(tuple(flat(again)), tuple(flat(state)))


def test_targets_that_are_not_finite_stop_the_run(rng: np.random.Generator) -> None:
    for poison in (np.nan, np.inf):
        problem = Problem(rng, "linear", classes=2)
        row = problem.order[40]
        problem.target[row, 1] = poison
        wanted, got = problem.start(), problem.start()
        problem.train(kernels, wanted, problem.order[:32], batch_size=32, lr=0.01)
        with pytest.raises(FloatingPointError) as caught:
            problem.train(kernels, got, batch_size=32, lr=0.01)
        assert "step 1" in str(caught.value)
        assert f"row {row}" in str(caught.value)
        assert same_bytes(tuple(flat(got)), tuple(flat(wanted)))


@pytest.mark.parametrize("label", [-1, 10, -100, 2**40])
def test_bad_labels_are_found_before_anything_is_written(
    label: int, rng: np.random.Generator
) -> None:
    problem = Problem(rng)
    row = problem.order[120]
    problem.target[row] = label
    for module in (kernels, reference):
        state = problem.start()
        with pytest.raises(IndexError) as caught:
            problem.train(module, state, batch_size=32, lr=0.1)
        for part in ("target", str(row), str(label)):
            assert part in str(caught.value)
        assert same_bytes(tuple(flat(state)), tuple(flat(problem.start())))
        with pytest.raises(IndexError, match=str(row)):
            module.evaluate_softmax_regression(
                problem.x, problem.target, problem.weight, problem.bias
            )


@pytest.mark.parametrize("number", [-1, 130, 2**40, -(2**62)])
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_bad_order(kind: str, number: int, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind, classes=3)
    problem.order[200] = number
    for module in (kernels, reference):
        state = problem.start()
        with pytest.raises(IndexError, match="order") as caught:
            problem.train(module, state, batch_size=32, lr=0.1)
        assert str(number) in str(caught.value)
        assert same_bytes(tuple(flat(state)), tuple(flat(problem.start())))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("batch_size", {"batch_size": 0}),
        ("batch_size", {"batch_size": -1}),
        ("lr", {"lr": -0.1}),
        ("lr", {"lr": float("nan")}),
        ("momentum", {"momentum": -0.5}),
        ("nesterov", {"nesterov": True}),
        ("scale", {"scale": np.ones(3)}),
        ("shift", {"shift": np.ones((17, 1))}),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    problem = Problem(rng)
    for module in (kernels, reference):
        state = problem.start()
        with pytest.raises(ValueError, match=name):
            problem.train(module, state, **({"batch_size": 32, "lr": 0.1} | options))
        assert same_bytes(tuple(flat(state)), tuple(flat(problem.start())))


def test_momentum_needs_buffers(rng: np.random.Generator) -> None:
    problem = Problem(rng, momentum=False)
    for module in (kernels, reference):
        with pytest.raises(ValueError, match="momentum_buffers"):
            problem.train(module, problem.start(), batch_size=32, lr=0.1, momentum=0.9)


def bad_parameters() -> dict[str, Any]:
    """Parameters of (10, 17) that cannot be updated in place."""
    good = np.zeros((10, 17), np.float32)
    frozen = good.copy()
    frozen.flags.writeable = False
    return {
        "list": good.tolist(),
        "shape": np.zeros((10, 16), np.float32),
        "no classes": np.zeros((0, 17), np.float32),
        "integers": np.zeros((10, 17), int),
        "half": np.zeros((10, 17), np.float16),
        "big-endian": good.astype(">f4"),
        "fortran": np.asfortranarray(good),
        "strided": np.zeros((10, 34), np.float32)[:, ::2],
        "frozen": frozen,
    }


@pytest.mark.parametrize("case", bad_parameters())
@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_bad_parameters(kind: str, case: str, rng: np.random.Generator) -> None:
    problem = Problem(rng, kind)
    bad = bad_parameters()[case]
    _, bias, _ = problem.start()
    with pytest.raises((TypeError, ValueError), match=r"weight|x has|x:|bias"):
        problem.train(kernels, (bad, bias, None), batch_size=32, lr=0.1)
    assert same_bytes(bias, problem.bias)
    if isinstance(bad, np.ndarray):
        assert not bad.any()
    weight, bias, _ = problem.start()
    if case not in ("shape", "no classes"):
        state = (weight, bias, (bad, np.zeros(10, np.float32)))
        with pytest.raises((TypeError, ValueError), match="momentum_buffers"):
            problem.train(kernels, state, batch_size=32, lr=0.1, momentum=0.5)
        assert same_bytes((weight, bias), (problem.weight, problem.bias))


def test_parameters_that_overlap(rng: np.random.Generator) -> None:
    problem = Problem(rng)
    memory = np.zeros(400, np.float32)
    weight = memory[:170].reshape(10, 17)
    for bias in (memory[160:170], memory[:10]):
        with pytest.raises(ValueError, match=r"weight|bias"):
            problem.train(kernels, (weight, bias, None), batch_size=32, lr=0.1)
    buffers = (weight, np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="momentum_buffers"):
        problem.train(
            kernels, (weight, memory[200:210], buffers), batch_size=32, lr=0.1, momentum=0.5
        )
    assert not memory.any()


SHARED = ("x", "target", "order", "scale", "shift")


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("copied", [False, True], ids=["read where it is", "copied first"])
@pytest.mark.parametrize(
    "written", ["weight", "bias", "state of weight", "state of bias", "applied"]
)
def test_nothing_that_is_written_is_read(written: str, copied: bool, name: str) -> None:
    """Row numbers are checked once and read for each minibatch: a step must not change them."""
    memory = np.zeros(64)
    memory.view(np.int64)[:] = 0
    own = {"weight": (4, 3), "bias": (4,), "state of weight": (4, 3), "state of bias": (4,),
           "applied": (1,)}  # fmt: skip
    size = 1 if written == "applied" else 12 if "weight" in written else 4
    arrays = {key: np.zeros(shape) for key, shape in own.items()}
    arrays["applied"] = np.zeros(1, np.int64)
    arrays[written] = memory[:size].reshape(own[written])
    if written == "applied":
        arrays[written] = arrays[written].view(np.int64)
    given = {"x": np.ones((3, 3)), "target": np.zeros(3, np.int64), "order": np.zeros(3, np.int64),
             "scale": np.ones(3), "shift": np.zeros(3)}  # fmt: skip
    step = 2 if copied else 1
    shared = memory[: 9 * step : step] if name == "x" else memory[: 3 * step : step]
    if name in ("target", "order"):
        shared = shared.view(np.int64) if step == 1 else memory.view(np.int64)[: 3 * step : step]
    given[name] = shared.reshape(3, 3) if name == "x" and step == 1 else shared
    if name == "x" and step == 2:
        given[name] = memory[:18].reshape(3, 6)[:, ::2]
    states = [(arrays["state of weight"], arrays["state of bias"])]
    rule = OptimizerRule("sgd", {"lr": 0.1, "momentum": 0.5}, states, arrays["applied"])
    with pytest.raises(ValueError, match=f"shares memory with {name}"):
        kernels.train_softmax_regression(
            given["x"], given["target"], given["order"], arrays["weight"], arrays["bias"],
            batch_size=1, rule=rule, scale=given["scale"], shift=given["shift"],
        )  # fmt: skip
    assert not memory.any()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"lr": "a"}, TypeError, "lr is 'a'"),
        ({"lr": 1e39}, ValueError, r"lr is 1e\+39"),
        ({"lr": 0.1, "dampening": None}, TypeError, "dampening is None"),
        ({"lr": 0.1, "max_norm": "a"}, TypeError, "max_norm is 'a'"),
        ({"lr": 0.1, "batch_size": -(2**80)}, ValueError, "batch_size is -1208925819614629174706"),
        ({"lr": 0.1, "momentum": 0.5, "momentum_buffers": 3}, TypeError, "momentum_buffers is 3"),
        ({"lr": 0.1, "momentum_buffers": ()}, TypeError, r"momentum_buffers is \(\)"),
        ({"rule": "adam"}, TypeError, "rule is 'adam'"),
        ({"rule": OptimizerRule("sgd", {"lr": "x"})}, TypeError, "lr is 'x'"),
        ({"rule": OptimizerRule("sgd", {"lr": 0.1, "maximize": "x"})}, TypeError, "maximize is"),
        ({"rule": OptimizerRule("adam", {"step": 1.5})}, TypeError, "step is 1.5"),
        ({"rule": OptimizerRule("adam", {"betas": 0.9})}, TypeError, "betas is 0.9"),
        ({"rule": OptimizerRule("adam", {"betas": ("a", 0.9)})}, TypeError, r"betas\[0\] is 'a'"),
        ({"rule": OptimizerRule("sgd", {"lr": 0.1}, [], [0])}, TypeError, "applied is a list"),
    ],
)  # fmt: skip
def test_wrong_kinds_of_options(options: dict[str, Any], error: type, text: str) -> None:
    weight = np.ones((2, 2), np.float32)
    with pytest.raises(error, match=text):
        kernels.train_softmax_regression(
            np.eye(2, dtype=np.float32), [0, 1], [0], weight, None,
            **{"batch_size": 1, **options},
        )  # fmt: skip
    assert (weight == 1).all()


def test_targets_of_several_outputs_have_two_axes() -> None:
    weight = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"target has shape \(10,\); accepted: \(n, 2\)"):
        kernels.train_linear_regression(
            np.ones((10, 2)), np.ones(10), [0], weight, None, batch_size=1, lr=0.1
        )


def test_labels_that_no_order_names_may_be_anything() -> None:
    for labels in ([0, -5], np.array([0, 2**64 - 1], np.uint64)):
        run = kernels.train_softmax_regression(
            np.ones((2, 2)), labels, [0], np.zeros((2, 2)), None, batch_size=1, lr=0.1
        )
        assert run.rows == 1


def test_numbers_beyond_int64_are_named() -> None:
    large, weight = np.array([0, 2**64 - 1], np.uint64), np.zeros((2, 2))
    x = np.eye(2)
    for target, order, text in (
        (large, [0, 1], r"target\[1\] is 18446744073709551615; accepted: classes 0 to 1"),
        ([0, 1], large, r"order\[1\] is 18446744073709551615; accepted: row numbers 0 to 1"),
    ):
        with pytest.raises(IndexError, match=text):
            kernels.train_softmax_regression(x, target, order, weight, None, batch_size=1, lr=0.1)
        with pytest.raises(IndexError, match=text):
            kernels.evaluate_softmax_regression(x, target, weight, None, order=order)
    for call in (
        lambda: kernels.linear(x, weight, order=large),
        lambda: kernels.linear_backward(x, weight, x, order=large),
    ):
        with pytest.raises(IndexError, match=r"order\[1\] is 18446744073709551615"):
            call()
    with pytest.raises(IndexError, match=r"target\[1\] is 18446744073709551615"):
        kernels.linear_cross_entropy(x, weight, None, large)
    assert not weight.any()


@pytest.mark.parametrize("setting", ["lr", "momentum", "maximize"])
@pytest.mark.parametrize("network", [False, True], ids=["regression", "mlp"])
def test_settings_that_change_arrays(setting: str, network: bool) -> None:
    """To read a number may run code of the caller's: arrays are looked at after that."""
    weight, order = np.ones((2, 3), np.float32), np.zeros(8, np.int64)

    class Spiteful:
        def __float__(self) -> float:
            order[:] = 2**40
            return 0.1

        def __bool__(self) -> bool:
            order[:] = 2**40
            return True

    class Settings(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            order[:] = 2**40
            return super().__getitem__(name)

    x, target = np.zeros((4, 3), np.float32), np.array([0, 1, 0, 1])
    plain = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
             "maximize": False, "first_step": False}  # fmt: skip
    native = _native.module

    def train(settings: dict[str, Any]) -> None:
        if network:
            native.train_mlp(None, [weight, None], [[None, None]], x, target, order, None, None,
                             "relu", 2, "sgd", settings, None, 1)  # fmt: skip
        else:
            native.train(None, weight, None, [None], [None], x, target, True, order, None, None,
                         2, "sgd", settings, None, 1)  # fmt: skip

    for settings in (plain | {setting: Spiteful()}, Settings(plain)):
        order[:] = 0
        with pytest.raises(IndexError, match=r"order\[0\] is 1099511627776"):
            train(settings)
    assert (weight == 1).all()


@pytest.mark.parametrize(("rule", "zeros"), [("rmsprop", 1), ("adam", 2), ("adamw", 2)])
def test_settings_that_float32_cannot_hold(rule: str, zeros: int) -> None:
    weight = np.ones((2, 3), np.float32)
    for name in ("lr", "weight_decay"):
        states = [(np.zeros_like(weight), None) for _ in range(zeros)]
        given = OptimizerRule(rule, {"lr": 0.1} | {name: 1e300}, states)
        with pytest.raises(ValueError, match=rf"{name} is 1e\+300; accepted: .* finite in float32"):
            kernels.train_softmax_regression(
                np.zeros((1, 3), "f"), [0], [0], weight, None, batch_size=1, rule=given
            )
    assert (weight == 1).all()


def test_the_largest_step_number(rng: np.random.Generator) -> None:
    x, order = rng.normal(size=(8, 3)), np.arange(8)
    found = set()
    for step in (2**50, 2**63 - 1):  # corrections are 1 by then
        weight = np.ones((2, 3))
        states = [(np.zeros_like(weight), None) for _ in range(2)]
        rule = OptimizerRule("adam", {"lr": 0.1, "step": step}, states)
        kernels.train_softmax_regression(x, order % 2, order, weight, None, batch_size=2, rule=rule)
        found.add(weight.tobytes())
    assert len(found) == 1
    assert np.isfinite(weight).all()
