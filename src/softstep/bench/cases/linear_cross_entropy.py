"""Cases of a linear layer and its cross-entropy as one, with gradients: no logits are kept."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS, TINY, product_bound, softmax_error, summed
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.cases.softmax import log_bound
from softstep.bench.peers import Call, jax_call, load, tensors

SHAPES = {  # rows, features, classes
    "probe-step": (1024, 768, 1000),
    "vocabulary": (256, 4096, 32_000),
}


class Head(NamedTuple):
    """Features (N, K), weight (C, K), bias (C,) and classes (N,)."""

    x: Array
    weight: Array
    bias: Array
    target: Array


def make_head(shape: str) -> Head:
    """Features from N(0, 1) and weights such that logits are from N(0, 3)."""
    rows, features, classes = SHAPES[shape]
    rng = np.random.default_rng(9)
    weight = rng.standard_normal((classes, features), dtype=np.float32)
    weight *= np.float32(3 / np.sqrt(features))
    return Head(
        rng.standard_normal((rows, features), dtype=np.float32),
        weight,
        rng.standard_normal(classes, dtype=np.float32),
        rng.integers(0, classes, rows),
    )


def _softstep(head: Head) -> Call:
    return lambda: kernels.linear_cross_entropy_with_grad(*head)


def _numpy(head: Head) -> Call:
    x, weight, bias, target = head
    index = np.arange(len(target))

    def call() -> tuple[Any, ...]:
        gradient = x @ weight.T
        gradient += bias
        gradient -= gradient.max(-1, keepdims=True)
        at_target = gradient[index, target]
        np.exp(gradient, out=gradient)
        sums = gradient.sum(-1, keepdims=True)
        loss = (np.log(sums[:, 0]) - at_target).mean()
        gradient /= sums * np.float32(len(target))
        gradient[index, target] -= np.float32(1 / len(target))
        return loss, gradient @ weight, gradient.T @ x, gradient.sum(0)

    return call


def _torch_training(head: Head, loss_of: Any) -> Call:
    *inputs, target = tensors(*head)
    for tensor in inputs:
        tensor.requires_grad_(True)

    def call() -> tuple[Any, ...]:
        for tensor in inputs:
            tensor.grad = None
        loss = loss_of(*inputs, target)
        loss.backward()
        return loss.detach(), *(tensor.grad for tensor in inputs)

    return call


def _torch(head: Head) -> Call:
    functional = load("torch.nn.functional")

    def loss_of(x: Any, weight: Any, bias: Any, target: Any) -> Any:
        return functional.cross_entropy(functional.linear(x, weight, bias), target)

    return _torch_training(head, loss_of)


def _torch_fused(head: Head) -> Call:
    functional = load("torch.nn.functional")

    def loss_of(x: Any, weight: Any, bias: Any, target: Any) -> Any:
        return functional.linear_cross_entropy(x, weight, target, linear_bias=bias)

    return _torch_training(head, loss_of)


def _torch_chunked(head: Head) -> Call:
    """Keep only some of the logits at a time."""
    nn = load("torch.nn")
    options = nn.LinearCrossEntropyOptions()

    def loss_of(x: Any, weight: Any, bias: Any, target: Any) -> Any:
        return nn.functional.linear_cross_entropy(
            x, weight, target, linear_bias=bias, options=options
        )

    return _torch_training(head, loss_of)


def _jax(head: Head) -> Call:
    jax, jnp = load("jax"), load("jax.numpy")

    def loss_of(parameters: Any, target: Any) -> Any:
        x, weight, bias = parameters
        logs = jax.nn.log_softmax(x @ weight.T + bias)
        return -logs[jnp.arange(len(target)), target].mean()

    def both(x: Any, weight: Any, bias: Any, target: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)((x, weight, bias), target)
        return loss, *gradients

    return jax_call(both, *head[:3], head.target.astype(np.int32))


def _expect(head: Head) -> list[Expected]:
    """Pass the logits' own errors through exp; each product then adds its roundings."""
    x, weight, bias, target = head
    wide = [array.astype(np.float64) for array in (x, weight, bias)]
    logits = reference.linear(*wide)
    loss, gradient = reference.cross_entropy_with_grad(logits, target)
    exact = reference.linear_backward(wide[0], wide[1], gradient)
    rows = np.arange(len(target))
    of_logits = product_bound(x, weight, bias)
    narrow = logits.astype(np.float32)
    of_loss = 2 * float(of_logits.max(-1).mean() + log_bound(narrow).mean())
    of_loss += (summed(len(target)) + EPS) * abs(float(loss))
    # p's relative error, and 1 - p at the label, as for the cross-entropy of given logits.
    relative = softmax_error(narrow) + 2 * EPS + 2 * of_logits.max(-1, keepdims=True)
    off = np.abs(gradient) * relative + TINY
    off[rows, target] += relative[:, 0] / len(target)
    of_gradient = off.astype(np.float32)
    magnitude = np.abs(gradient).astype(np.float32)
    bounds = (
        product_bound(magnitude, weight.T) + of_gradient @ np.abs(weight) * 1.01,
        product_bound(magnitude.T, x.T) + of_gradient.T @ np.abs(x) * 1.01,
        np.abs(gradient).sum(0) * (summed(len(x)) + EPS) + off.sum(0) + TINY,
    )
    names = ("dx", "dweight", "dbias")
    found = [Expected(*row) for row in zip(names, exact, bounds, strict=True)]
    return [Expected("loss", float(loss), of_loss), *found]


def _case(shape: str, floors: tuple[Floor, ...]) -> Case[Any]:
    rows, features, classes = SHAPES[shape]
    parameters = 4 * (rows * features + classes * features + classes)
    function = ("torch.nn.functional", "linear_cross_entropy")
    return Case(
        "linear_cross_entropy_with_grad",
        shape,
        f"{rows} x {features} x {classes}",
        partial(make_head, shape),
        {
            "softstep": _softstep,
            "numpy": _numpy,
            "torch": _torch,
            "torch linear_cross_entropy": _torch_fused,
            "torch linear_cross_entropy chunked": _torch_chunked,
            "jax": _jax,
        },
        _expect,
        # Forward, and two products backward.
        Work(parameters + 8 * rows, parameters, 6 * rows * features * classes),
        floors,
        requires={
            "torch linear_cross_entropy": function,
            "torch linear_cross_entropy chunked": ("torch.nn", "LinearCrossEntropyOptions"),
        },
    )


CASES: tuple[Case[Any], ...] = (
    _case("probe-step", ()),
    _case("vocabulary", (Floor(1.3),)),
)
