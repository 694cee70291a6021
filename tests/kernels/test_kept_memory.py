"""Calls keep nothing, whether they work or raise (RELIABILITY.md, line 11), on every level."""

from __future__ import annotations

import gc
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_cases import Array, random_labels, random_logits

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")


class Calls(NamedTuple):
    """Arrays, calls of them that work, and calls that raise."""

    arrays: list[Array]
    right: list[Callable[[], Any]]
    wrong: list[Callable[[], Any]]


def softmax_calls(rng: np.random.Generator) -> Calls:
    x, out, short = (random_logits(rng, (n, 10), np.float32) for n in (8, 8, 3))
    right = [
        lambda: kernels.softmax(x),
        lambda: kernels.softmax(x, out=out),
        lambda: kernels.logsumexp(x, 0),
        lambda: kernels.log_softmax_backward(x, out),
    ]
    wrong = [
        lambda: kernels.softmax(x, 2),
        lambda: kernels.log_softmax(x, out=short),
        lambda: kernels.softmax_backward(x, short),
    ]
    return Calls([x, out, short], right, wrong)


def cross_entropy_calls(rng: np.random.Generator) -> Calls:
    x, labels = random_logits(rng, (8, 10), np.float32), random_labels(rng, 8, 10)
    out, far, even = np.empty_like(x), np.full(8, 99), np.full_like(x, 0.1)
    right = [
        lambda: kernels.cross_entropy(x, labels, byproducts=("logsumexp", "predicted")),
        lambda: kernels.cross_entropy_with_grad(x, labels, out=out),
        lambda: kernels.cross_entropy_with_grad(x, even, label_smoothing=0.1),
    ]
    wrong = [
        lambda: kernels.cross_entropy(x, far),
        lambda: kernels.cross_entropy(x, labels[:3]),
        lambda: kernels.cross_entropy_with_grad(x, x, out=out),  # not distributions
        lambda: kernels.cross_entropy_with_grad(x, labels, class_weight=labels, out=out),
    ]
    return Calls([x, labels, out, far, even], right, wrong)


def linear_calls(rng: np.random.Generator) -> Calls:
    x, weight = np.ones((8, 5), np.float32), rng.normal(0, 1, (10, 5)).astype(np.float32)
    bias, dlogits, short = np.zeros(10, np.float32), np.ones((8, 10), np.float32), x[:3]
    right = [
        lambda: kernels.linear(x, weight, bias, activation="relu"),
        lambda: kernels.linear_backward(x, weight, dlogits),
    ]
    wrong = [
        lambda: kernels.linear(x, weight, bias, order=[8]),
        lambda: kernels.linear(x, dlogits),
        lambda: kernels.linear_backward(x, weight, dlogits, out={"dbias": bias, "dx": short}),
    ]
    return Calls([x, weight, bias, dlogits, short], right, wrong)


def linear_cross_entropy_calls(rng: np.random.Generator) -> Calls:
    x, weight = np.ones((8, 5), np.uint8), rng.normal(0, 1, (10, 5)).astype(np.float32)
    bias, labels, far = np.zeros(10, np.float32), random_labels(rng, 8, 10), np.full(8, 99)
    dx, short = np.empty((8, 5), np.float32), np.empty((3, 5), np.float32)
    layer = (x, weight, bias)
    names = ("logsumexp", "predicted")
    right = [
        lambda: kernels.linear_cross_entropy(*layer, labels, byproducts=names),
        lambda: kernels.linear_cross_entropy_with_grad(*layer, labels, out={"dx": dx}),
    ]
    wrong = [
        lambda: kernels.linear_cross_entropy(*layer, far),
        lambda: kernels.linear_cross_entropy(*layer, labels[:3]),
        lambda: kernels.linear_cross_entropy_with_grad(*layer, far, out={"dx": dx}),
        lambda: kernels.linear_cross_entropy_with_grad(*layer, labels, class_weight=bias - 1),
        lambda: kernels.linear_cross_entropy_with_grad(*layer, labels, out={"dx": short}),
    ]
    return Calls([*layer, labels, far, dx, short], right, wrong)


