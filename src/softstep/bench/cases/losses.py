"""Cases of the mean squared error, and of it with its gradient."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS, TINY, summed
from softstep.bench.case import Array, Case, Expected, Work
from softstep.bench.peers import Call, jax_call, load, tensors

SHAPES = {"minibatch": 256, "million": 1_000_000}
MULTI_LABEL = (10_000, 80)


class Pair(NamedTuple):
    """Predictions and targets, (N,)."""

    prediction: Array
    target: Array


def make_pair(shape: str) -> Pair:
    """Draw both from N(0, 1)."""
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


class Labels(NamedTuple):
    """Logits and 0 or 1 for each of several labels, (N, C)."""

    logits: Array
    target: Array


def make_labels() -> Labels:
    """Logits from N(0, 3), every tenth label set."""
    rng = np.random.default_rng(8)
    logits = 3 * rng.standard_normal(MULTI_LABEL, dtype=np.float32)
    return Labels(logits, (rng.random(MULTI_LABEL) < 0.1).astype(np.float32))


def _binary_softstep(labels: Labels) -> Call:
    return lambda: kernels.binary_cross_entropy_with_logits_with_grad(*labels)


def _binary_softstep_out(labels: Labels) -> Call:
    out = np.empty_like(labels.logits)
    return lambda: kernels.binary_cross_entropy_with_logits_with_grad(*labels, out=out)


def _binary_numpy(labels: Labels) -> Call:
    logits, target = labels

    def call() -> tuple[Any, Array]:
        small = np.exp(-np.abs(logits))
        loss = (np.maximum(logits, 0) - logits * target + np.log1p(small)).mean()
        gradient = np.where(logits >= 0, 1, small) / (1 + small)
        gradient -= target
        gradient /= np.float32(logits.size)
        return loss, gradient

    return call


def _binary_torch(labels: Labels) -> Call:
    functional = load("torch.nn.functional")
    logits, target = tensors(*labels)
    logits.requires_grad_(True)

    def call() -> tuple[Any, Any]:
        logits.grad = None
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()
        return loss.detach(), logits.grad

    return call


def _binary_jax(labels: Labels) -> Call:
    jax = load("jax")

    def loss(logits: Any, target: Any) -> Any:
        return (jax.nn.softplus(logits) - logits * target).mean()

    return jax_call(jax.value_and_grad(loss), *labels)


def _binary_expect(labels: Labels) -> list[Expected]:
    logits, target = (array.astype(np.float64) for array in labels)
    small = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * target + np.log1p(small)
    # A term is off by a few roundings of its largest part, x itself.
    of_losses = 4 * EPS * (1 + np.abs(logits)).mean()
    gradient = (np.where(logits >= 0, 1, small) / (1 + small) - target) / logits.size
    loss = float(losses.mean())
    return [
        Expected("loss", loss, of_losses + loss * (summed(logits.size) + EPS)),
        # 1 - sigmoid(x) loses eps of 1; exp and the division are off by a few eps.
        Expected("gradient", gradient, 8 * EPS * (np.abs(gradient) + 1 / logits.size)),
    ]


_BINARY = {
    "softstep": _binary_softstep,
    "softstep out=": _binary_softstep_out,
    "numpy": _binary_numpy,
    "torch": _binary_torch,
    "jax": _binary_jax,
}


def _loss_case(shape: str) -> Case[Any]:
    n = SHAPES[shape]
    return Case("mse_loss", shape, f"{n}", partial(make_pair, shape), _LOSS, _expect, Work(8 * n))


def _gradient_case(shape: str) -> Case[Any]:
    n, inputs = SHAPES[shape], partial(make_pair, shape)
    work = Work(8 * n, 4 * n)
    return Case("mse_loss_with_grad", shape, f"{n}", inputs, _GRADIENT, _gradient_expect, work)


CASES: tuple[Case[Any], ...] = (
    *map(_loss_case, SHAPES),
    *map(_gradient_case, SHAPES),
    Case(
        "binary_cross_entropy_with_grad",
        "multi-label",
        " x ".join(map(str, MULTI_LABEL)),
        make_labels,
        _BINARY,
        _binary_expect,
        Work(8 * MULTI_LABEL[0] * MULTI_LABEL[1], 4 * MULTI_LABEL[0] * MULTI_LABEL[1]),
    ),
)
