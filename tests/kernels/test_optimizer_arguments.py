"""What optimizer steps refuse, and what they convert; what they refuse is left as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from argument_cases import layouts
from kernel_cases import DTYPES, misaligned, read_only, same_bytes
from optimizer_cases import RULES, Rule

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd_step": {"lr": 0.1, "momentum": 0.9},
    "rmsprop_step": {"momentum": 0.9},
    "adam_step": {"step": 1},
    "adamw_step": {"step": 1},
}


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> Rule:
    return RULES[request.param]


def fives(rule: Rule, dtype: Any, shape: Any = (6, 5)) -> dict[str, Any]:
    """Two arrays for every argument, all of them 5."""
    names = ("param", "grad", *rule.states)
    return {name: [np.full(shape, 5, dtype), np.full(shape, 5, dtype)] for name in names}


def refused(rule: Rule, arrays: dict[str, Any], match: str, module: Any = kernels) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        getattr(module, rule.name)(**arrays, **SETTINGS[rule.name])
    for name, given in arrays.items():
        for array in given if isinstance(given, (list, tuple)) else [given]:
            assert array is None or (np.asarray(array, float) == 5).all(), f"{name}: written"


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_that_cannot_be_written(rule: Rule, dtype: Any) -> None:
    good = np.full((6, 5), 5, dtype)
    other = np.float64 if dtype == np.float32 else np.float32
    for name in ("param", *rule.states):
        for bad in (
            good.tolist(), good.astype(other), good.astype(int), read_only(good.copy()),
            misaligned(good), np.asfortranarray(good), np.full((6, 10), 5, dtype)[:, ::2],
            np.full((5, 6), 5, dtype), np.full(30, 5, dtype),
            good.astype(good.dtype.newbyteorder(">")), None,
        ):  # fmt: skip
            # A list: the second array, by its place. Any shape and dtype of a parameter is its own.
            arrays = fives(rule, dtype)
            arrays[name][1] = bad
            refused(rule, arrays, rf"{name}\[1\]|grad\[1\]|\[1\]")
        alone = {key: value[0] for key, value in fives(rule, dtype).items()}
        alone[name] = read_only(alone[name])
        refused(rule, alone, f"{name} is read-only")


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_that_is_shared(rule: Rule, dtype: Any) -> None:
    """Anything that is written with anything else; gradients may share among themselves."""
    names = ("param", "grad", *rule.states)
    for a in names:
        for b in names:
            for i, j in ((0, 0), (0, 1)):
                arrays = fives(rule, dtype)
                memory = np.full(100, 5, dtype)
                arrays[a][i] = memory[10:40].reshape(6, 5)
                arrays[b][j] = memory[39:69].reshape(6, 5)
                if (a, i) == (b, j):
                    continue
                if a == b == "grad":
                    getattr(kernels, rule.name)(**arrays, **SETTINGS[rule.name])
                    continue
                for module in (kernels, reference):
                    refused(rule, arrays, "shares memory|overlaps", module)
                arrays[b][j] = memory[40:70].reshape(6, 5)  # neighbours do not overlap
                getattr(kernels, rule.name)(**arrays, **SETTINGS[rule.name])


def test_lists_of_unequal_length(rule: Rule) -> None:
    for name in ("grad", *rule.states):
        for given in ([np.full((6, 5), 5.0)], np.full((6, 5), 5.0), []):
            arrays = fives(rule, np.float64)
            arrays[name] = given
            refused(rule, arrays, name)
            refused(rule, arrays, name, reference)
    alone = {name: arrays[0] for name, arrays in fives(rule, np.float64).items()}
    for name in ("param", *rule.states):
        refused(rule, alone | {name: [alone[name]]}, r"one array|list|grad")


def test_states_that_are_missing(rule: Rule) -> None:
    for name in rule.states:
        if name in ("grad_avg", "max_exp_avg_sq"):  # they choose a version of the rule
            continue
        arrays = {key: value[0] for key, value in fives(rule, np.float64).items()}
        arrays[name] = None
        refused(rule, arrays, name)
        refused(rule, arrays, name, reference)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (name, {name: value})
        for name in ("lr", "weight_decay", "eps")
        for value in (-0.1, float("nan"), float("inf"))
    ]
    + [
        ("alpha", {"alpha": -0.1}), ("alpha", {"alpha": 1.1}), ("alpha", {"alpha": float("nan")}),
        ("betas", {"betas": (1.0, 0.9)}), ("betas", {"betas": (0.9, -0.1)}),
        ("betas", {"betas": (float("nan"), 0.9)}), ("step", {"step": 0}),
        ("max_norm", {"max_norm": -1.0}), ("max_norm", {"max_norm": float("nan")}),
    ],
)  # fmt: skip
def test_numbers(rule: Rule, name: str, settings: dict[str, Any]) -> None:
    given = SETTINGS[rule.name] | settings
    if rule.name == "sgd_step" and name in ("eps", "alpha", "betas", "step"):
        return
    if (rule.counts and name == "alpha") or (not rule.counts and name in ("betas", "step")):
        return
    for module in (kernels, reference):
        arrays = {key: value[0] for key, value in fives(rule, np.float64).items()}
        with pytest.raises(ValueError, match=name):
            getattr(module, rule.name)(**arrays, **given)
        assert all((array == 5).all() for array in arrays.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_every_layout(rule: Rule, dtype: Any, rng: np.random.Generator) -> None:
    grad = rng.normal(0, 1, (6, 5)).astype(dtype)

    def step(given: Any) -> tuple[Any, ...]:
        arrays = fives(rule, dtype)
        arrays["grad"] = [np.ones((6, 5), dtype), given]
        getattr(kernels, rule.name)(**arrays, **SETTINGS[rule.name])
        return tuple(a for name, both in arrays.items() if name != "grad" for a in both)

    wanted = step(grad)
    for layout, given in layouts(grad).items():
        assert same_bytes(step(given), wanted), layout
    if dtype == np.float64:
        assert same_bytes(step(grad.tolist()), wanted)
    whole = rng.integers(0, 9, (6, 5))
    assert same_bytes(step(whole), step(whole.astype(dtype)))
    for bad in (np.ones((5, 6), dtype), np.ones((6, 5), np.float16), None):
        with pytest.raises((TypeError, ValueError), match=r"grad\[1\]"):
            step(bad)


def test_clipping_refuses() -> None:
    for module in (kernels, reference):
        memory = np.full(20, 5.0)
        for bad in (
            [memory[:10], memory[9:]], read_only(np.full(3, 5.0)), [memory[::2]], [[5.0]], 5.0,
            [np.full(3, 5.0), np.full(3, 5.0, np.float32)], np.full(3, 5), None,
        ):  # fmt: skip
            with pytest.raises((TypeError, ValueError), match="grads"):
                module.clip_grad_norm(bad, 1.0)
        for max_norm in (-1.0, float("nan")):
            with pytest.raises(ValueError, match="max_norm"):
                module.clip_grad_norm(memory, max_norm)
        assert (memory == 5).all()


def test_gradients_that_are_copied_lie_apart_too() -> None:
    whole = np.ones((4, 4))
    state = np.zeros((4, 4))
    for given, name in ((whole.T, "param"), (state.T, "momentum_buffer")):
        for param, buffer, grad, text in (
            (whole, state, given, f"{name} shares memory with grad"),
            ([whole], [state], [given], rf"{name}\[0\] shares memory with grad\[0\]"),
        ):
            with pytest.raises(ValueError, match=text):
                kernels.sgd_step(param, grad, buffer, lr=0.1, momentum=0.5)  # type: ignore[arg-type]
    assert (whole == 1).all()
    assert (state == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"lr": "a"}, TypeError, "lr is 'a'; accepted: a number"),
        ({"lr": None}, TypeError, "lr is None; accepted: a number"),
        ({"lr": 0.1, "nesterov": "yes"}, TypeError, "nesterov is 'yes'; accepted: True or False"),
        ({"lr": 0.1, "nesterov": np.array([1, 0])}, TypeError, "nesterov is array"),
        ({"lr": 0.1, "maximize": np.array([1, 0])}, TypeError, "maximize is array"),
        ({"lr": 0.1, "max_norm": [1]}, TypeError, r"max_norm is \[1\]"),
        ({"lr": 1e39}, ValueError, r"lr is 1e\+39; accepted: a number that is finite in float32"),
        ({"lr": 0.1, "weight_decay": 1e300}, ValueError, r"weight_decay is 1e\+300"),
    ],
)
def test_sgd_names_what_came(options: dict[str, Any], error: type, text: str) -> None:
    param = np.ones(2, np.float32)
    with pytest.raises(error, match=text):
        kernels.sgd_step(param, np.zeros(2, np.float32), **options)
    assert (param == 1).all()
    wide = np.ones(2)  # what float32 cannot hold float64 does
    if error is ValueError:
        kernels.sgd_step(wide, np.zeros(2), **options)


@pytest.mark.parametrize("flag", ["nesterov", "maximize", "first_step"])
def test_flags_of_a_step(flag: str) -> None:
    """True and False, NumPy's too; what Python takes for true is no flag."""
    param, grad, buffer = np.ones(2), np.ones(2), np.ones(2)
    for wrong in (2, 1, 0.5, None, float("nan"), np.array(0.3), np.array([True]), "no"):
        options: dict[str, Any] = {flag: wrong}
        with pytest.raises(TypeError, match=rf"{flag} is .*; accepted: True or False"):
            kernels.sgd_step(param, grad, buffer, lr=0.1, momentum=0.5, **options)
        if flag == "maximize":
            with pytest.raises(TypeError, match=r"maximize is .*; accepted: True or False"):
                kernels.adam_step(param, grad, np.zeros(2), np.zeros(2), step=1, maximize=wrong)
            with pytest.raises(TypeError, match=r"maximize is .*; accepted: True or False"):
                kernels.rmsprop_step(param, grad, np.zeros(2), maximize=wrong)
    assert (param == 1).all()
    for fine in (True, np.True_, np.False_):
        kernels.sgd_step(param, grad, buffer, lr=0.1, momentum=0.5, **{flag: fine})