def loss_calls(rng: np.random.Generator) -> Calls:
    x, target = random_logits(rng, (8, 10), np.float32), rng.random((8, 10), np.float32)
    out, short = np.empty_like(x), x[:3]

    def both(function: Callable[..., Any], gradient: Callable[..., Any], name: str) -> Any:
        right: list[Callable[[], Any]] = [
            lambda: function(x, target, reduction="none"),
            lambda: gradient(x, target, **{name: target[0]}, out=out),
        ]
        wrong: list[Callable[[], Any]] = [
            lambda: function(x, short),
            lambda: function(x, target, reduction="all"),
            lambda: gradient(x, target, **{name: target[0, :3]}, out=out),
            lambda: gradient(x, target, out=short),
        ]
        return right, wrong

    right, wrong = both(kernels.mse_loss, kernels.mse_loss_with_grad, "weight")
    more, more_wrong = both(
        kernels.binary_cross_entropy_with_logits,
        kernels.binary_cross_entropy_with_logits_with_grad,
        "pos_weight",
    )
    more_wrong.append(lambda: kernels.binary_cross_entropy_with_logits(x, -target))
    return Calls([x, target, out, short], [*right, *more], [*wrong, *more_wrong])


def optimizer_calls(_rng: np.random.Generator) -> Calls:
    """Steps of several arrays, clipped; what raises is the last array, after the others."""
    shapes = ((10, 5), (10,), (3,))
    p, g, m, v, most = ([np.full(n, 0.5, np.float32) for n in shapes] for _ in range(5))
    short, doubles = [*g[:2], g[2][:1]], [*g[:2], g[2].astype(np.float64)]
    gapped = [*g[:2], np.ones(6, np.float32)[::2]]
    right = [
        lambda: kernels.sgd_step(p, g, m, lr=0.1, momentum=0.5, max_norm=1.0),
        lambda: kernels.sgd_step(p[0], g[0].tolist(), lr=0.1),
        lambda: kernels.rmsprop_step(
            p, g, v, grad_avg=most, momentum_buffer=m, momentum=0.5, max_norm=1.0
        ),
        lambda: kernels.adam_step(p, g, m, v, step=1, max_exp_avg_sq=most, max_norm=1.0),
        lambda: kernels.adamw_step(p, gapped, m, v, step=1, max_norm=1.0),
        lambda: kernels.clip_grad_norm(g, 0.1),
    ]
    wrong = [
        lambda: kernels.sgd_step(p, short, m, lr=0.1, momentum=0.5),
        lambda: kernels.sgd_step(p, g, doubles, lr=0.1, momentum=0.5),
        lambda: kernels.sgd_step(p, g, lr=-0.1, max_norm=1.0),
        lambda: kernels.rmsprop_step(p, g, short, max_norm=1.0),
        lambda: kernels.rmsprop_step(p, g, v, grad_avg=doubles),
        lambda: kernels.adam_step(p, g, m, v, step=1, max_exp_avg_sq=gapped),
        lambda: kernels.adamw_step(p, g, m, [*v[:2], m[2]], step=1, max_norm=1.0),
        lambda: kernels.clip_grad_norm(gapped, 1.0),
        lambda: kernels.clip_grad_norm(doubles, 1.0),
    ]
    return Calls([*p, *g, *m, *v, *most, short[2], doubles[2], gapped[2]], right, wrong)


