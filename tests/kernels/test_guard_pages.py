"""No access outside the arrays (RELIABILITY.md, line 7), on every level.

Arrays end at an inaccessible page or start right after one, so that a byte too many is a
segmentation fault, and bytes around them are canaries. All lengths mod 16, and all offsets from
the page that the dtype's alignment allows.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from feature_cases import NARROW, random_features, random_rest
from kernel_cases import DTYPES, Array, random_labels, random_logits, same_bytes

from softstep import _native, kernels

pytestmark = [
    pytest.mark.usefixtures("level"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: mprotect through ctypes"),
]

CANARY = 0xA5
PAGE = mmap.PAGESIZE
LENGTHS = (*range(1, 18), *range(31, 50))
# From the last narrow rows to every length mod 16 of wide ones, and more than a block of a sum.
WIDE = (*range(126, 146), 160, 191, 193, 511, 513, 1000, 1023, 1025)


class Guarded:
    """Pages between two inaccessible ones, to place an array at either end of."""

    def __init__(self, pages: int = 8) -> None:
        self.size = pages * PAGE
        self.memory = mmap.mmap(-1, self.size + 2 * PAGE)
        everything = np.frombuffer(self.memory, np.uint8)
        start = everything.ctypes.data
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for guard in (start, start + PAGE + self.size):
            assert protect(guard, PAGE, 0) == 0, ctypes.get_errno()
        self.inside = everything[PAGE : PAGE + self.size]
        self.inside[:] = CANARY

    def place(self, values: Array, *, at_end: bool, offset: int = 0) -> Array:
        """``values`` so many bytes from the last or the first page; the rest are canaries."""
        assert values.nbytes + offset <= self.size
        self.begin = self.size - values.nbytes - offset if at_end else offset
        self.end = self.begin + values.nbytes
        self.inside[:] = CANARY
        array = self.inside[self.begin : self.end].view(values.dtype).reshape(values.shape)
        array[...] = values
        return array

    def intact(self) -> bool:
        around = (self.inside[: self.begin], self.inside[self.end :])
        return all((part == CANARY).all() for part in around)


@pytest.fixture(scope="module")
def regions() -> list[Guarded]:
    return [Guarded(16) for _ in range(11)]


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


def check_at_pages(
    case: Case, what: str, regions: list[Guarded], places: Iterable[tuple[bool, int]]
) -> None:
    """The call gives what it gives elsewhere, at the end or the start and so many bytes from it."""
    function, arguments, changed = case
    plain = [argument.copy() for argument in arguments]
    wanted = function(*plain)
    for at_end, moved in places:
        placed = [
            region.place(
                argument, at_end=at_end, offset=moved // argument.itemsize * argument.itemsize
            )
            for region, argument in zip(regions, arguments, strict=False)
        ]
        got = function(*placed)
        where = f"{what}, {moved} bytes from the page"
        if got is not None:
            assert same_bytes(got, wanted), where
        for number, (array, copy) in enumerate(zip(placed, plain, strict=True)):
            assert same_bytes(array, copy), f"{where}: argument {number}"
            if number >= changed:
                assert same_bytes(array, arguments[number]), f"{where}: input changed"
            assert regions[number].intact(), f"{where}: wrote outside"


def check_all(
    several: dict[str, Case], what: str, regions: list[Guarded], *, at_end: bool, offset: int
) -> None:
    """Each of them, right at a page and so many bytes from it."""
    for name, case in several.items():
        check_at_pages(case, f"{name}, {what}", regions, ((at_end, 0), (at_end, offset)))


at_both_ends = pytest.mark.parametrize(
    "at_end", [True, False], ids=["before a page", "after a page"]
)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    for length in LENGTHS:
        offset = length % 16 * np.dtype(dtype).itemsize
        several, what = cases(rng, length, dtype), f"{length} columns"
        check_all(several, what, regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_wide_rows(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    """More columns than a block of rows in the lanes takes, along rows and across them."""
    for length in WIDE:
        offset = length % 16 * np.dtype(dtype).itemsize
        rows, inner = (1 + int(rng.integers(min(most, 3900 // length))) for most in (5, 17))
        for several in (
            axis_cases(rng, (rows, length), -1, dtype),
            axis_cases(rng, (length, inner), 0, dtype),
            cross_entropy_cases(rng, rows, length, dtype),
        ):
            check_all(several, f"{length} columns", regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_past_the_caches(
    dtype: Any, at_end: bool, rng: np.random.Generator
) -> None:
    """Results of more than 8 MiB, which are written past the caches."""
    columns, size = int(rng.integers(520, 600)), np.dtype(dtype).itemsize
    rows = (8 << 20) // (columns * size) + 1
    x, labels = random_logits(rng, (rows, columns), dtype), random_labels(rng, rows, columns)
    order = rng.permutation(rows)
    calls: dict[str, Callable[[Array, Array], Any]] = {
        "softmax": lambda out, x: kernels.softmax(x, out=out),
        "log_softmax": lambda out, x: kernels.log_softmax(x, out=out),
        "cross_entropy_with_grad": lambda out, x: kernels.cross_entropy_with_grad(
            x, labels, out=out
        ),
        "gather_rows": lambda out, x: kernels.gather_rows(x, order, out=out),
        "gather_rows in order": lambda out, x: kernels.gather_rows(x, out=out),
    }
    regions = [Guarded((8 << 20) // PAGE + 4) for _ in range(2)]
    offset = int(rng.integers(1, 16)) * size
    several: dict[str, Case] = {
        name: (function, [np.zeros_like(x), x], 1) for name, function in calls.items()
    }
    check_all(several, f"{rows} rows of {columns}", regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
@at_both_ends
def test_no_access_outside_with_many_outputs(
    dtype: Any, at_end: bool, regions: list[Guarded], rng: np.random.Generator
) -> None:
    for outputs, columns in (
        *((33 + length % 16, length) for length in (*LENGTHS, *WIDE) if length < 146),
        *((length, int(rng.integers(1, 7))) for length in WIDE),
    ):
        offset = outputs % 16 * np.dtype(dtype).itemsize
        several, what = many_outputs(rng, outputs, columns, dtype), f"{outputs} x {columns}"
        check_all(several, what, regions, at_end=at_end, offset=offset)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_offset(dtype: Any, regions: list[Guarded], rng: np.random.Generator) -> None:
    """Every offset within a cache line that the alignment allows, for every length mod 16."""
    for length in range(16, 32):
        x = random_logits(rng, (3, length), dtype)
        labels = random_labels(rng, 3, length)
        wanted = kernels.cross_entropy_with_grad(x, labels)
        soft = kernels.softmax(x)
        for offset in range(0, 64, np.dtype(dtype).itemsize):
            for at_end in (True, False):
                given = regions[0].place(x, at_end=at_end, offset=offset)
                assert same_bytes(kernels.cross_entropy_with_grad(given, labels), wanted)
                out = regions[1].place(x, at_end=at_end, offset=64 - offset)
                kernels.softmax(given, out=out)
                assert same_bytes(out, soft)
                assert regions[0].intact()
                assert regions[1].intact()


def test_byte_rows_at_every_offset(regions: list[Guarded], rng: np.random.Generator) -> None:
    """Rows of uint8 have no alignment: every length and offset, at both ends of the pages."""
    for length in range(1, 50):
        pixels = rng.integers(0, 256, (2, length), np.uint8)
        weight, bias = rng.normal(0, 1, (3, length)).astype(np.float32), np.zeros(3, np.float32)
        target = [0, 2]
        wanted = kernels.evaluate_softmax_regression(pixels, target, weight, bias, scale=0.01)
        for offset in range(0, 64, 3):
            for at_end in (True, False):
                given = regions[0].place(pixels, at_end=at_end, offset=offset)
                got = kernels.evaluate_softmax_regression(given, target, weight, bias, scale=0.01)
                assert got == wanted


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [*NARROW, "of the weight's type"])
def test_linear_of_every_type_and_path(
    features: str, dtype: Any, regions: list[Guarded], rng: np.random.Generator
) -> None:
    """All that linear reads and writes stands at a page, as rows, columns and outputs end."""
    name = features if features in NARROW else np.dtype(dtype).name
    native = _native.module

    def forward(out: Array, x: Array, weight: Array, bias: Array, scale: Array) -> None:
        native.linear(out, bits(x), weight, bias, None, scale, scale, "tanh", 1)

    def plain(out: Array, x: Array, weight: Array, bias: Array) -> None:
        native.linear(out, bits(x), weight, bias, None, None, None, "none", 1)

    def ordered(out: Array, x: Array, weight: Array, bias: Array, order: Array) -> None:
        native.linear(out, bits(x), weight, bias, order, None, None, "none", 1)

    def backward(
        dx: Array, dweight: Array, dbias: Array, x: Array, weight: Array, g: Array
    ) -> None:
        activation = "relu" if x.dtype == weight.dtype else "none"
        native.linear_backward(
            dx, dweight, dbias, bits(x), weight, g, None, None, None, activation, 1
        )

    for length in LENGTHS:
        other = int(rng.integers(1, 18))
        # few outputs, few rows, large, and outputs in the lanes, in all three sizes
        for n, k, c in (
            (other, length, 5), (length, other, 32), (other, length, 35), (7, other, 32 + length),
            (34, length, 37), (32 + length, other, 33), (33, other, 32 + length),
            (length, 3, 1), (9, 32 + length, 8), (3 + length, 40, 16), (5, 33, 8 + length),
        ):  # fmt: skip
            x = random_features(rng, (n, k), name)
            weight, bias, dlogits = random_rest(rng, n, k, c, dtype)
            out, scale = np.zeros((n, c), dtype), np.full(k, 0.5, dtype)
            gradients = [np.zeros(shape, dtype) for shape in ((n, k), (c, k), c)]
            order = rng.integers(0, n, n)
            for function, changed, arguments in (
                (plain, 1, [out, x, weight, bias]),
                (forward, 1, [out, x, weight, bias, scale]),
                (ordered, 1, [out, x, weight, bias, order]),
                (backward, 3, [*gradients, x, weight, dlogits]),
            ):
                offset = int(rng.integers(0, 128))
                places = ((True, 0), (False, 0), (bool(length % 2), offset))
                what = f"{function.__name__}, {(n, k, c)}"
                check_at_pages((function, arguments, changed), what, regions, places)


def bits(x: Array) -> Array:
    """bfloat16 as native functions take it."""
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x
