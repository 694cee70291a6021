"""Cases of one optimizer step on one parameter, in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benches.cases.case import EPS, Array, Call, Case, Expected, load, tensors
from softstep import kernels, reference

SHAPES = {"softmax-regression": 7850, "twenty-million": 20_000_000}
LR = 1e-3


class Step(NamedTuple):
    """A parameter, its gradient and its momentum buffer, (P,), which every call has for itself."""

    param: Array
    grad: Array
    buffer: Array
    momentum: float


def make_step(shape: str, momentum: float) -> Step:
    rng = np.random.default_rng(4)
    param, grad, buffer = (rng.standard_normal(SHAPES[shape], dtype=np.float32) for _ in range(3))
    return Step(param, grad, buffer, momentum)


def _softstep(step: Step) -> Call:
    param, buffer = step.param.copy(), step.buffer.copy() if step.momentum else None

    def call() -> tuple[Array]:
        kernels.sgd_step(param, step.grad, buffer, lr=LR, momentum=step.momentum)
        return (param,)

    return call


def _numpy(step: Step) -> Call:
    param, buffer, scratch = step.param.copy(), step.buffer.copy(), np.empty_like(step.param)
    lr, momentum = np.float32(LR), np.float32(step.momentum)

    def call() -> tuple[Array]:
        direction = step.grad
        if momentum:
            np.multiply(buffer, momentum, out=buffer)
            np.add(buffer, step.grad, out=buffer)
            direction = buffer
        np.multiply(direction, lr, out=scratch)
        np.subtract(param, scratch, out=param)
        return (param,)

    return call


def _torch(fused: bool | None) -> Callable[[Step], Call]:
    def implementation(step: Step) -> Call:
        torch = load("torch")
        data, grad, buffer = tensors(step.param.copy(), step.grad, step.buffer.copy())
        param = torch.nn.Parameter(data)
        param.grad = grad
        optimizer = torch.optim.SGD([param], lr=LR, momentum=step.momentum, fused=fused)
        if step.momentum:
            optimizer.state[param]["momentum_buffer"] = buffer

        def call() -> tuple[Any]:
            optimizer.step()
            return (data,)

        return call

    return implementation


def _jax(step: Step) -> Call:
    """Donated arguments: the new parameter takes the memory of the old one."""
    jax = load("jax")
    jnp = jax.numpy

    def function(param: Any, grad: Any, buffer: Any) -> tuple[Any, Any]:
        if step.momentum:
            buffer = step.momentum * buffer + grad
            return param - LR * buffer, buffer
        return param - LR * grad, buffer

    jitted = jax.jit(function, donate_argnums=(0, 2))
    state = [jnp.array(step.param), jnp.array(step.buffer)]  # copies
    grad = jnp.asarray(step.grad)

    def call() -> tuple[Any]:
        state[0], state[1] = jitted(state[0], grad, state[1])
        jax.block_until_ready(state)
        return (state[0],)

    return call


def _expect(step: Step) -> list[Expected]:
    param, grad, buffer = (array.astype(np.float64) for array in step[:3])
    magnitude = np.abs(param) + LR * (np.abs(grad) + step.momentum * np.abs(buffer))
    momentum_buffer = buffer if step.momentum else None
    reference.sgd_step(param, grad, momentum_buffer, lr=LR, momentum=step.momentum)
    # At most six roundings of eps / 2, the constants' own included.
    return [Expected("param", param, 3 * EPS * magnitude)]


_IMPLEMENTATIONS = {
    "softstep": _softstep,
    "numpy": _numpy,
    "torch": _torch(None),
    "torch fused": _torch(True),
    "jax": _jax,
}


def _case(shape: str, momentum: float) -> Case[Any]:
    family = "sgd_momentum" if momentum else "sgd"
    moved = 4 * SHAPES[shape] * (5 if momentum else 3)
    inputs = partial(make_step, shape, momentum)
    return Case(family, shape, inputs, _IMPLEMENTATIONS, _expect, moved)


CASES: tuple[Case[Any], ...] = tuple(
    _case(shape, momentum) for momentum in (0.0, 0.9) for shape in SHAPES
)