def gather_calls(rng: np.random.Generator) -> Calls:
    pixels, floats = np.ones((8, 5), np.uint8), np.ones((8, 5), np.float32)
    order, far, scale = rng.integers(0, 8, 20), np.full(20, 8), np.ones(5)
    out = np.empty((20, 5), np.float32)
    right = [
        lambda: kernels.gather_rows(pixels, order, scale=scale, shift=0.5),
        lambda: kernels.gather_rows(floats, order, out=out),
        lambda: kernels.gather_rows(floats[:, ::-1]),
    ]
    wrong = [
        lambda: kernels.gather_rows(pixels, far, scale=scale),
        lambda: kernels.gather_rows(pixels, far, out=out),
        lambda: kernels.gather_rows(pixels, order, scale=scale[:3], out=out),
        lambda: kernels.gather_rows(floats, order, out=out[:3]),
        lambda: kernels.gather_rows(out, order, out=out),
    ]
    return Calls([pixels, floats, order, far, scale, out], right, wrong)


def training_calls(rng: np.random.Generator) -> Calls:
    x, labels, order = np.ones((8, 5), np.uint8), random_labels(rng, 8, 10), np.arange(8)
    weight, bias = rng.normal(0, 1, (10, 5)).astype(np.float32), np.zeros(10, np.float32)
    wide, target = rng.normal(0, 1, (40, 5)).astype(np.float32), np.ones((8, 40), np.float32)
    far, nan = np.full(8, 99), np.full((8, 5), np.nan, np.float32)
    moments = [np.zeros_like(array) for array in (weight, bias, weight, bias)]
    rule = kernels.OptimizerRule("adam", {"lr": 0.0}, [moments[:2], moments[2:]])
    options: dict[str, Any] = {"batch_size": 4, "lr": 0.0, "max_norm": 1.0}
    softmax, linear = kernels.train_softmax_regression, kernels.train_linear_regression
    right = [
        lambda: softmax(x, labels, order, weight, bias, **options),
        lambda: softmax(x, labels, order, weight, bias, batch_size=4, rule=rule),
        lambda: linear(x, target, order, wide, None, **options),
        lambda: kernels.train_mlp(x, labels, order, [weight, bias], **options),
        lambda: kernels.evaluate_softmax_regression(x, labels, weight, bias),
        lambda: kernels.evaluate_linear_regression(x, target, wide, None),
    ]
    wrong = [
        lambda: softmax(x, far, order, weight, bias, **options),
        lambda: softmax(nan, labels, order, weight, bias, **options),
        lambda: softmax(x, labels, order, weight, bias[:3], batch_size=4, rule=rule),
        lambda: linear(nan, target, order, wide, None, **options),
        lambda: linear(x, target, far, wide, None, **options),
        lambda: kernels.train_mlp(nan, labels, order, [weight, bias], **options),
        lambda: kernels.train_mlp(x, labels, order, [weight, bias[:3]], **options),
        lambda: kernels.evaluate_softmax_regression(x, far, weight, bias),
    ]
    arrays = [x, labels, order, weight, bias, wide, target, far, nan, *moments]
    return Calls(arrays, right, wrong)


FAMILIES = (
    softmax_calls, cross_entropy_calls, linear_calls, linear_cross_entropy_calls, loss_calls,
    optimizer_calls, gather_calls, training_calls,
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/statm")
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("works", [True, False], ids=["results", "errors"])
def test_ten_thousand_calls_keep_nothing(
    works: bool, family: Callable[..., Calls], rng: np.random.Generator
) -> None:
    """Under 1 MiB of growth over 10,000 calls of each, and reference counts as before."""
    arrays, right, wrong = family(rng)

    def calls(times: int) -> None:
        for _ in range(times):
            if works:
                for call in right:
                    call()
            else:
                for call in wrong:
                    with pytest.raises((IndexError, TypeError, ValueError, FloatingPointError)):
                        call()
        gc.collect()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE

    def references() -> list[int]:
        return [sys.getrefcount(one) for array in arrays for one in (array, array.dtype)]

    def grown() -> int:
        before = resident()
        calls(10_000)
        return resident() - before

    calls(200)
    counts = references()
    # Python's arenas and tables grow by a megabyte or two now and then; a leak grows every time.
    growth = [grown()]
    while growth[-1] >= 2**20 and len(growth) < 4:
        growth.append(grown())
    assert growth[-1] < 2**20, growth
    assert references() == counts
