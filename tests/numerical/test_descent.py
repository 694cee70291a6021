"""Optimizers on functions: the end, the path, and what they refuse."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from softstep import SGD, Adam, AdamW, RMSprop
from softstep.numerical import gradient_descent, minimize
from softstep.optimizers import make_optimizer

EPS = np.finfo(np.float64).eps


def bowl(x: Any) -> Any:
    return (x**2).sum()


def slope(x: Any) -> Any:
    return 2 * x


@pytest.mark.parametrize("shape", [(), (2,), (3, 2)])
def test_gradient_descent_is_its_recursion(
    rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    start = np.asarray(rng.normal(size=shape))
    kept = start.copy()
    x, path = gradient_descent(bowl, start, lr=0.1, step_num=7, grad=slope)
    assert path.shape == (8, *shape)
    for i in range(8):
        np.testing.assert_allclose(path[i], start * 0.8**i, rtol=4 * 8 * EPS)
    np.testing.assert_array_equal(path[-1], x)
    np.testing.assert_array_equal(start, kept)
    by_differences, _ = gradient_descent(bowl, start, lr=0.1, step_num=7)
    np.testing.assert_allclose(by_differences, x, atol=1e-9)


OPTIMIZERS: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (RMSprop, {"lr": 0.05}),
    (Adam, {"lr": 0.2}),
    (AdamW, {"lr": 0.2, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS)
def test_agrees_with_pytorch(kind: Any, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    start = [-3.0, 4.0]
    x, path = minimize(bowl, start, kind, 20, slope, **settings)
    theirs = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    peer = getattr(torch.optim, {"RMSprop": "RMSprop"}.get(kind.__name__, kind.__name__))
    rule = peer([theirs], **settings)
    for i in range(20):
        rule.zero_grad()
        (theirs**2).sum().backward()
        rule.step()
        np.testing.assert_allclose(path[i + 1], theirs.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(path[-1], x)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_every_name_gets_there(name: str) -> None:
    lr = 0.1 if "a" in name or name == "rmsprop" else 0.02
    x, path = minimize(bowl, [-3.0, 4.0], name, 400, slope, lr=lr)
    assert np.abs(x).max() < 0.1
    np.testing.assert_array_equal(path[0], [-3, 4])


def test_ways_to_name_an_optimizer() -> None:
    ways = (
        minimize(bowl, [1.0], SGD, 5, slope, lr=0.1, momentum=0.9),
        minimize(bowl, [1.0], "momentum", 5, slope, lr=0.1),
        minimize(bowl, [1.0], partial(SGD, lr=0.1, momentum=0.9), 5, slope),
        minimize(bowl, [1.0], lambda p: make_optimizer("momentum", p, lr=0.1), 5, slope),
    )
    for _, path in ways:
        np.testing.assert_array_equal(path, ways[0][1])


def test_dtypes() -> None:
    for given, dtype in (
        (np.ones(2, np.float32), np.float32), (np.ones(2), np.float64), ([1, 2], np.float64),
        (np.array([1, 2], np.int8), np.float64), (np.ones(2, np.float16), np.float64),
    ):  # fmt: skip
        x, path = gradient_descent(bowl, given, 0.1, 3, slope)
        assert x.dtype == path.dtype == dtype
    with pytest.raises(TypeError, match=r"^init_x has dtype <U1"):
        gradient_descent(bowl, "a")


def test_gradient_that_is_the_parameter_itself() -> None:
    x, _ = gradient_descent(lambda x: bowl(x) / 2, [8.0], 0.5, 2, lambda x: x)
    assert x == [2]


def test_no_steps_and_too_large_ones() -> None:
    x, path = gradient_descent(bowl, [1.0, 2.0], step_num=0)
    np.testing.assert_array_equal(path, [[1, 2]])
    np.testing.assert_array_equal(x, [1, 2])
    with np.errstate(over="ignore", invalid="ignore"):
        x, path = gradient_descent(bowl, [1.0], lr=1e10, step_num=100, grad=slope)
    assert abs(path[5, 0]) > 1e40
    assert not np.isfinite(x[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"step_num": -1}, ValueError, r"^step_num is -1; accepted: an integer of at least 0"),
        ({"step_num": 1.5}, TypeError, r"^step_num is 1\.5"),
        ({"lr": -0.1}, ValueError, r"^lr is -0\.1; accepted: a finite number of at least 0"),
        ({"lr": np.nan}, ValueError, r"^lr is nan"),
        ({"grad": lambda x: [1.0]}, ValueError, r"^grad returned shape \(1,\); accepted: \(2,\)"),
    ],
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gradient_descent(bowl, [1.0, 2.0], **options)


def test_ragged_start() -> None:
    text = r"^init_x cannot be made an array: .*; accepted: numbers in a regular shape"
    for call in (lambda x: minimize(bowl, x, SGD, lr=0.1), lambda x: gradient_descent(bowl, x)):
        with pytest.raises(TypeError, match=text):
            call([[1.0, 2.0], [3.0]])


def test_bad_optimizers() -> None:
    with pytest.raises(ValueError, match=r"^optimizer is 'sdg'; accepted: 'sgd', "):
        minimize(bowl, [1.0], "sdg", lr=0.1)
    with pytest.raises(TypeError, match=r"^optimizer is 3; accepted: a class"):
        minimize(bowl, [1.0], 3)  # type: ignore[arg-type]
    for kind, name in (
        ("adam", "'adam'"),
        ("momentum", "'momentum'"),
        (Adam, "Adam"),
        (SGD, "SGD"),
    ):
        text = rf"^lr is missing, the learning rate of the optimizer {name}; accepted: a finite"
        with pytest.raises(TypeError, match=text):
            minimize(bowl, [1.0], kind)
    with pytest.raises(ValueError, match=r"^optimizer is 'sdg'"):  # before what it is made with
        minimize(bowl, [1.0], "sdg")
    with pytest.raises(TypeError, match="momentun"):
        minimize(bowl, [1.0], SGD, lr=0.1, momentun=0.9)


def test_steps_that_lead_far_away() -> None:
    """Deep Learning from Scratch, 4.4.1: a learning rate that is too large, step after step.

    Where numbers are so large that the step of differences would vanish beside them it grows.
    """
    x, path = gradient_descent(lambda x: x[0] ** 2 + x[1] ** 2, [-3.0, 4.0], lr=10.0, step_num=100)
    np.testing.assert_allclose(path[:4], [[-3 * f, 4 * f] for f in (1, -19, 361, -6859)], rtol=1e-8)
    assert np.isfinite(path).all()
    assert (np.abs(x) > 1e12).all()
    far, _ = minimize(bowl, np.array([3000.0, -1.0], np.float32), SGD, 30, lr=0.25)
    np.testing.assert_allclose(far, 0, atol=1e-2)
