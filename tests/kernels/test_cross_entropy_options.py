"""cross_entropy with weights, smoothing, distributions and by-products, on every level.

The oracle is the formula of `softstep.kernels.cross_entropy` in extended precision.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    FEW_SIZES,
    Array,
    Exact,
    LongDouble,
    assert_close,
    eps,
    misaligned,
    random_labels,
    random_logits,
    read_only,
    same_bytes,
    sum_bound,
    tiny,
)

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

REDUCTIONS = ("mean", "sum", "none")
WIDTHS = (*FEW_SIZES, 64, 127, 128, 129, 784, 1000)
ALL = ("row_loss", "logsumexp", "predicted", "correct")


def random_distributions(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
    """Rows that sum to 1 to a few eps, some with most of their entries 0."""
    p = rng.random(shape) ** rng.choice([1, 5], (shape[0], 1)) + 1e-3
    p *= rng.random(shape) < rng.choice([0.2, 1.0], (shape[0], 1))
    p[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] += 0.5
    return (p / p.sum(1, keepdims=True)).astype(dtype)


def random_weights(rng: np.random.Generator, count: int, dtype: Any) -> Array:
    """From 0 (one in eight of them) to 3."""
    return (rng.uniform(0, 3, count) * (rng.random(count) > 0.125)).astype(dtype)


def random_options(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if rng.random() < 0.6:
        options["class_weight"] = random_weights(rng, shape[1], dtype)
    if rng.random() < 0.6:
        options["sample_weight"] = random_weights(rng, shape[0], dtype)
    if rng.random() < 0.6:
        options["label_smoothing"] = float(rng.choice([0.01, 0.1, 0.5, 1.0]))
    return options


def random_target(rng: np.random.Generator, shape: tuple[int, int], dtype: Any) -> Array:
    if rng.random() < 0.5:
        return random_distributions(rng, shape, dtype)
    labels = random_labels(rng, *shape)
    labels[rng.random(shape[0]) < 0.1] = -100
    return labels


class Wanted:
    """Losses and gradients in extended precision, and how far the kernels may be off."""

    def __init__(self, x: Array, target: Array, options: dict[str, Any]) -> None:
        rows, classes = x.shape
        unit = eps(x.dtype)
        exact = Exact(x)
        w = np.asarray(options.get("class_weight", np.ones(classes)), LongDouble)
        self.s = np.asarray(options.get("sample_weight", np.ones(rows)), LongDouble)
        smoothing = LongDouble(options.get("label_smoothing", 0))
        self.counted = np.ones(rows, bool)
        self.indices = target.ndim == 1
        if self.indices:
            self.counted = target != -100
            self.right = np.where(self.counted, target, 0)
            p = np.eye(classes, dtype=LongDouble)[self.right]
            self.divisor = (self.s * w[self.right])[self.counted].sum()
        else:
            p, self.right = target.astype(LongDouble), target.argmax(1)
            self.divisor = self.s.sum()
        mass = w * ((1 - smoothing) * p + smoothing / classes)
        total = mass.sum(1, keepdims=True)
        keep = self.s * self.counted
        losses = total[:, 0] * exact.log_rest[:, 0] + (mass * exact.distance).sum(1)
        self.losses = keep * losses
        # The logarithm's own bound; and, relative too as every term is positive: a mass is rounded
        # four times, a term twice, 32 of them are added before the sum goes on in double; two
        # weights, and their own products.
        self.loss_bound = self.losses * (exact.relative_loss_bound(x.dtype) + 24 * unit)
        self.loss_bound = self.loss_bound + keep * tiny(x.dtype) * np.maximum(total[:, 0], 1)
        if self.indices and not smoothing:
            own = total * exact.gradients(self.right)
            bound = total * exact.gradient_bound(self.right, x.dtype) + 4 * unit * np.abs(own)
        else:
            own = total * exact.softmax - mass
            bound = total * (exact.softmax_bound(x.dtype) + 24 * unit * exact.softmax)
            bound = bound + 4 * unit * (mass + np.abs(own))
        self.gradients = keep[:, None] * own
        self.gradient_bound = keep[:, None] * bound + tiny(x.dtype)
        self.logsumexp = exact.logsumexp
        # log1p's bound and the rounding of the sum with the maximum.
        self.logsumexp_bound = 20 * unit * (np.abs(x).max(1) + exact.log_rest[:, 0])
        self.predicted = x.argmax(1)
        self.correct = int(((self.predicted == self.right) & self.counted).sum())


def check(x: Array, target: Array, options: dict[str, Any], what: str) -> None:
    wanted = Wanted(x, target, options)
    total_bound = wanted.loss_bound.sum() + sum_bound(len(x), x.dtype) * wanted.losses.sum()
    divisor = wanted.divisor
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = wanted.losses.sum() / divisor if divisor else LongDouble(np.nan)
        mean_bound = total_bound / divisor if divisor else 0
    for reduction, loss, bound, over in (
        ("none", wanted.losses, wanted.loss_bound, 1),
        ("sum", wanted.losses.sum(), total_bound, 1),
        ("mean", mean, mean_bound, divisor or np.inf),
    ):
        given = {"reduction": reduction, "byproducts": ALL, **options}
        where = f"{what}, {reduction}, {sorted(options)}, {options.get('label_smoothing')}"
        got, dlogits, found = kernels.cross_entropy_with_grad(x, target, **given)
        assert got.dtype == dlogits.dtype == x.dtype, where
        assert_close(got, loss, bound, f"loss, {where}")
        bound = wanted.gradient_bound / over + 2 * eps(x.dtype) * np.abs(wanted.gradients) / over
        assert_close(dlogits, wanted.gradients / over, bound + tiny(x.dtype), f"gradient, {where}")
        assert not dlogits[~wanted.counted].any(), f"gradient of ignored rows, {where}"
        assert_close(found.row_loss, wanted.losses, wanted.loss_bound, f"row losses, {where}")
        assert_close(found.logsumexp, wanted.logsumexp, wanted.logsumexp_bound, f"lse, {where}")
        assert found.predicted.dtype == np.int64
        np.testing.assert_array_equal(found.predicted, wanted.predicted, err_msg=where)
        assert type(found.correct) is int
        assert found.correct == wanted.correct, where
        # Alone, and without asking for more: the same bits.
        assert same_bytes(kernels.cross_entropy(x, target, **given), (got, found)), where
        del given["byproducts"]
        assert same_bytes(kernels.cross_entropy(x, target, **given), got), where
        assert same_bytes(kernels.cross_entropy_with_grad(x, target, **given), (got, dlogits))
        in_place = x.copy()
        kernels.cross_entropy_with_grad(in_place, target, out=in_place, **given)
        assert same_bytes(in_place, dlogits), f"in place, {where}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "spread", "ties"])
def test_every_width(dtype: Any, kind: str, rng: np.random.Generator) -> None:
    for classes in WIDTHS:
        x = read_only(random_logits(rng, (19, classes), dtype, kind))
        for _ in range(2):
            target = read_only(random_target(rng, x.shape, dtype))
            check(x, target, random_options(rng, x.shape, dtype), f"{classes} classes")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_height(dtype: Any, rng: np.random.Generator) -> None:
    for rows in (*range(18), 31, 33, 65):
        for classes in (1, 3, 130):
            x = random_logits(rng, (rows, classes), dtype)
            target = random_target(rng, x.shape, dtype)
            check(x, target, random_options(rng, x.shape, dtype), f"{x.shape}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_streamed_rows(dtype: Any, rng: np.random.Generator) -> None:
    """Equal bytes for any thread count; (300, 8009) is written past the caches."""
    for shape in ((9_011, 10), (1_003, 130), (300, 8_009), (1, 300_007)):
        x = random_logits(rng, shape, dtype)
        for target in (random_labels(rng, *shape), random_distributions(rng, shape, dtype)):
            for options in ({}, random_options(rng, shape, dtype)):
                given = {"byproducts": ALL, **options}
                wanted = kernels.cross_entropy_with_grad(x, target, threads=1, **given)
                for threads in (2, 3, 7):
                    got = kernels.cross_entropy_with_grad(x, target, threads=threads, **given)
                    assert same_bytes(got, wanted), f"{shape}, {threads} threads"
                # Streamed or not, in scratch or in place.
                in_place = x.copy()
                kernels.cross_entropy_with_grad(in_place, target, out=in_place, **options)
                assert same_bytes(in_place, wanted[1]), f"{shape}, in place"


@pytest.mark.parametrize("dtype", DTYPES)
def test_streamed_rows_at_every_offset(dtype: Any, rng: np.random.Generator) -> None:
    """Gradients that start anywhere in a vector, and a canary on either side."""
    size = np.dtype(dtype).itemsize
    shape = (2**24 // size // 5_003, 5_003)
    x, labels = random_logits(rng, shape, dtype), random_labels(rng, *shape)
    wanted = kernels.cross_entropy_with_grad(x[:50], labels[:50], reduction="sum")[1]
    for offset in (1, 3, 64 // size - 1):
        memory = np.full(x.size + 64, 7, dtype)
        out = memory[offset : offset + x.size].reshape(shape)
        kernels.cross_entropy_with_grad(x, labels, reduction="sum", out=out)
        assert same_bytes(out[:50], wanted)
        assert (memory[:offset] == 7).all()
        assert (memory[offset + x.size :] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_alone_equals_row_in_batch(dtype: Any, rng: np.random.Generator) -> None:
    for classes in WIDTHS:
        x = random_logits(rng, (19, classes), dtype)
        target = random_target(rng, x.shape, dtype)
        options = random_options(rng, x.shape, dtype)
        batch = kernels.cross_entropy_with_grad(
            x, target, reduction="none", byproducts=ALL[:3], **options
        )
        for row in (0, 8, 17, 18):
            one = slice(row, row + 1)
            if "sample_weight" in options:
                alone = {**options, "sample_weight": options["sample_weight"][one]}
            else:
                alone = options
            got = kernels.cross_entropy_with_grad(
                x[one], target[one], reduction="none", byproducts=ALL[:3], **alone
            )
            what = f"{classes} classes, row {row}, {sorted(options)}"
            assert same_bytes(got[:2], tuple(part[one] for part in batch[:2])), what
            for name in ALL[:3]:
                assert same_bytes(getattr(got[2], name), getattr(batch[2], name)[one]), what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_row_changes_no_other(dtype: Any, poison: float, rng: np.random.Generator) -> None:
    for classes in FEW_SIZES:
        x = random_logits(rng, (21, classes), dtype)
        target = random_target(rng, x.shape, dtype)
        given = {"reduction": "none", "byproducts": ALL[:3], **random_options(rng, x.shape, dtype)}
        clean = kernels.cross_entropy_with_grad(x, target, **given)
        for row in (0, 16, 20):
            bad = x.copy()
            bad[row, classes // 2] = poison
            got = kernels.cross_entropy_with_grad(bad, target, **given)
            keep = np.arange(21) != row
            for new, old in zip((*got[:2], *got[2][:3]), (*clean[:2], *clean[2][:3]), strict=True):
                assert same_bytes(new[keep], old[keep]), f"{classes} classes, row {row}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_keep_small_losses_exact(dtype: Any) -> None:
    """At a margin of 20 the weighted loss has all its digits, the gradient minus the others'."""
    for classes in (2, 130):
        x = np.full((1, classes), -1e3, dtype)
        x[0, :2] = 20, 0
        weight = np.full(classes, 0.5, dtype)
        loss, gradient = kernels.cross_entropy_with_grad(
            x, [0], class_weight=weight, sample_weight=[4.0], reduction="sum"
        )
        assert abs(loss / (2 * 2.061153620314381e-09) - 1) <= 19 * eps(dtype)
        assert gradient[0, 0] == -gradient[0, 1] != 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_distributions_of_any_dtype_and_layout(dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (6, 4), dtype)
    exact = np.array([[0.25, 0.5, 0.25, 0], [1, 0, 0, 0], [0, 0, 0.125, 0.875]] * 2)
    wanted = kernels.cross_entropy_with_grad(x, exact.astype(dtype))
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for given in (np.float16, np.float32, np.float64, np.longdouble, ml_dtypes.bfloat16):
        assert same_bytes(kernels.cross_entropy_with_grad(x, exact.astype(given)), wanted), given
    native = exact.astype(dtype)
    spaced = np.zeros((12, 8), dtype)
    spaced[::2, ::2] = native
    swapped = native.astype(native.dtype.newbyteorder(">"))
    for case in (
        spaced[::2, ::2], np.asfortranarray(native), swapped, misaligned(native),
        read_only(native.copy()), exact.tolist(), native[::-1].copy()[::-1],
    ):  # fmt: skip
        assert same_bytes(kernels.cross_entropy_with_grad(x, case), wanted)
    whole = np.eye(4)[[0, 3, 1, 1, 2, 0]]
    wanted = kernels.cross_entropy_with_grad(x, whole)
    for given in (np.int8, np.uint16, np.int64, np.uint64):
        assert same_bytes(kernels.cross_entropy_with_grad(x, whole.astype(given)), wanted), given


