"""Cases of the linear layer, ``x @ weight.T + bias``, and of its gradients."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benches.cases.case import (
    EPS,
    TINY,
    Array,
    Call,
    Case,
    Expected,
    jax_call,
    load,
    product_bound,
    summed,
    tensors,
)
from softstep import kernels, reference

SHAPES = {  # rows, features, outputs
    "minibatch": (256, 784, 10),
    "mnist-test": (10_000, 784, 10),
    "probe-step": (1024, 768, 1000),
    "probe": (4096, 768, 1000),
    "wide": (2048, 4096, 4096),
}


class Layer(NamedTuple):
    """Features (N, K), weight (C, K), bias (C,), and the gradient of the outputs (N, C)."""

    x: Array
    weight: Array
    bias: Array
    gradient: Array


def make_layer(shape: str) -> Layer:
    rows, features, outputs = SHAPES[shape]
    rng = np.random.default_rng(2)
    sizes = ((rows, features), (outputs, features), (outputs,), (rows, outputs))
    return Layer(*(rng.standard_normal(size, dtype=np.float32) for size in sizes))


def _softstep(layer: Layer) -> Call:
    return lambda: (kernels.linear(layer.x, layer.weight, layer.bias),)


def _softstep_out(layer: Layer) -> Call:
    out = np.empty_like(layer.gradient)
    return lambda: (kernels.linear(layer.x, layer.weight, layer.bias, out=out),)


def _numpy(layer: Layer) -> Call:
    def call() -> tuple[Array]:
        result = layer.x @ layer.weight.T
        result += layer.bias
        return (result,)

    return call


def _torch(layer: Layer) -> Call:
    functional = load("torch.nn.functional")
    x, weight, bias, _ = tensors(*layer)
    return lambda: (functional.linear(x, weight, bias),)


def _torch_out(layer: Layer) -> Call:
    torch = load("torch")
    x, weight, bias, gradient = tensors(*layer)
    out = torch.empty_like(gradient)
    return lambda: (torch.addmm(bias, x, weight.T, out=out),)


def _jax(layer: Layer) -> Call:
    return jax_call(lambda x, weight, bias: (x @ weight.T + bias,), *layer[:3])


def _expect(layer: Layer) -> list[Expected]:
    x, weight, bias, _ = layer
    exact = reference.linear(*(array.astype(np.float64) for array in (x, weight, bias)))
    return [Expected("outputs", exact, product_bound(x, weight, bias))]


def _backward_softstep(layer: Layer) -> Call:
    return lambda: kernels.linear_backward(layer.x, layer.weight, layer.gradient)


def _backward_numpy(layer: Layer) -> Call:
    x, weight, _, gradient = layer
    return lambda: (gradient @ weight, gradient.T @ x, gradient.sum(0))


def _backward_torch(layer: Layer) -> Call:
    x, weight, _, gradient = tensors(*layer)
    return lambda: (gradient @ weight, gradient.T @ x, gradient.sum(0))


def _backward_jax(layer: Layer) -> Call:
    x, weight, _, gradient = layer
    return jax_call(lambda x, w, d: (d @ w, d.T @ x, d.sum(0)), x, weight, gradient)


def _backward_expect(layer: Layer) -> list[Expected]:
    x, weight, _, gradient = layer
    exact = reference.linear_backward(
        *(array.astype(np.float64) for array in (x, weight, gradient))
    )
    magnitude = np.abs(gradient).sum(0, dtype=np.float64)
    bounds = (
        product_bound(gradient, weight.T),
        product_bound(gradient.T, x.T),
        magnitude * (summed(len(x)) + EPS) + TINY,
    )
    names = ("dx", "dweight", "dbias")
    return [Expected(*row) for row in zip(names, exact, bounds, strict=True)]


_FORWARD = {
    "softstep": _softstep,
    "softstep out=": _softstep_out,
    "numpy": _numpy,
    "torch": _torch,
    "torch out=": _torch_out,
    "jax": _jax,
}
_BACKWARD = {
    "softstep": _backward_softstep,
    "numpy": _backward_numpy,
    "torch": _backward_torch,
    "jax": _backward_jax,
}


def _case(shape: str, backward: bool) -> Case[Any]:
    inputs = partial(make_layer, shape)
    rows, features, outputs = SHAPES[shape]
    flops = 2 * rows * features * outputs
    moved = 4 * (rows * features + outputs * features + rows * outputs + outputs)
    if backward:
        moved += 4 * (rows * features + outputs * features)
        return Case("linear_backward", shape, inputs, _BACKWARD, _backward_expect, moved, 2 * flops)
    return Case("linear", shape, inputs, _FORWARD, _expect, moved, flops)


CASES: tuple[Case[Any], ...] = (
    *(_case(shape, backward=False) for shape in ("minibatch", "mnist-test", "probe", "wide")),
    *(_case(shape, backward=True) for shape in ("minibatch", "probe-step")),
)
