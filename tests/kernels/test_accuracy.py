"""Stated accuracy over the inputs of RELIABILITY.md, lines 2 to 4, on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import DTYPES, Exact, assert_close, eps, random_logits, tiny

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["normal", "large", "negative", "one maximum", "spread"])
def test_softmax(dtype: Any, kind: str, rng: np.random.Generator) -> None:
    """DESIGN.md's bound plus 2^-126 (the dtype's smallest normal number); rows sum to 1."""
    for classes in (*range(1, 131), 1000, 50_257):
        x = random_logits(rng, (2 if classes < 50_000 else 1, classes), dtype, kind)
        exact, got = Exact(x), kernels.softmax(x)
        assert_close(got, exact.softmax, exact.softmax_bound(dtype), f"{classes} classes")
        assert np.abs(got.astype(np.longdouble).sum(-1) - 1).max() <= 8 * eps(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_many_rows(dtype: Any, rng: np.random.Generator) -> None:
    """Where the roundings of a sum all point one way, in one row of thousands."""
    for classes in (16, 32, 33, 100, 120, 128, 129):
        x = random_logits(rng, (3000, classes), dtype)
        exact = Exact(x)
        for layout in (x, np.asfortranarray(x)):
            bound = exact.softmax_bound(dtype)
            assert_close(kernels.softmax(layout), exact.softmax, bound, f"{classes} classes")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_maximum_above_50256_equal_logits(dtype: Any) -> None:
    for gap in (0.5, 5, 10, 20, 40):
        for column in (0, 777, 50_256):
            x = np.full((1, 50_257), -3, dtype)
            x[0, column] += dtype(gap)
            exact = Exact(x)
            got = kernels.softmax(x)
            assert_close(got, exact.softmax, exact.softmax_bound(dtype), f"gap {gap}")
            label = np.array([column])
            got_loss, gradient = kernels.cross_entropy_with_grad(x, label)
            loss = exact.losses(label)
            assert_close(got_loss, loss[0], (exact.relative_loss_bound(dtype) * loss)[0], f"{gap}")
            bound = exact.gradient_bound(label, dtype)
            assert_close(gradient, exact.gradients(label), bound, f"gap {gap}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_of_every_distance(dtype: Any, rng: np.random.Generator) -> None:
    """Two classes at 20,000 distances: the error of exp itself shows in the smaller one."""
    limit = 87.0 if dtype == np.float32 else 708.0
    distance = np.concatenate(
        [rng.uniform(0, limit, 15_000), np.geomspace(1e-9, 1, 4_000), np.linspace(0, limit, 1_000)]
    ).astype(dtype)
    x = np.stack([np.zeros_like(distance), -distance], axis=1)
    exact = Exact(x)
    assert_close(kernels.softmax(x), exact.softmax, exact.softmax_bound(dtype), "softmax")
    bound = exact.relative_loss_bound(dtype)[:, None] * np.abs(exact.log_softmax) + tiny(dtype)
    assert_close(kernels.log_softmax(x), exact.log_softmax, bound, "log_softmax")


@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_of_margins(dtype: Any, rng: np.random.Generator) -> None:
    """Margins 0..80 against 50 digits; never 0 while the true value is representable."""
    mpmath = pytest.importorskip("mpmath")
    margins = np.concatenate([np.linspace(0, 80, 33), rng.uniform(0, 80, 16)])
    with mpmath.workdps(50):
        for classes in (2, 3, 10, 33, 130):
            x = rng.uniform(-2, 0, (len(margins), classes)).astype(dtype)
            x[:, 1] = 0
            x[:, 0] = margins.astype(dtype)
            labels = np.zeros(len(margins), np.int64)
            for label in (0, 1):
                labels[:] = label
                got = kernels.cross_entropy(x, labels, reduction="none")
                logs = -kernels.log_softmax(x)[:, label]
                for row, line in enumerate(x.astype(float).tolist()):
                    others = [mpmath.mpf(value) - line[0] for value in line[1:]]
                    rest = mpmath.fsum(mpmath.exp(value) for value in others)
                    weighted = mpmath.fsum(-value * mpmath.exp(value) for value in others)
                    exact = mpmath.log1p(rest) + (line[0] - mpmath.mpf(line[label]))
                    bound = (8 + weighted / rest / 2) * eps(dtype) * exact
                    for value in (got[row], logs[row]):
                        error = abs(mpmath.mpf(float(value)) - exact)
                        assert error <= bound, f"{classes} classes, margin {line[0]}, {label}"
                        assert value > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_loss_of_many_rows(dtype: Any, rng: np.random.Generator) -> None:
    """A million rows of about equal loss: sums do not lose to NumPy's pairwise sum."""
    n = 1_000_003
    x = rng.normal(0, 1, (n, 2)).astype(dtype)
    labels = rng.integers(0, 2, n)
    losses = kernels.cross_entropy(x, labels, reduction="none").astype(np.longdouble)
    # Pairwise: 19 roundings in and across lanes of a block, log2(n / 128) above, and the last.
    bound = (21 + np.log2(n / 128)) * eps(dtype) * losses.sum()
    assert_close(kernels.cross_entropy(x, labels, reduction="sum"), losses.sum(), bound, "sum")
    assert_close(kernels.cross_entropy(x, labels), losses.sum() / n, bound / n, "mean")


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_gradient_in_float32_against_float64(dtype: Any, rng: np.random.Generator) -> None:
    for classes in (2, 10, 130, 1000):
        x = random_logits(rng, (8, classes), dtype)
        labels = rng.integers(0, classes, 8)
        exact = Exact(x)
        _, got = kernels.cross_entropy_with_grad(x, labels, reduction="sum")
        _, wide = kernels.cross_entropy_with_grad(x.astype(np.float64), labels, reduction="sum")
        bound = exact.gradient_bound(labels, dtype)
        bound = bound + exact.gradient_bound(labels, np.float64)
        assert_close(got, wide, bound, f"{classes} classes")