def test_other_floats_are_refused() -> None:
    """Floats of 8 bits are none of NumPy's, and what they round to is for their owner to say."""
    x, even = np.zeros((2, 2)), np.full((2, 2), 0.5)
    narrow = pytest.importorskip("ml_dtypes").float8_e5m2
    calls: list[tuple[str, Any]] = [
        ("target", lambda: kernels.cross_entropy(x, even.astype(narrow))),
        ("target", lambda: kernels.linear_cross_entropy(x, x, None, even.astype(narrow))),
        ("scale", lambda: kernels.linear(x, x, scale=even[0].astype(narrow))),
    ]
    calls += [
        (name, lambda name=name: kernels.cross_entropy(x, [0, 1], **{name: even[0].astype(narrow)}))
        for name in ("class_weight", "sample_weight")
    ]
    for name, call in calls:
        with pytest.raises(TypeError, match=f"{name} has dtype float8_e5m2; accepted: "):
            call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_beyond_float32_are_infinite(dtype: Any) -> None:
    """Without a warning: what is beyond the dtype is infinity, as in any of its sums."""
    largest = float(np.finfo(dtype).max)
    x = np.array([[1.0, -1.0]] * 2, dtype) * dtype(largest / 2.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = kernels.cross_entropy(x, [1, 1], reduction="sum")
        mean = kernels.cross_entropy(x, [1, 1])
        squares = kernels.mse_loss(np.full(4, largest**0.5, dtype), [0] * 4, reduction="sum")
    assert total == np.inf
    assert (mean < np.inf) == (dtype == np.float32)  # the sum is taken in float64
    assert squares == np.inf
    assert all(result.dtype == dtype for result in (total, mean, squares))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot_distributions_equal_labels(dtype: Any, rng: np.random.Generator) -> None:
    """Losses to the bound of each of them, gradients to rounding (the target's cancels)."""
    for classes in FEW_SIZES:
        x, labels = random_logits(rng, (9, classes), dtype), random_labels(rng, 9, classes)
        one_hot = np.eye(classes, dtype=dtype)[labels]
        loss, gradient = kernels.cross_entropy_with_grad(x, labels, reduction="none")
        got, dlogits = kernels.cross_entropy_with_grad(x, one_hot, reduction="none")
        bound = Exact(x).relative_loss_bound(dtype) * loss
        assert_close(got, loss, 2 * bound + tiny(dtype), f"{classes} classes")
        np.testing.assert_allclose(dlogits, gradient, rtol=4 * eps(dtype), atol=4 * eps(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_any_dtype(dtype: Any, rng: np.random.Generator) -> None:
    x, labels = random_logits(rng, (5, 3), dtype), [0, 2, 1, 1, 0]
    wanted = kernels.cross_entropy(
        x, labels, class_weight=np.array([1, 2, 3], dtype), sample_weight=np.ones(5, dtype)
    )
    for given in (np.float16, np.float32, np.float64, np.int64, np.uint8):
        got = kernels.cross_entropy(
            x, labels, class_weight=np.array([1, 2, 3], given), sample_weight=[1] * 5
        )
        assert same_bytes(got, wanted)


def test_byproducts_asked_for_one_by_one(rng: np.random.Generator) -> None:
    x, labels = random_logits(rng, (9, 4), np.float32), random_labels(rng, 9, 4)
    for module in (kernels, reference):
        for name in ALL:
            for asked in (name, [name], (name, name)):
                loss, found = module.cross_entropy(x, labels, byproducts=asked)
                assert type(found) is module.ByProducts
                assert [field for field in ALL if getattr(found, field) is not None] == [name]
                assert loss == module.cross_entropy(x, labels)
        for unknown in (["loss"], "rows", [3]):
            with pytest.raises(ValueError, match="byproducts"):
                module.cross_entropy(x, labels, byproducts=unknown)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_against_finite_differences(dtype: Any, rng: np.random.Generator) -> None:
    """Fourth order in float64, 1e-5 absolute and 1e-3 relative; float32 against float64."""
    x = rng.normal(0, 2, (4, 6))
    options = {
        "class_weight": np.array([1, 0.5, 2, 0, 1, 3]),
        "sample_weight": np.array([0.5, 1, 2, 1]),
        "label_smoothing": 0.2,
    }
    step = 1e-3
    for target in (np.array([0, 5, -100, 2]), random_distributions(rng, (4, 6), np.float64)):
        numeric = np.zeros_like(x)
        for at in np.ndindex(x.shape):
            total = 0.0
            for factor, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
                moved = x.copy()
                moved[at] += factor * step
                total += weight * float(kernels.cross_entropy(moved, target, **options))
            numeric[at] = total / (12 * step)
        analytic = kernels.cross_entropy_with_grad(x, target, **options)[1]
        np.testing.assert_allclose(analytic, numeric, rtol=1e-3, atol=1e-5)
        narrow = target if target.ndim == 1 else target.astype(dtype)
        got = kernels.cross_entropy_with_grad(x.astype(dtype), narrow, **options)[1]
        np.testing.assert_allclose(got, analytic, rtol=64 * eps(dtype), atol=4 * eps(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_reference(dtype: Any, rng: np.random.Generator) -> None:
    for _ in range(40):
        shape = int(rng.integers(1, 40)), int(rng.integers(1, 150))
        x, target = random_logits(rng, shape, dtype), random_target(rng, shape, dtype)
        options = random_options(rng, shape, dtype)
        options["reduction"] = REDUCTIONS[rng.integers(3)]
        got = kernels.cross_entropy_with_grad(x, target, byproducts=ALL, **options)
        wanted = reference.cross_entropy_with_grad(x, target, byproducts=ALL, **options)
        assert got[2].correct == wanted[2].correct
        assert (got[2].predicted == wanted[2].predicted).all()
        # softmax's bound at distance 60, the sums and the masses, as in Wanted.
        limit = 100 * eps(dtype)
        for new, old in zip((got[0], *got[2][:2]), (wanted[0], *wanted[2][:2]), strict=True):
            np.testing.assert_allclose(new, old, rtol=limit, atol=tiny(dtype))
        # U softmax - u cancels, and neither exceeds the largest two weights' product.
        if options["reduction"] != "mean":
            np.testing.assert_allclose(got[1], wanted[1], rtol=limit, atol=9 * limit)
