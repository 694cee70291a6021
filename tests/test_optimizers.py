"""SGD reads gradients and changes parameters, as PyTorch's does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from softstep import SGD, Parameter, kernels

SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    {"maximize": True, "momentum": 0.5, "dampening": -0.25},
]


def by_hand(values: Any, gradients: Any, lr: float, **options: Any) -> Any:
    """The documented order, in float64, of one parameter."""
    momentum, dampening = options.get("momentum", 0), options.get("dampening", 0)
    w, buffer = values.astype(np.float64), None
    for gradient in gradients:
        g = (-gradient if options.get("maximize") else gradient) + options.get(
            "weight_decay", 0
        ) * w
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if options.get("nesterov") else buffer
        w = w - lr * g
    return w


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_follow_the_formula(rng: np.random.Generator, options: Any, dtype: Any) -> None:
    start = [rng.normal(size=shape).astype(dtype) for shape in ((3, 5), (7,), ())]
    params = [Parameter(value.copy()) for value in start]
    optimizer = SGD(params, lr=0.1, **options)
    gradients = [[rng.normal(size=p.shape).astype(dtype) for p in params] for _ in range(4)]
    for row in gradients:
        for param, gradient in zip(params, row, strict=True):
            param.grad = gradient
        optimizer.step()
    for i, param in enumerate(params):
        expected = by_hand(start[i], [row[i].astype(float) for row in gradients], 0.1, **options)
        # 4 steps of at most 8 roundings each, of values below 8
        bound = 4 * 8 * np.finfo(dtype).eps * 8
        np.testing.assert_allclose(param.data, expected, rtol=0, atol=bound)


def test_agrees_with_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    for options in SETTINGS:
        start = rng.normal(size=(4, 3))
        mine, theirs = Parameter(start.copy()), torch.tensor(start, requires_grad=True)
        ours = SGD([mine], lr=0.1, **options)
        peer = torch.optim.SGD([theirs], lr=0.1, **options)
        for _ in range(5):
            gradient = rng.normal(size=(4, 3))
            mine.grad, theirs.grad = gradient, torch.tensor(gradient)
            ours.step(), peer.step()
        bound = 5 * 8 * np.finfo(float).eps * 8
        np.testing.assert_allclose(mine.data, theirs.detach().numpy(), rtol=0, atol=bound)


def test_parameters_without_gradient_rest() -> None:
    moving, resting = Parameter(np.ones(2), grad=[1.0, 1.0]), Parameter(np.ones(2))
    unseen = Parameter()
    optimizer = SGD([resting, moving, unseen], lr=0.5, momentum=0.5, weight_decay=0.5)
    optimizer.step()
    assert np.array_equal(resting.data, [1, 1])
    assert np.array_equal(moving.data, [0.25, 0.25])
    assert [buffer is None for buffer in optimizer.momentum_buffers] == [True, False, True]
    optimizer.zero_grad()
    assert moving.grad is None


def test_a_wrong_gradient_changes_nothing() -> None:
    params = [Parameter(np.ones(2), grad=[1.0, 1.0]), Parameter(np.ones(3))]
    params[1].grad = np.ones(2)
    with pytest.raises(ValueError, match=r"params\[1\] has the shape \(2,\); accepted: \(3,\)"):
        SGD(params, lr=0.5).step()
    assert np.array_equal(params[0].data, [1, 1])


def test_threads_do_not_change_results(rng: np.random.Generator) -> None:
    start, gradient = rng.normal(size=100_003), rng.normal(size=100_003)
    results = []
    for threads in (1, 2, 3):
        param = Parameter(start.copy(), gradient)
        optimizer = SGD([param], lr=0.1, momentum=0.9)
        optimizer.threads = threads
        optimizer.step(), optimizer.step()
        results.append(param.data.tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({name: value}, f"{name} is .*; accepted: a finite number")
            for name, value in itertools.product(
                ("lr", "momentum", "weight_decay"), (-1, float("nan"), float("inf"), "1", None)
            )
        ),
        ({"dampening": float("nan")}, "dampening is nan"),
        ({"dampening": -float("inf")}, "dampening is -inf"),
        ({"nesterov": True}, "nesterov is True"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov is True"),
        ({"params": []}, "params is empty"),
        ({"params": [np.zeros(2)]}, r"params\[0\] is a ndarray; accepted: a Parameter"),
    ],
)
def test_arguments_are_checked(options: Any, message: str) -> None:
    options = {"params": [Parameter([1.0])], "lr": 0.1} | options
    with pytest.raises((TypeError, ValueError), match=message):
        SGD(**options)


def test_a_parameter_twice_is_refused() -> None:
    p = Parameter([1.0])
    with pytest.raises(ValueError, match="twice"):
        SGD([p, p], lr=0.1)


def test_step_is_the_kernel(rng: np.random.Generator) -> None:
    start, gradient = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    param, expected, buffer = Parameter(start.copy(), gradient), start.copy(), np.empty((3, 4))
    SGD([param], lr=0.3, momentum=0.9, weight_decay=0.1).step()
    kernels.sgd_step(
        expected, gradient, buffer, lr=0.3, momentum=0.9, weight_decay=0.1, first_step=True
    )
    assert param.data.tobytes() == expected.tobytes()
