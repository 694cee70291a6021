"""Cases of one optimizer step on the parameters of a model, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.peers import Call, load, tensors

SHAPES = {
    "softmax-regression": ((10, 784), (10,)),
    "twenty-million": ((20_000, 1000),),
}
LR, BETAS, DECAY, ADAM_EPS = 1e-3, (0.9, 0.999), 1e-2, 1e-8
STEP = 10
"""The step of AdamW that is done: some were before it."""


class Step(NamedTuple):
    """Parameters, gradients and two kinds of state, which every call has for itself."""

    params: list[Array]
    grads: list[Array]
    first: list[Array]
    """Momentum buffers, or averages of the gradients."""
    second: list[Array]
    """Averages of the squared gradients."""
    momentum: float

    def copies(self) -> tuple[list[Array], list[Array], list[Array]]:
        """Return copies of what is written."""
        params, first, second = ([a.copy() for a in part] for part in (self[0], self[2], self[3]))
        return params, first, second


def make_step(shape: str, momentum: float) -> Step:
    """Draw everything from N(0, 1), the averages of squares as squares."""
    rng = np.random.default_rng(4)
    params, grads, first, second = (
        [rng.standard_normal(size, dtype=np.float32) for size in SHAPES[shape]] for _ in range(4)
    )
    return Step(params, grads, first, list(map(np.square, second)), momentum)


# Stochastic gradient descent


def _sgd_softstep(step: Step) -> Call:
    params, buffers, _ = step.copies()
    given = buffers if step.momentum else None

    def call() -> list[Array]:
        kernels.sgd_step(params, step.grads, given, lr=LR, momentum=step.momentum)
        return params

    return call


def _sgd_numpy(step: Step) -> Call:
    params, buffers, _ = step.copies()
    scratch = [np.empty_like(param) for param in params]
    lr, momentum = np.float32(LR), np.float32(step.momentum)

    def call() -> list[Array]:
        for param, grad, buffer, moved in zip(params, step.grads, buffers, scratch, strict=True):
            direction = grad
            if momentum:
                np.multiply(buffer, momentum, out=buffer)
                np.add(buffer, grad, out=buffer)
                direction = buffer
            np.multiply(direction, lr, out=moved)
            np.subtract(param, moved, out=param)
        return params

    return call


def _sgd_torch(fused: bool | None) -> Callable[[Step], Call]:
    def implementation(step: Step) -> Call:
        torch = load("torch")
        parameters, datas = _torch_parameters(step)
        _, buffers, _ = step.copies()
        optimizer = torch.optim.SGD(parameters, lr=LR, momentum=step.momentum, fused=fused)
        if step.momentum:
            for parameter, buffer in zip(parameters, tensors(*buffers), strict=True):
                optimizer.state[parameter]["momentum_buffer"] = buffer

        def call() -> list[Any]:
            optimizer.step()
            return datas

        return call

    return implementation


def _torch_parameters(step: Step) -> tuple[list[Any], list[Any]]:
    """Return parameters with their gradients, and the tensors of their values."""
    torch = load("torch")
    datas = tensors(*step.copies()[0])
    parameters = [torch.nn.Parameter(data) for data in datas]
    for parameter, grad in zip(parameters, tensors(*step.grads), strict=True):
        parameter.grad = grad
    return parameters, datas


def _sgd_jax(step: Step) -> Call:
    def moved(param: Any, grad: Any, buffer: Any, second: Any) -> tuple[Any, Any, Any]:
        if step.momentum:
            buffer = step.momentum * buffer + grad
            return param - LR * buffer, buffer, second
        return param - LR * grad, buffer, second

    return _jax(step, moved)


def _jax(step: Step, moved: Callable[..., tuple[Any, Any, Any]]) -> Call:
    """Donated arguments: new values take the memory of the old ones."""
    jax = load("jax")

    def function(state: Any, grads: Any) -> Any:
        columns = zip(state[0], grads, state[1], state[2], strict=True)
        return tuple(zip(*(moved(*column) for column in columns), strict=True))

    jitted = jax.jit(function, donate_argnums=0)
    held = [tuple(tuple(map(jax.numpy.array, part)) for part in step.copies())]
    grads = tuple(map(jax.numpy.asarray, step.grads))

    def call() -> Any:
        held[0] = jitted(held[0], grads)
        jax.block_until_ready(held[0])
        return held[0][0]

    return call


def _wide(arrays: list[Array]) -> list[Array]:
    return [array.astype(np.float64) for array in arrays]


def _sgd_expect(step: Step) -> list[Expected]:
    found = []
    for param, grad, buffer in zip(*map(_wide, step[:3]), strict=True):
        magnitude = np.abs(param) + LR * (np.abs(grad) + step.momentum * np.abs(buffer))
        reference.sgd_step(
            param, grad, buffer if step.momentum else None, lr=LR, momentum=step.momentum
        )
        # At most six roundings of eps / 2, the constants' own included.
        found.append(Expected("param", param, 3 * EPS * magnitude))
    return found


# AdamW


def _adamw_softstep(step: Step) -> Call:
    params, first, second = step.copies()
    count = [STEP - 1]

    def call() -> list[Array]:
        count[0] += 1
        kernels.adamw_step(
            params, step.grads, first, second, step=count[0], lr=LR, betas=BETAS, eps=ADAM_EPS,
            weight_decay=DECAY,
        )  # fmt: skip
        return params

    return call


def _adamw_numpy(step: Step) -> Call:
    params, first, second = step.copies()
    scratch = [np.empty_like(param) for param in params]
    count = [STEP - 1]

    def call() -> list[Array]:
        count[0] += 1
        scale = np.float32(LR / (1 - BETAS[0] ** count[0]))
        root = np.float32(1 / np.sqrt(1 - BETAS[1] ** count[0]))
        for param, grad, m, v, part in zip(params, step.grads, first, second, scratch, strict=True):
            np.multiply(param, np.float32(1 - LR * DECAY), out=param)
            np.multiply(grad, np.float32(1 - BETAS[0]), out=part)
            np.multiply(m, np.float32(BETAS[0]), out=m)
            np.add(m, part, out=m)
            np.multiply(grad, grad, out=part)
            np.multiply(part, np.float32(1 - BETAS[1]), out=part)
            np.multiply(v, np.float32(BETAS[1]), out=v)
            np.add(v, part, out=v)
            np.sqrt(v, out=part)
            np.multiply(part, root, out=part)
            np.add(part, np.float32(ADAM_EPS), out=part)
            np.divide(m, part, out=part)
            np.multiply(part, scale, out=part)
            np.subtract(param, part, out=param)
        return params

    return call


def _adamw_torch(fused: bool | None) -> Callable[[Step], Call]:
    def implementation(step: Step) -> Call:
        torch = load("torch")
        parameters, datas = _torch_parameters(step)
        _, first, second = step.copies()
        optimizer = torch.optim.AdamW(
            parameters, lr=LR, betas=BETAS, eps=ADAM_EPS, weight_decay=DECAY, fused=fused
        )
        for parameter, m, v in zip(parameters, tensors(*first), tensors(*second), strict=True):
            count = torch.tensor(float(STEP - 1))
            optimizer.state[parameter].update(step=count, exp_avg=m, exp_avg_sq=v)

        def call() -> list[Any]:
            optimizer.step()
            return datas

        return call

    return implementation


def _adamw_jax(step: Step) -> Call:
    """With the factors of one step for all of them, which costs it nothing."""
    scale, root = LR / (1 - BETAS[0] ** STEP), 1 / float(np.sqrt(1 - BETAS[1] ** STEP))
    jnp = load("jax.numpy")

    def moved(param: Any, grad: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
        m = BETAS[0] * m + (1 - BETAS[0]) * grad
        v = BETAS[1] * v + (1 - BETAS[1]) * grad * grad
        change = scale * m / (jnp.sqrt(v) * root + ADAM_EPS)
        return param * (1 - LR * DECAY) - change, m, v

    return _jax(step, moved)


def _adamw_expect(step: Step) -> list[Expected]:
    """By the definition, in float64; the step is m / sqrt(v), whose roundings are relative."""
    found = []
    for param, grad, m, v in zip(*map(_wide, step[:4]), strict=True):
        most = (np.abs(m) * BETAS[0] + (1 - BETAS[0]) * np.abs(grad)) / (1 - BETAS[0] ** STEP)
        m = (BETAS[0] * m + (1 - BETAS[0]) * grad) / (1 - BETAS[0] ** STEP)
        v = (BETAS[1] * v + (1 - BETAS[1]) * grad**2) / (1 - BETAS[1] ** STEP)
        size = most / (np.sqrt(v) + ADAM_EPS)
        value = param * (1 - LR * DECAY) - LR * m / (np.sqrt(v) + ADAM_EPS)
        # 1 - beta2 in float32 is off by eps / 2 of 1, a thousand times that of itself.
        of_constants = EPS / (1 - BETAS[1])
        bound = 3 * EPS * np.abs(param) + (8 * EPS + of_constants) * LR * size
        found.append(Expected("param", value, bound))
    return found


_SGD = {
    "softstep": _sgd_softstep,
    "numpy": _sgd_numpy,
    "torch": _sgd_torch(None),
    "torch fused": _sgd_torch(True),
    "jax": _sgd_jax,
}
_ADAMW = {
    "softstep": _adamw_softstep,
    "numpy": _adamw_numpy,
    "torch": _adamw_torch(None),
    "torch fused": _adamw_torch(True),
    "jax": _adamw_jax,
}
FLOORS = {
    "softmax-regression": (Floor(5, "torch"),),
    "twenty-million": (Floor(1, "torch fused"),),
}


def _case(
    family: str,
    shape: str,
    implementations: Mapping[str, Callable[[Step], Call]],
    expect: Callable[[Step], list[Expected]],
    arrays: tuple[int, int],
    momentum: float = 0.0,
) -> Case[Any]:
    """Make a case that reads and writes so many numbers a parameter, in place."""
    count = sum(int(np.prod(size)) for size in SHAPES[shape])
    return Case(
        family,
        shape,
        f"{count} parameters",
        partial(make_step, shape, momentum),
        implementations,
        expect,
        Work(4 * arrays[0] * count, 4 * arrays[1] * count, in_place=True),
        () if momentum else FLOORS[shape],
        quick=shape == "softmax-regression" and not momentum,
    )


CASES: tuple[Case[Any], ...] = (
    *(_case("sgd", shape, _SGD, _sgd_expect, (2, 1)) for shape in SHAPES),
    *(_case("sgd_momentum", shape, _SGD, _sgd_expect, (3, 2), 0.9) for shape in SHAPES),
    *(_case("adamw", shape, _ADAMW, _adamw_expect, (4, 3)) for shape in SHAPES),
)
