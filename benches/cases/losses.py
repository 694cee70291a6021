"""Cases of the mean squared error, and of it with its gradient."""

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
    summed,
    tensors,
)
from softstep import kernels, reference

SHAPES = {"minibatch": 256, "million": 1_000_000}


class Pair(NamedTuple):
    """Predictions and targets, (N,)."""

    prediction: Array
    target: Array


def make_pair(shape: str) -> Pair:
    rng = np.random.default_rng(3)
    return Pair(*(rng.standard_normal(SHAPES[shape], dtype=np.float32) for _ in range(2)))


def _softstep(pair: Pair) -> Call:
    return lambda: (kernels.mse_loss(*pair),)


def _numpy(pair: Pair) -> Call:
    return lambda: (np.square(pair.prediction - pair.target).mean(),)


def _torch(pair: Pair) -> Call:
    functional = load("torch.nn.functional")
    prediction, target = tensors(*pair)
    return lambda: (functional.mse_loss(prediction, target),)


def _jax_loss(prediction: Any, target: Any) -> Any:
    return ((prediction - target) ** 2).mean()


def _jax(pair: Pair) -> Call:
    return jax_call(lambda prediction, target: (_jax_loss(prediction, target),), *pair)


def _sklearn(pair: Pair) -> Call:
    mean_squared_error = load("sklearn.metrics").mean_squared_error
    return lambda: (mean_squared_error(pair.target, pair.prediction),)


def _expect(pair: Pair) -> list[Expected]:
    loss = float(reference.mse_loss(*(array.astype(np.float64) for array in pair)))
    return [Expected("loss", loss, loss * (summed(len(pair.target)) + 4 * EPS))]


def _gradient_softstep(pair: Pair) -> Call:
    return lambda: kernels.mse_loss_with_grad(*pair)


def _gradient_softstep_out(pair: Pair) -> Call:
    out = np.empty_like(pair.prediction)
    return lambda: kernels.mse_loss_with_grad(*pair, out=out)


def _gradient_numpy(pair: Pair) -> Call:
    def call() -> tuple[Any, Array]:
        gradient = pair.prediction - pair.target
        loss = np.dot(gradient, gradient) / len(gradient)
        gradient *= np.float32(2 / len(gradient))
        return loss, gradient

    return call


def _gradient_torch(pair: Pair) -> Call:
    functional = load("torch.nn.functional")
    prediction, target = tensors(*pair)
    prediction.requires_grad_(True)

    def call() -> tuple[Any, Any]:
        prediction.grad = None
        loss = functional.mse_loss(prediction, target)
        loss.backward()
        return loss.detach(), prediction.grad

    return call


def _gradient_jax(pair: Pair) -> Call:
    return jax_call(load("jax").value_and_grad(_jax_loss), *pair)


def _gradient_expect(pair: Pair) -> list[Expected]:
    _, gradient = reference.mse_loss_with_grad(*(array.astype(np.float64) for array in pair))
    # Three roundings: the difference, the factor 2 / N, their product.
    return [*_expect(pair), Expected("gradient", gradient, 2 * EPS * np.abs(gradient) + TINY)]


_LOSS = {
    "softstep": _softstep,
    "numpy": _numpy,
    "torch": _torch,
    "jax": _jax,
    "sklearn": _sklearn,
}
_GRADIENT = {
    "softstep": _gradient_softstep,
    "softstep out=": _gradient_softstep_out,
    "numpy": _gradient_numpy,
    "torch": _gradient_torch,
    "jax": _gradient_jax,
}


def _case(shape: str, gradient: bool) -> Case[Any]:
    inputs, n = partial(make_pair, shape), SHAPES[shape]
    if gradient:
        return Case("mse_loss_with_grad", shape, inputs, _GRADIENT, _gradient_expect, 12 * n)
    return Case("mse_loss", shape, inputs, _LOSS, _expect, 8 * n)


CASES: tuple[Case[Any], ...] = (
    *(_case(shape, gradient=False) for shape in ("minibatch", "million")),
    *(_case(shape, gradient=True) for shape in SHAPES),
)
