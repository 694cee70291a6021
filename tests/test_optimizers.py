"""Optimizers read gradients and change parameters, as PyTorch's do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from softstep import SGD, Adam, AdamW, Parameter, RMSprop, kernels

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


ADAPTIVE: list[tuple[Any, dict[str, Any]]] = [
    (RMSprop, {}),
    (RMSprop, {"alpha": 0.9, "weight_decay": 0.1, "momentum": 0.5, "maximize": True}),
    (RMSprop, {"centered": True, "momentum": 0.9, "eps": 1e-3}),
    (Adam, {}),
    (Adam, {"betas": (0.5, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    (AdamW, {}),
    (AdamW, {"weight_decay": 0.2, "amsgrad": True, "maximize": True, "eps": 1e-3}),
]


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE)
def test_adaptive_optimizers_are_pytorchs(
    kind: Any, options: Any, rng: np.random.Generator
) -> None:
    """Several parameters, of which one rests at times."""
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=shape) for shape in ((4, 3), (5,), (2, 2))]
    mine = [Parameter(value.copy()) for value in start]
    theirs = [torch.tensor(value, requires_grad=True) for value in start]
    ours, peer = (
        kind(mine, lr=0.01, **options),
        getattr(torch.optim, kind.__name__)(theirs, lr=0.01, **options),
    )
    for step in range(6):
        for i, (m, t) in enumerate(zip(mine, theirs, strict=True)):
            gradient = None if i == 1 and step % 3 == 0 else rng.normal(size=m.shape)
            m.grad, t.grad = gradient, None if gradient is None else torch.tensor(gradient)
        ours.step(), peer.step()
    for m, t in zip(mine, theirs, strict=True):
        # Six steps of a few roundings each, of values below 8, which a root near 1e-3 may enlarge a
        # thousandfold: 6 * 8 * 8 * 1e3 * eps / 2 = 4e-11.
        np.testing.assert_allclose(m.data, t.detach().numpy(), rtol=0, atol=1e-10)


def test_defaults_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for kind in (RMSprop, Adam, AdamW):
        peer = getattr(torch.optim, kind.__name__)([torch.zeros(1, requires_grad=True)])
        settings = kind([Parameter([1.0])]).settings()
        assert settings == {name: peer.defaults[name] for name in settings}


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW])
def test_one_native_call(
    kind: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for all parameters; one more for those of another dtype or with another past."""
    params = [Parameter(rng.normal(size=n)) for n in (3, 4, 5)]
    params[2].data = params[2].data.astype(np.float32)
    optimizer, sizes = kind(params, lr=0.1), []
    move = optimizer._move

    def counted(numbers: Any, *arrays: Any) -> None:
        sizes.append(len(numbers))
        move(numbers, *arrays)

    monkeypatch.setattr(optimizer, "_move", counted)
    for p in params[:2]:
        p.grad = np.ones(p.shape)
    optimizer.step()
    assert sizes == [2]
    params[2].grad = np.ones(5, np.float32)
    optimizer.step()
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (kind, {name: value}, name)
        for kind, names in {
            RMSprop: ("lr", "alpha", "eps", "weight_decay", "momentum"),
            Adam: ("lr", "eps", "weight_decay"),
            AdamW: ("lr", "eps", "weight_decay"),
        }.items()
        for name in names
        for value in (-0.1, float("nan"), float("inf"), "1")
    ]
    + [
        (RMSprop, {"alpha": 1.5}, "alpha is 1.5; accepted: 0 to 1"),
        (Adam, {"betas": (1.0, 0.9)}, r"betas\[0\] is 1.0; accepted: at least 0 and below 1"),
        (Adam, {"betas": (0.9, -0.1)}, r"betas\[1\] is -0.1"),
        (AdamW, {"betas": 0.9}, "betas is 0.9; accepted: two numbers"),
        (Adam, {"params": []}, "params is empty"),
        (RMSprop, {"params": [np.zeros(2)]}, r"params\[0\] is a ndarray"),
    ],
)
def test_adaptive_arguments_are_checked(kind: Any, options: Any, message: str) -> None:
    options = {"params": [Parameter([1.0])]} | options
    with pytest.raises((TypeError, ValueError), match=message):
        kind(**options)


@pytest.mark.parametrize("kind", [SGD, RMSprop, Adam, AdamW])
def test_a_wrong_gradient_of_any_dtype_changes_nothing(kind: Any) -> None:
    params = [Parameter(np.ones(2), grad=[1.0, 1.0]), Parameter(np.ones(3, np.float32))]
    params[1].grad = np.ones(3)
    with pytest.raises(TypeError, match=r"gradient of params\[1\] has dtype float64"):
        kind(params, lr=0.5).step()
    assert np.array_equal(params[0].data, [1, 1])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SGD, "nesterov"),
        (SGD, "maximize"),
        (RMSprop, "centered"),
        (RMSprop, "maximize"),
        (Adam, "amsgrad"),
        (AdamW, "maximize"),
    ],
)
def test_flags_are_no_texts(kind: Any, name: str) -> None:
    """The text "False" is true for Python."""
    for wrong in ("False", "no", None, float("nan"), 2, [True]):
        with pytest.raises(TypeError, match=f"{name} is .*; accepted: True or False"):
            kind([Parameter([1.0])], lr=0.1, **{name: wrong})
    more = {"momentum": 0.5} if name == "nesterov" else {}
    assert getattr(kind([Parameter([1.0])], lr=0.1, **{name: np.True_}, **more), name) is True
