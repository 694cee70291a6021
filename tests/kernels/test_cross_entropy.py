"""cross_entropy and cross_entropy_with_grad against extended precision, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import (
    DTYPES,
    FEW_SIZES,
    LABEL_DTYPES,
    SIZES,
    Array,
    Exact,
    assert_close,
    eps,
    random_labels,
    random_logits,
    read_only,
    same_bytes,
    sum_bound,
    tiny,
)

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

KINDS = ("normal", "large", "negative", "spread", "one maximum", "ties")
REDUCTIONS = ("mean", "sum", "none")


def check_all(x: Array, labels: Array, what: str, ignored: int = -100, **options: Any) -> None:
    """Loss and gradient of every reduction against the exact ones."""
    dtype = x.dtype
    counted = labels.astype(np.int64) != ignored
    safe = np.where(counted, labels, 0)
    exact = Exact(x)
    losses = np.where(counted, exact.losses(safe), 0)
    gradients = np.where(counted[:, None], exact.gradients(safe), 0)
    row_bound = np.where(counted, exact.relative_loss_bound(dtype) * losses + tiny(dtype), 0)
    gradient_bound = np.where(counted[:, None], exact.gradient_bound(safe, dtype), 0)
    count = int(counted.sum())
    # A sum of losses: each one's bound, and the summation's.
    total_bound = row_bound.sum() + sum_bound(len(x), dtype) * losses.sum()

    for reduction, loss, bound, divisor in (
        ("none", losses, row_bound, 1),
        ("sum", losses.sum(), total_bound, 1),
        ("mean", losses.sum() / max(count, 1), total_bound / max(count, 1), max(count, 1)),
    ):
        if reduction == "mean" and count == 0:
            loss = np.longdouble(np.nan)
        given = {"reduction": reduction, "ignore_index": ignored, **options}
        where = f"{reduction}, {what}"
        alone = kernels.cross_entropy(x, labels, **given)
        both, dlogits = kernels.cross_entropy_with_grad(x, labels, **given)
        assert alone.dtype == both.dtype == dlogits.dtype == dtype, where
        assert_close(alone, loss, bound, f"loss, {where}")
        assert_close(both, loss, bound, f"loss with gradient, {where}")
        # Dividing by the count is one more rounding, relative.
        bound = gradient_bound / divisor + eps(dtype) * np.abs(gradients) / divisor + tiny(dtype)
        assert_close(dlogits, gradients / divisor, bound, f"gradient, {where}")
        assert not dlogits[~counted].any(), f"gradient of ignored rows, {where}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_width(dtype: Any, kind: str, rng: np.random.Generator) -> None:
    for classes in SIZES:
        x = read_only(random_logits(rng, (18, classes), dtype, kind))
        labels = read_only(random_labels(rng, 18, classes))
        labels_of_maximum = np.where(np.arange(18) % 2, x.argmax(1), labels)
        check_all(x, labels_of_maximum, f"{classes} classes")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_height(dtype: Any, rng: np.random.Generator) -> None:
    for rows in SIZES:
        for classes in (1, 2, 10, 17):
            x = random_logits(rng, (rows, classes), dtype)
            labels = random_labels(rng, rows, classes)
            labels[rng.random(rows) < 0.2] = -100
            check_all(x, labels, f"{(rows, classes)}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_alone_has_the_bits_of_the_loss_with_gradient(
    dtype: Any, rng: np.random.Generator
) -> None:
    """Also where the last rows are fewer than lanes: both add up in the same order."""
    for rows in (5, 17, 37, 64, 131):
        for classes in (*range(1, 19), 64, 200):
            x, labels = (
                random_logits(rng, (rows, classes), dtype),
                random_labels(rng, rows, classes),
            )
            for reduction in ("sum", "mean"):
                both, _ = kernels.cross_entropy_with_grad(x, labels, reduction=reduction)
                alone = kernels.cross_entropy(x, labels, reduction=reduction)
                asked, _ = kernels.cross_entropy(
                    x, labels, reduction=reduction, byproducts=["correct"]
                )
                assert same_bytes(alone, both), f"{(rows, classes)}, {reduction}"
                assert same_bytes(asked, both), f"{(rows, classes)}, {reduction}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype: Any, threads: int, rng: np.random.Generator) -> None:
    for shape in ((20_011, 10), (2_003, 130), (7, 30_011)):
        x, labels = random_logits(rng, shape, dtype), random_labels(rng, *shape)
        check_all(x, labels, f"{shape}", threads=threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label_dtype", LABEL_DTYPES)
def test_any_integer_labels(dtype: Any, label_dtype: Any, rng: np.random.Generator) -> None:
    for classes in (2, 10, 100, 1000):
        x = random_logits(rng, (37, classes), dtype)
        labels = random_labels(rng, 37, classes, label_dtype)
        for order in ("<", ">"):
            swapped = labels.astype(labels.dtype.newbyteorder(order))
            wanted = kernels.cross_entropy_with_grad(x, labels.astype(np.int64))
            assert same_bytes(kernels.cross_entropy_with_grad(x, swapped), wanted)
        assert same_bytes(kernels.cross_entropy(x, labels.tolist()), wanted[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignore_index(dtype: Any, rng: np.random.Generator) -> None:
    """Any integer may be the ignored one: outside the classes, among them, beyond the dtype."""
    for classes in FEW_SIZES:
        for ignored in (-100, -1, 0, classes - 1, classes, 255, 2**40):
            x = random_logits(rng, (29, classes), dtype)
            labels = random_labels(rng, 29, classes)
            labels[rng.random(29) < 0.3] = ignored
            check_all(x, labels, f"{classes} classes, ignore {ignored}", ignored)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_rows_may_hold_anything(dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (9, 5), dtype)
    labels = random_labels(rng, 9, 5)
    labels[[2, 6, 8]] = -100
    wanted = {
        reduction: kernels.cross_entropy_with_grad(x, labels, reduction=reduction)
        for reduction in REDUCTIONS
    }
    x[2], x[6, 3], x[8, :2] = np.nan, np.inf, -np.inf
    for reduction in REDUCTIONS:
        got = kernels.cross_entropy_with_grad(x, labels, reduction=reduction)
        assert same_bytes(got, wanted[reduction]), reduction
        assert same_bytes(kernels.cross_entropy(x, labels, reduction=reduction), got[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_the_target_is_minus_the_others(dtype: Any, rng: np.random.Generator) -> None:
    """Also where the probability rounds to 1: relative, not absolute."""
    for classes in (2, 3, 9, 16, 17, 64, 130, 1000):
        margins = np.linspace(0, 85, 60)
        x = rng.uniform(-1, 0, (60, classes)).astype(dtype)
        labels = random_labels(rng, 60, classes)
        x[np.arange(60), labels] = margins.astype(dtype)
        _, gradient = kernels.cross_entropy_with_grad(x, labels, reduction="sum")
        own = gradient[np.arange(60), labels]
        others = gradient.astype(np.longdouble).sum(1) - own
        # The sum of C numbers by lanes, against the exact sum of the rounded numbers.
        bound = (8 + np.log2(classes)) * eps(dtype) * np.abs(others) + tiny(dtype)
        assert_close(own, -others, bound, f"{classes} classes")
        assert (own < 0).all(), f"{classes} classes"


@pytest.mark.parametrize("dtype", DTYPES)
def test_row_alone_equals_row_in_batch(dtype: Any, rng: np.random.Generator) -> None:
    for classes in SIZES:
        x, labels = random_logits(rng, (19, classes), dtype), random_labels(rng, 19, classes)
        batch = kernels.cross_entropy_with_grad(x, labels, reduction="none")
        assert same_bytes(kernels.cross_entropy(x, labels, reduction="none"), batch[0])
        for row in (0, 1, 8, 17, 18):
            one = slice(row, row + 1)
            for reduction in REDUCTIONS:  # of one row they are all the same
                alone = kernels.cross_entropy_with_grad(x[one], labels[one], reduction=reduction)
                what = f"{classes} classes, row {row}, {reduction}"
                assert same_bytes(alone[1], batch[1][one]), what
                assert same_bytes(np.atleast_1d(alone[0]), batch[0][one]), what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_bad_row_changes_no_other(dtype: Any, poison: float, rng: np.random.Generator) -> None:
    for classes in FEW_SIZES:
        x, labels = random_logits(rng, (21, classes), dtype), random_labels(rng, 21, classes)
        clean = kernels.cross_entropy_with_grad(x, labels, reduction="none")
        for row in (0, 5, 16, 20):
            bad = x.copy()
            bad[row, labels[row] if row % 2 else classes // 2] = poison
            got = kernels.cross_entropy_with_grad(bad, labels, reduction="none")
            keep = np.arange(21) != row
            assert same_bytes(got[0][keep], clean[0][keep]), f"{classes} classes, row {row}"
            assert same_bytes(got[1][keep], clean[1][keep]), f"{classes} classes, row {row}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_out_and_in_place(dtype: Any, reduction: str, rng: np.random.Generator) -> None:
    for shape in ((3, 5), (18, 64), (1, 1), (40, 10), (5, 1000)):
        x, labels = random_logits(rng, shape, dtype), random_labels(rng, *shape)
        wanted = kernels.cross_entropy_with_grad(x, labels, reduction=reduction)
        out = np.full(shape, 7, dtype)
        loss, dlogits = kernels.cross_entropy_with_grad(x, labels, reduction=reduction, out=out)
        assert dlogits is out
        assert same_bytes((loss, out), wanted)
        loss, dlogits = kernels.cross_entropy_with_grad(x, labels, reduction=reduction, out=x)
        assert dlogits is x
        assert same_bytes((loss, x), wanted), f"{shape}, in place"


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_into_out(dtype: Any, rng: np.random.Generator) -> None:
    x, labels = random_logits(rng, (18, 7), dtype), random_labels(rng, 18, 7)
    out = np.full(18, 7, dtype)
    assert kernels.cross_entropy(x, labels, reduction="none", out=out) is out
    assert same_bytes(out, kernels.cross_entropy(x, labels, reduction="none"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_are_of_the_dtype(dtype: Any) -> None:
    for reduction in ("mean", "sum"):
        loss = kernels.cross_entropy(np.zeros((2, 3), dtype), [0, 1], reduction=reduction)
        assert type(loss) is dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_against_finite_differences(dtype: Any, rng: np.random.Generator) -> None:
    """Fourth order in float64, 1e-5 absolute and 1e-3 relative; float32 against float64."""
    x = rng.normal(0, 2, (4, 6))
    labels = np.array([0, 5, -100, 2])
    step = 1e-3
    for reduction in ("mean", "sum"):
        numeric = np.zeros_like(x)
        for at in np.ndindex(x.shape):
            total = 0.0
            for factor, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
                moved = x.copy()
                moved[at] += factor * step
                total += weight * float(kernels.cross_entropy(moved, labels, reduction=reduction))
            numeric[at] = total / (12 * step)
        analytic = kernels.cross_entropy_with_grad(x, labels, reduction=reduction)[1]
        np.testing.assert_allclose(analytic, numeric, rtol=1e-3, atol=1e-5)
        got = kernels.cross_entropy_with_grad(x.astype(dtype), labels, reduction=reduction)[1]
        # Rounding x to float32 moves each logit by eps / 2 * |x| and the gradient by as much
        # relative; the rest is softmax's bound: below 64 eps for |x| < 16.
        np.testing.assert_allclose(got, analytic, rtol=64 * eps(dtype), atol=eps(dtype))


def test_equals_the_reference(rng: np.random.Generator) -> None:
    """The oracle here is softstep.reference itself, in float64."""
    x, labels = random_logits(rng, (33, 10), np.float64), random_labels(rng, 33, 10)
    labels[::5] = -100
    for reduction in REDUCTIONS:
        got = kernels.cross_entropy_with_grad(x, labels, reduction=reduction)
        wanted = reference.cross_entropy_with_grad(x, labels, reduction=reduction)
        # Twice softmax's bound at distance 60: two evaluations.
        np.testing.assert_allclose(got[0], wanted[0], rtol=2 * 38 * eps(np.float64))
        np.testing.assert_allclose(got[1], wanted[1], rtol=2 * 68 * eps(np.float64))
