"""Calls of every kernel whose arrays the tests of guard pages place at a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from kernel_cases import Array, random_labels, random_logits

from softstep import kernels

Case = tuple[Callable[..., Any], list[Array], int]


def axis_cases(
    rng: np.random.Generator, shape: tuple[int, int], axis: int, dtype: Any
) -> dict[str, Case]:
    """Softmax, its relatives and their gradients along an axis; rows may have gaps."""
    x = random_logits(rng, shape, dtype)
    gaps = random_logits(rng, (shape[0], 2 * shape[1] - 1), dtype)
    nowhere, even = np.zeros_like(x), np.full_like(x, 1 / shape[axis])
    sums = np.zeros(np.delete(shape, axis), dtype)
    calls: dict[str, Case] = {
        "softmax": (lambda out, x: kernels.softmax(x, axis, out=out), [nowhere, x], 1),
        "softmax in place": (lambda x: kernels.softmax(x, axis, out=x), [x], 1),
        "log_softmax": (lambda out, x: kernels.log_softmax(x, axis, out=out), [nowhere, x], 1),
        "logsumexp": (lambda out, x: kernels.logsumexp(x, axis, out=out), [sums, x], 1),
        "softmax_backward": (
            lambda out, g, p: kernels.softmax_backward(g, p, axis, out=out),
            [nowhere, x, even],
            1,
        ),
        "log_softmax_backward": (
            lambda out, g, q: kernels.log_softmax_backward(g, q, axis, out=out),
            [nowhere, x, np.log(even)],
            1,
        ),
        "softmax of every other column": (
            lambda out, x: kernels.softmax(x[:, ::2], axis, out=out),
            [nowhere, gaps],
            1,
        ),
        "softmax_backward of every other column": (
            lambda out, g, p: kernels.softmax_backward(g[:, ::2], p, axis, out=out),
            [nowhere, gaps, even],
            1,
        ),
    }
    return {f"{name}, axis {axis}": case for name, case in calls.items()}


def cross_entropy_cases(
    rng: np.random.Generator, rows: int, classes: int, dtype: Any
) -> dict[str, Case]:
    """Cross-entropy of logits and its gradient, of labels and of distributions."""
    x, labels = random_logits(rng, (rows, classes), dtype), random_labels(rng, rows, classes)
    nowhere, even, losses = np.zeros_like(x), np.full_like(x, 1 / classes), np.zeros(rows, dtype)
    weights = [np.ones(classes, dtype), np.ones(rows, dtype)]

    def plain(out: Array, x: Array, t: Array) -> Any:
        return kernels.cross_entropy(x, t, reduction="none", out=out)

    def weighted(out: Array, x: Array, t: Array, w: Array, s: Array) -> Any:
        return kernels.cross_entropy(
            x, t, class_weight=w, sample_weight=s, label_smoothing=0.125, reduction="none", out=out
        )

    def gradient(out: Array, x: Array, t: Array, w: Array, s: Array) -> Any:
        return kernels.cross_entropy_with_grad(
            x, t, class_weight=w, sample_weight=s, label_smoothing=0.125, out=out,
            byproducts=("row_loss", "logsumexp", "predicted", "correct"),
        )  # fmt: skip

    return {
        "cross_entropy": (plain, [losses, x, labels], 1),
        "cross_entropy of distributions": (plain, [losses, x, even], 1),
        "cross_entropy, all options": (weighted, [losses, x, labels, *weights], 1),
        "cross_entropy_with_grad": (
            lambda out, x, t: kernels.cross_entropy_with_grad(x, t, out=out),
            [nowhere, x, labels],
            1,
        ),
        "cross_entropy_with_grad in place": (
            lambda x, t: kernels.cross_entropy_with_grad(x, t, out=x),
            [x, labels],
            1,
        ),
        "cross_entropy_with_grad, all options": (gradient, [nowhere, x, labels, *weights], 1),
        "cross_entropy_with_grad of distributions": (gradient, [nowhere, x, even, *weights], 1),
    }


def row_order(rng: np.random.Generator, rows: int) -> Array:
    """Rows at random, and those that stand at a page: the first and the last."""
    return np.append(rng.integers(0, rows, 2 * rows - 1), [0, rows - 1])


def many_outputs(
    rng: np.random.Generator, outputs: int, columns: int, dtype: Any
) -> dict[str, Case]:
    """Calls of more outputs than the narrow ways take: few rows, or more than 32."""
    rows = int(rng.integers(1, min(41, 7000 // outputs)))
    batch = int(rng.choice([5, 34]))
    x = random_logits(rng, (rows, columns), dtype)
    pixels = rng.integers(0, 256, (rows, columns), np.uint8)
    labels, target = random_labels(rng, rows, outputs), random_logits(rng, (rows, outputs), dtype)
    order = row_order(rng, rows)
    weight = rng.normal(0, 1, (outputs, columns)).astype(dtype)
    parameters = [weight, np.ones(outputs, dtype)]
    zeros = [np.zeros_like(array) for array in parameters]
    affine = [np.full(columns, 1 / 255, dtype), np.full(columns, 0.5, dtype)]
    losses, outs = np.zeros(rows, dtype), [np.zeros((rows, columns), dtype), *zeros]

    def train(kind: str) -> Callable[..., Any]:
        function = getattr(kernels, f"train_{kind}_regression")
        return lambda w, b, dw, db, x, t, order, scale, shift: function(
            x, t, order, w, b, batch_size=batch, lr=0.01, momentum=0.5,
            momentum_buffers=(dw, db), scale=scale, shift=shift,
        )  # fmt: skip

    def evaluate(kind: str) -> Callable[..., Any]:
        function = getattr(kernels, f"evaluate_{kind}_regression")
        return lambda x, t, w, b, order, scale, shift: function(
            x, t, w, b, order=order, scale=scale, shift=shift
        )

    def gradients(
        dx: Array, dw: Array, db: Array, x: Array, w: Array, b: Array, t: Array, *more: Array
    ) -> Any:
        class_weight, sample_weight, scale, shift = more or [None] * 4
        return kernels.linear_cross_entropy_with_grad(
            x, w, b, t, class_weight=class_weight, sample_weight=sample_weight, scale=scale,
            shift=shift, out={"dx": dx, "dweight": dw, "dbias": db},
        )  # fmt: skip

    calls: dict[str, Case] = {}
    for name, rows_of in (("floats", x), ("bytes", pixels)):
        for kind, wanted in (("softmax", labels), ("linear", target)):
            calls[f"train_{kind}_regression of {name}"] = (
                train(kind),
                [*parameters, *zeros, rows_of, wanted, order, *affine],
                4,
            )
            calls[f"evaluate_{kind}_regression of {name}"] = (
                evaluate(kind),
                [rows_of, wanted, *parameters, order, *affine],
                0,
            )
        calls[f"linear_cross_entropy_with_grad of {name}"] = (
            gradients,
            [*outs, rows_of, *parameters, labels, np.ones(outputs, dtype), losses + 1, *affine],
            3,
        )
    calls["linear_cross_entropy"] = (
        lambda out, *rest: kernels.linear_cross_entropy(*rest, reduction="none", out=out),
        [losses, x, *parameters, labels],
        1,
    )
    calls["linear_cross_entropy_with_grad"] = (gradients, [*outs, x, *parameters, labels], 3)
    return calls


def cases(rng: np.random.Generator, length: int, dtype: Any) -> dict[str, Case]:
    """Calls of arrays with this many columns: function, arguments, how many of them it changes."""
    rows = int(rng.integers(1, 20))
    x = random_logits(rng, (rows, length), dtype)
    labels = random_labels(rng, rows, length)
    classes = int(rng.integers(1, 14))
    weight, bias = rng.normal(0, 1, (classes, length)).astype(dtype), np.ones(classes, dtype)
    dlogits = rng.normal(0, 1, (rows, classes)).astype(dtype)
    narrow = random_labels(rng, rows, classes, np.uint8)
    order = row_order(rng, rows)
    pixels = rng.integers(0, 256, (rows, length), np.uint8)

    def train(weight: Array, bias: Array, momentum: Array, velocity: Array, *data: Array) -> Any:
        return kernels.train_softmax_regression(
            *data, order, weight, bias, batch_size=5, lr=0.1, momentum=0.5, scale=1 / 255,
            momentum_buffers=(momentum, velocity),
        )  # fmt: skip

    def regress(weight: Array, bias: Array, rows: Array, target: Array) -> Any:
        return kernels.train_linear_regression(
            rows, target, order, weight, bias, batch_size=5, lr=1e-7
        )

    def multilayer(w1: Array, b1: Array, w2: Array, b2: Array, rows: Array, target: Array) -> Any:
        return kernels.train_mlp(
            rows, target, order, [w1, b1, w2, b2], batch_size=5, lr=0.1, max_norm=1.0
        )

    zeros = [np.zeros_like(weight), np.zeros_like(bias)]
    ones = np.ones(length, dtype)
    nowhere, many = np.zeros((rows, length), dtype), np.ones((34, length), dtype)
    return {
        **axis_cases(rng, (rows, length), -1, dtype),
        **axis_cases(rng, (rows, length), 0, dtype),
        **cross_entropy_cases(rng, rows, length, dtype),
        "linear": (
            lambda out, x, w, b: kernels.linear(x, w, b, out=out),
            [np.zeros((rows, classes), dtype), x, weight, bias],
            1,
        ),
        "linear_backward": (kernels.linear_backward, [x, weight, dlogits], 0),
        "linear of many outputs": (
            lambda out, x, w: kernels.linear(x, w, out=out),
            [np.zeros((classes, rows), dtype), weight, x],
            1,
        ),
        "mse_loss_with_grad": (
            lambda out, p, t: kernels.mse_loss_with_grad(p[0], t[0], out=out),
            [np.zeros(length, dtype), x[:1], x[-1:] + 1],
            1,
        ),
        "binary_cross_entropy_with_logits_with_grad": (
            lambda out, x, t, w, p: kernels.binary_cross_entropy_with_logits_with_grad(
                x, t, weight=w, pos_weight=p, out=out
            ),
            [nowhere, x, np.full_like(x, 0.25), np.ones_like(x), np.full(length, 2, dtype)],
            1,
        ),
        "mse_loss_with_grad, weighted": (
            lambda out, p, t, w: kernels.mse_loss_with_grad(p, t, weight=w, out=out),
            [nowhere, x, x + 1, np.ones_like(x)],
            1,
        ),
        "linear_cross_entropy_with_grad": (
            lambda x, w, b, t: kernels.linear_cross_entropy_with_grad(x, w, b, t),
            [x, weight, bias, labels % classes],
            0,
        ),
        "linear_cross_entropy_with_grad of many classes": (
            lambda x, w, t: kernels.linear_cross_entropy_with_grad(x, w, None, t),
            [many, np.ones((35, length), dtype), np.arange(34) % 35],
            0,
        ),
        "rmsprop_step": (
            lambda p, s, a, b, g: kernels.rmsprop_step(
                p, g, s, lr=0.1, grad_avg=a, momentum_buffer=b, momentum=0.5, weight_decay=0.1
            ),
            [x[0].copy(), *(np.full(length, v, dtype) for v in (0.5, 0.125, 0.25, 1))],
            4,
        ),
        "adamw_step, clipped": (
            lambda p, m, v, most, g: kernels.adamw_step(
                p, g, m, v, lr=0.1, step=2, max_exp_avg_sq=most, max_norm=0.5
            ),
            [x[0].copy(), *(np.full(length, v, dtype) for v in (0.125, 0.5, 0.75, 1))],
            4,
        ),
        "clip_grad_norm": (
            lambda g, h: kernels.clip_grad_norm([g, h], 0.5),
            [x[0].copy(), x[-1].copy()],
            2,
        ),
        "sgd_step": (
            lambda p, b, g: kernels.sgd_step(p, g, b, lr=0.1, momentum=0.9, weight_decay=0.1),
            [x[0].copy(), x[-1].copy(), np.ones(length, dtype)],
            2,
        ),
        "train float rows": (train, [weight, bias, *zeros, x, narrow], 4),
        "train byte rows": (train, [weight, bias, *zeros, pixels, narrow], 4),
        "train_linear": (regress, [weight, bias, x, dlogits], 2),
        "gather_rows": (
            lambda out, x, s, t: kernels.gather_rows(x, order, scale=s, shift=t, out=out),
            [np.zeros((2 * rows + 1, length), dtype), pixels, ones, ones],
            1,
        ),
        "gather_rows as they are": (
            lambda out, x: kernels.gather_rows(x, order, out=out),
            [np.zeros((2 * rows + 1, length), dtype), x],
            1,
        ),
        "gather_rows in order": (
            lambda out, x: kernels.gather_rows(x, out=out),
            [np.zeros((rows, length), dtype), x],
            1,
        ),
        "train_mlp": (
            multilayer,
            [
                weight,
                bias,
                rng.normal(0, 1, (7, classes)).astype(dtype),
                np.ones(7, dtype),
                x,
                random_labels(rng, rows, 7),
            ],
            4,
        ),
        "evaluate": (
            kernels.evaluate_softmax_regression,
            [pixels, narrow, weight, bias],
            0,
        ),
    }