@pytest.mark.parametrize("step", [kernels.adam_step, kernels.adamw_step])
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"step": 1.0}, TypeError, "step is 1.0; accepted: an integer"),
        ({"step": 2**64}, ValueError, "step is 18446744073709551616"),
        ({"step": 1, "betas": (0.9,)}, TypeError, r"betas is \(0.9,\); accepted: a pair"),
        ({"step": 1, "betas": 0.9}, TypeError, "betas is 0.9; accepted: a pair"),
        ({"step": 1, "betas": ("a", 0.9)}, TypeError, r"betas\[0\] is 'a'"),
    ],
)
def test_adam_names_what_came(step: Any, options: dict[str, Any], error: type, text: str) -> None:
    param, average, square = np.ones(2), np.zeros(2), np.zeros(2)
    with pytest.raises(error, match=text):
        step(param, np.ones(2), average, square, **options)
    assert (param == 1).all()
    assert (average == 0).all()


def test_clipping_names_what_came() -> None:
    grad = np.ones(3)
    with pytest.raises(TypeError, match="max_norm is 'a'; accepted: a number"):
        kernels.clip_grad_norm(grad, "a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"max_norm is -1.0; accepted: a number of at least 0$"):
        kernels.clip_grad_norm(grad, -1)
    assert (grad == 1).all()
