"""Cases of softmax, log-softmax and log-sum-exp over rows of logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from softstep import kernels, reference
from softstep.bench.bounds import EPS, TINY
from softstep.bench.bounds import softmax_error as relative_error
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.peers import Call, jax_call, load, tensors

SHAPES = {
    "single": (1, 10),
    "minibatch": (256, 10),
    "mnist": (60_000, 10),
    "cifar100": (10_000, 100),
    "imagenet": (4096, 1000),
    "vocabulary": (1024, 32_000),
}


def make_logits(shape: str) -> Array:
    """Logits from N(0, 3) (a variance of 9), float32, of a named shape."""
    rng = np.random.default_rng(len(shape))
    return 3 * rng.standard_normal(SHAPES[shape], dtype=np.float32)


def _softstep(logits: Array) -> Call:
    return lambda: (kernels.softmax(logits),)


def _softstep_out(logits: Array) -> Call:
    out = np.empty_like(logits)
    return lambda: (kernels.softmax(logits, out=out),)


def _numpy(logits: Array) -> Call:
    def call() -> tuple[Array]:
        result = np.exp(logits - logits.max(-1, keepdims=True))
        result /= result.sum(-1, keepdims=True)
        return (result,)

    return call


def _numpy_out(logits: Array) -> Call:
    out = np.empty_like(logits)

    def call() -> tuple[Array]:
        np.subtract(logits, logits.max(-1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(-1, keepdims=True), out=out)
        return (out,)

    return call


def _torch(logits: Array) -> Call:
    torch = load("torch")
    (x,) = tensors(logits)
    return lambda: (torch.softmax(x, -1),)


def _torch_out(logits: Array) -> Call:
    torch = load("torch")
    (x,) = tensors(logits)
    out = torch.empty_like(x)
    return lambda: (torch.softmax(x, -1, out=out),)


def _jax(logits: Array) -> Call:
    nn = load("jax.nn")
    return jax_call(lambda x: (nn.softmax(x),), logits)


def _scipy(logits: Array) -> Call:
    special = load("scipy.special")
    return lambda: (special.softmax(logits, -1),)


def _expect(logits: Array) -> list[Expected]:
    exact = reference.softmax(logits.astype(np.float64))
    return [Expected("softmax", exact, exact * relative_error(logits) + TINY)]


def _log_softmax_softstep(logits: Array) -> Call:
    return lambda: (kernels.log_softmax(logits),)


def _log_softmax_numpy(logits: Array) -> Call:
    def call() -> tuple[Array]:
        result = logits - logits.max(-1, keepdims=True)
        result -= np.log(np.exp(result).sum(-1, keepdims=True))
        return (result,)

    return call


def _log_softmax_torch(logits: Array) -> Call:
    torch = load("torch")
    (x,) = tensors(logits)
    return lambda: (torch.log_softmax(x, -1),)


def _log_softmax_jax(logits: Array) -> Call:
    nn = load("jax.nn")
    return jax_call(lambda x: (nn.log_softmax(x),), logits)


def _log_softmax_scipy(logits: Array) -> Call:
    special = load("scipy.special")
    return lambda: (special.log_softmax(logits, -1),)


def log_bound(logits: Array) -> Array:
    """Bound the error of x - logsumexp(x), (N, 1): that of the sum, and roundings of the terms."""
    magnitude = 2 * np.abs(logits).max(-1, keepdims=True) + np.log(logits.shape[-1])
    return np.asarray(relative_error(logits) + 2 * EPS * magnitude.astype(np.float64))


def _log_softmax_expect(logits: Array) -> list[Expected]:
    exact = reference.log_softmax(logits.astype(np.float64))
    return [Expected("log_softmax", exact, log_bound(logits))]


def _logsumexp_softstep(logits: Array) -> Call:
    return lambda: (kernels.logsumexp(logits),)


def _logsumexp_numpy(logits: Array) -> Call:
    def call() -> tuple[Array]:
        maximum = logits.max(-1, keepdims=True)
        return (np.log(np.exp(logits - maximum).sum(-1)) + maximum[:, 0],)

    return call


def _logsumexp_torch(logits: Array) -> Call:
    torch = load("torch")
    (x,) = tensors(logits)
    return lambda: (torch.logsumexp(x, -1),)


def _logsumexp_jax(logits: Array) -> Call:
    nn = load("jax.nn")
    return jax_call(lambda x: (nn.logsumexp(x, -1),), logits)


def _logsumexp_scipy(logits: Array) -> Call:
    special = load("scipy.special")
    return lambda: (special.logsumexp(logits, -1),)


def _logsumexp_expect(logits: Array) -> list[Expected]:
    exact = reference.logsumexp(logits.astype(np.float64))
    return [Expected("logsumexp", exact, log_bound(logits)[:, 0])]


FLOORS = {
    "single": (),
    "minibatch": (Floor(3),),
    "mnist": (Floor(3),),
    "cifar100": (Floor(1.5),),
    "imagenet": (Floor(1.3, ours="softstep out="),),
    "vocabulary": (Floor(1.5, ours="softstep out="),),
}


def _cases(
    family: str,
    floors: Mapping[str, tuple[Floor, ...]],
    implementations: Mapping[str, Callable[[Array], Call]],
    expect: Callable[[Array], list[Expected]],
    quick: tuple[str, ...],
    outputs_per_row: int | None = None,
) -> list[Case[Array]]:
    cases = []
    for shape, held in floors.items():
        rows, classes = SHAPES[shape]
        cases.append(
            Case(
                family,
                shape,
                f"{rows} x {classes}",
                partial(make_logits, shape),
                implementations,
                expect,
                Work(4 * rows * classes, 4 * rows * (outputs_per_row or classes)),
                held,
                quick=shape in quick,
            )
        )
    return cases


CASES: tuple[Case[Any], ...] = (
    *_cases(
        "softmax",
        FLOORS,
        {
            "softstep": _softstep,
            "softstep out=": _softstep_out,
            "numpy": _numpy,
            "numpy out=": _numpy_out,
            "torch": _torch,
            "torch out=": _torch_out,
            "jax": _jax,
            "scipy": _scipy,
        },
        _expect,
        quick=("minibatch", "mnist", "cifar100", "imagenet"),
    ),
    *_cases(
        "log_softmax",
        {"mnist": (), "imagenet": ()},
        {
            "softstep": _log_softmax_softstep,
            "numpy": _log_softmax_numpy,
            "torch": _log_softmax_torch,
            "jax": _log_softmax_jax,
            "scipy": _log_softmax_scipy,
        },
        _log_softmax_expect,
        quick=(),
    ),
    *_cases(
        "logsumexp",
        {"mnist": (), "vocabulary": (Floor(5),)},
        {
            "softstep": _logsumexp_softstep,
            "numpy": _logsumexp_numpy,
            "torch": _logsumexp_torch,
            "jax": _logsumexp_jax,
            "scipy": _logsumexp_scipy,
        },
        _logsumexp_expect,
        quick=(),
        outputs_per_row=1,
    ),
)
