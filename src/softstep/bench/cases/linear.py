"""Cases of the linear layer, ``x @ weight.T + bias``, and of its gradients."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS, TINY, product_bound, summed
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.peers import Call, jax_call, load, tensors

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
    """Draw everything from N(0, 1)."""
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


FLOORS = {
    "minibatch": (Floor(2),),
    "mnist-test": (Floor(1),),
    "probe": (Floor(0.95, "torch"),),
    "wide": (Floor(0.9, "torch"),),
}


def _work(shape: str) -> Work:
    rows, features, outputs = SHAPES[shape]
    read = 4 * (rows * features + outputs * features + outputs)
    return Work(read, 4 * rows * outputs, 2 * rows * features * outputs)


def _size(shape: str) -> str:
    return " x ".join(map(str, SHAPES[shape]))


def _forward_case(shape: str) -> Case[Any]:
    inputs = partial(make_layer, shape)
    return Case(
        "linear",
        shape,
        _size(shape),
        inputs,
        _FORWARD,
        _expect,
        _work(shape),
        FLOORS[shape],
        quick=shape != "wide",
    )


def _backward_case(shape: str) -> Case[Any]:
    rows, features, outputs = SHAPES[shape]
    read = 4 * (rows * features + outputs * features + rows * outputs)
    written = 4 * (rows * features + outputs * features + outputs)
    work = Work(read, written, 4 * rows * features * outputs)
    inputs = partial(make_layer, shape)
    return Case("linear_backward", shape, _size(shape), inputs, _BACKWARD, _backward_expect, work)


CASES: tuple[Case[Any], ...] = (
    *map(_forward_case, FLOORS),
    *map(_backward_case, ("minibatch", "probe-step")),
)
