"""Cases of the cross-entropy of logits with index targets: its mean, and its gradient as well."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS, TINY, softmax_error, summed
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.cases.softmax import SHAPES, log_bound, make_logits
from softstep.bench.peers import Call, jax_call, load, tensors


class Rows(NamedTuple):
    """Logits (N, C) and classes (N,)."""

    logits: Array
    target: Array


def make_rows(shape: str) -> Rows:
    """Logits from N(0, 3) and labels over all classes."""
    rows, classes = SHAPES[shape]
    return Rows(make_logits(shape), np.random.default_rng(1).integers(0, classes, rows))


def _softstep(rows: Rows) -> Call:
    return lambda: (kernels.cross_entropy(rows.logits, rows.target),)


def _numpy(rows: Rows) -> Call:
    logits, target = rows
    index = np.arange(len(target))

    def call() -> tuple[Any]:
        shifted = logits - logits.max(-1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(-1)) - shifted[index, target]
        return (losses.mean(),)

    return call


def _torch(rows: Rows) -> Call:
    functional = load("torch.nn.functional")
    x, target = tensors(*rows)
    return lambda: (functional.cross_entropy(x, target),)


def _jax_loss(logits: Any, target: Any) -> Any:
    jax, jnp = load("jax"), load("jax.numpy")
    rows = jnp.arange(logits.shape[0])
    return -jax.nn.log_softmax(logits)[rows, target].mean()


def _jax(rows: Rows) -> Call:
    return jax_call(
        lambda x, target: (_jax_loss(x, target),), rows.logits, rows.target.astype(np.int32)
    )


def _loss(rows: Rows) -> Expected:
    exact = float(reference.cross_entropy(rows.logits.astype(np.float64), rows.target))
    bound = float(log_bound(rows.logits).mean()) + (summed(len(rows.target)) + EPS) * abs(exact)
    return Expected("loss", exact, bound)


def _expect(rows: Rows) -> list[Expected]:
    return [_loss(rows)]


def _gradient_softstep(rows: Rows) -> Call:
    return lambda: kernels.cross_entropy_with_grad(*rows)


def _gradient_softstep_out(rows: Rows) -> Call:
    out = np.empty_like(rows.logits)
    return lambda: kernels.cross_entropy_with_grad(*rows, out=out)


def _gradient_numpy(rows: Rows) -> Call:
    logits, target = rows
    index = np.arange(len(target))

    def call() -> tuple[Any, Array]:
        gradient = logits - logits.max(-1, keepdims=True)
        at_target = gradient[index, target]
        np.exp(gradient, out=gradient)
        sums = gradient.sum(-1, keepdims=True)
        loss = (np.log(sums[:, 0]) - at_target).mean()
        gradient /= sums
        gradient[index, target] -= 1
        gradient /= np.float32(len(target))
        return loss, gradient

    return call


def _gradient_torch(rows: Rows) -> Call:
    functional = load("torch.nn.functional")
    x, target = tensors(*rows)
    x.requires_grad_(True)

    def call() -> tuple[Any, Any]:
        x.grad = None
        loss = functional.cross_entropy(x, target)
        loss.backward()
        return loss.detach(), x.grad

    return call


def _gradient_jax(rows: Rows) -> Call:
    function = load("jax").value_and_grad(_jax_loss)
    return jax_call(function, rows.logits, rows.target.astype(np.int32))


def _gradient_expect(rows: Rows) -> list[Expected]:
    logits, target = rows
    _, gradient = reference.cross_entropy_with_grad(logits.astype(np.float64), target)
    # Off the label the gradient is p / N; at it, 1 - p loses eps of 1 besides p's own error.
    bound = np.abs(gradient) * (softmax_error(logits) + 2 * EPS) + TINY
    bound[np.arange(len(target)), target] += (softmax_error(logits)[:, 0] + 2 * EPS) / len(target)
    return [_loss(rows), Expected("gradient", gradient, bound)]


# Not scikit-learn's log_loss: it clips probabilities at eps, which gives another loss.
_LOSS = {"softstep": _softstep, "numpy": _numpy, "torch": _torch, "jax": _jax}
_GRADIENT = {
    "softstep": _gradient_softstep,
    "softstep out=": _gradient_softstep_out,
    "numpy": _gradient_numpy,
    "torch": _gradient_torch,
    "jax": _gradient_jax,
}


FLOORS = {
    "minibatch": (Floor(6),),
    "mnist": (Floor(6),),
    "cifar100": (Floor(3),),
    "imagenet": (Floor(4, ours="softstep out="),),
    "vocabulary": (Floor(8, ours="softstep out="),),
}


def _loss_case(shape: str) -> Case[Any]:
    rows, classes = SHAPES[shape]
    return Case(
        "cross_entropy",
        shape,
        f"{rows} x {classes}",
        partial(make_rows, shape),
        _LOSS,
        _expect,
        Work(rows * (4 * classes + 8)),
        (Floor(5),) if shape == "vocabulary" else (),
    )


def _gradient_case(shape: str) -> Case[Any]:
    rows, classes = SHAPES[shape]
    return Case(
        "cross_entropy_with_grad",
        shape,
        f"{rows} x {classes}",
        partial(make_rows, shape),
        _GRADIENT,
        _gradient_expect,
        Work(rows * (4 * classes + 8), 4 * rows * classes),
        FLOORS[shape],
        quick=shape != "vocabulary",
    )


CASES: tuple[Case[Any], ...] = (
    *map(_loss_case, ("minibatch", "mnist", "imagenet", "vocabulary")),
    *map(_gradient_case, FLOORS),
)
