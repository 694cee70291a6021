"""Cross-entropy, divergence, mutual information and perplexity beside their formulas."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from softstep.information import (
    cross_entropy,
    entropy,
    kl_divergence,
    mutual_information,
    perplexity,
)

EPS = np.finfo(np.float64).eps


def exact_divergence(p: Any, q: Any) -> mpmath.mpf:
    """The sum of p log(p / q) - p + q at 50 digits: the divergence, for what sums to 1."""
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for a, b in zip(np.ravel(p), np.ravel(q), strict=True):
            x, y = mpmath.mpf(float(a)), mpmath.mpf(float(b))
            total += (x * mpmath.log(x / y) if a > 0 else 0) - x + y
        return total


def normalised(weights: Any) -> Any:
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("distance", [1, 0.3, 0.12, 1e-2, 1e-5, 1e-9, 1e-15])
@pytest.mark.parametrize("size", [2, 10, 500])
def test_divergence_is_accurate_at_any_distance(
    rng: np.random.Generator, distance: float, size: int
) -> None:
    p = rng.dirichlet(np.ones(size))
    q = normalised(p * (1 + distance * rng.uniform(-1, 1, size)))
    if distance == 1:  # far apart, with numbers of every size
        q = normalised(rng.dirichlet(np.ones(size)) ** 20)
    # The worst term stands at the border to the series, where the usual form loses the factor
    # 1.125 log(1.125) / 0.0076 = 18; each of its four operations rounds.
    bound = (4 * 18 + np.log2(size)) * EPS
    expected = float(exact_divergence(p, q))
    assert kl_divergence(p, q) == pytest.approx(expected, rel=bound, abs=0)


@pytest.mark.parametrize("distance", [1, 0.01])
def test_divergence_is_the_textbook_sum(rng: np.random.Generator, distance: float) -> None:
    """Up to how far the sums of rounded numbers are off 1."""
    p = rng.dirichlet(np.ones(30), size=20)
    q = normalised(p * (1 + distance * rng.uniform(-0.9, 0.9, p.shape)))
    np.testing.assert_allclose(
        kl_divergence(p, q), (p * np.log(p / q)).sum(axis=-1), rtol=0, atol=8 * 30 * EPS
    )
    np.testing.assert_allclose(
        kl_divergence(p, q, base=2), cross_entropy(p, q, base=2) - entropy(p, base=2),
        rtol=0, atol=8 * 30 * EPS,
    )  # fmt: skip


def test_divergence_is_zero_for_equals_only(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.full(6, 0.3), size=50)
    assert not kl_divergence(p, p).any()
    q = p.copy()
    largest = p.argmax(axis=-1)
    q[np.arange(50), largest] = np.nextafter(p.max(axis=-1), 0)
    assert (kl_divergence(p, q) > 0).all()
    assert (kl_divergence(p, np.roll(p, 1, axis=0)) > 0).all()


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], np.inf),
        ([1.0, 0.0], [1.0, 0.0], 0.0),
        ([1.0, 0.0], [0.5, 0.5], np.log(2)),
        ([0.0, 1.0], [1.0, 5e-324], 1074 * np.log(2)),
        ([1.0, 5e-324], [1.0, 5e-324], 0.0),
        ([1.0, 5e-324], [1.0, 1e-16], 1e-16),
    ],
)
def test_divergence_at_the_edges(p: Any, q: Any, expected: float) -> None:
    with np.errstate(all="raise"):
        assert kl_divergence(p, q) == pytest.approx(expected, rel=4 * EPS)
        assert (cross_entropy(p, q) == np.inf) == (expected == np.inf)


def test_cross_entropy_is_the_formula_and_never_below_the_entropy(
    rng: np.random.Generator,
) -> None:
    p, q = rng.dirichlet(np.full(9, 0.4), size=(2, 40))
    np.testing.assert_allclose(cross_entropy(p, q), -(p * np.log(q)).sum(axis=-1), rtol=20 * EPS)
    np.testing.assert_allclose(cross_entropy(p, q, base=10), -(p * np.log10(q)).sum(axis=-1), 1e-14)
    assert (cross_entropy(p, q) >= entropy(p)).all()
    np.testing.assert_allclose(cross_entropy(p, p), entropy(p), rtol=20 * EPS)


def test_broadcasting_and_axes(rng: np.random.Generator) -> None:
    p, q = rng.dirichlet(np.ones(4), size=(3, 2)), rng.dirichlet(np.ones(4))
    for measure in (cross_entropy, kl_divergence):
        rows = [[measure(row, q) for row in block] for block in p]
        np.testing.assert_array_equal(measure(p, q), rows)
        np.testing.assert_array_equal(
            measure(np.moveaxis(p, -1, 0), q[:, None, None], axis=0), rows
        )
    with pytest.raises(ValueError, match=r"^q has shape \(3,\); accepted: what broadcasts with"):
        kl_divergence([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match=r"^q\[1, :\] sums to 0\.9"):
        cross_entropy([0.5, 0.5], [[0.5, 0.5], [0.4, 0.5]])
    with pytest.raises(ValueError, match=r"^p\[0\] is -1"):
        kl_divergence([-1, 2], [0.5, 0.5])


def test_mutual_information_is_that_of_the_entropies(rng: np.random.Generator) -> None:
    joint = rng.dirichlet(np.full(12, 0.5), size=6).reshape(6, 3, 4)
    first, second = joint.sum(axis=2), joint.sum(axis=1)
    expected = entropy(first) + entropy(second) - entropy(joint.reshape(6, 12))
    np.testing.assert_allclose(mutual_information(joint), expected, rtol=0, atol=30 * EPS)
    turned = np.transpose(joint, (1, 0, 2))
    np.testing.assert_allclose(mutual_information(turned, axes=(0, 2)), expected, 0, 30 * EPS)
    np.testing.assert_allclose(mutual_information(turned, axes=(-1, 0)), expected, 0, 30 * EPS)
    bits = mutual_information(joint, base=2)
    np.testing.assert_allclose(bits * np.log(2), mutual_information(joint), rtol=4 * EPS)


def test_mutual_information_of_faint_dependence() -> None:
    """The textbook sum has terms of 0.3 here, so it is wrong in the first digit."""
    shift = 1e-9
    joint = np.array([[0.25 + shift, 0.25 - shift], [0.25 - shift, 0.25 + shift]])
    # The sum of d^2 / 2 q with d = shift / 0.25; shift itself is rounded by 2^-55 / 1e-9 = 3e-8.
    assert mutual_information(joint) == pytest.approx(8 * shift**2, rel=1e-6)


def test_mutual_information_at_the_edges() -> None:
    with np.errstate(all="raise"):
        assert mutual_information([[1.0, 0.0], [0.0, 0.0]]) == 0
        faint = mutual_information([[1.0, 0.0], [0.0, 1e-200]])
        assert faint == pytest.approx(200 * np.log(10) * 1e-200, rel=0.7)
    independent = np.outer([0.3, 0.7], [0.2, 0.5, 0.3])
    assert 0 <= mutual_information(independent) < 30 * EPS**2
    with pytest.raises(ValueError, match=r"^joint\[1, :, :\] sums to 0\.5"):
        mutual_information([[[1.0]], [[0.5]]])
    with pytest.raises(ValueError, match=r"^axes is \(-2, 0\); accepted: two different axes"):
        mutual_information([[1.0]], axes=(-2, 0))
    with pytest.raises(ValueError, match=r"^axes\[1\] is 2; accepted: -2 to 1"):
        mutual_information([[1.0]], axes=(0, 2))
    with pytest.raises(TypeError, match=r"^axes is 1; accepted: a pair"):
        mutual_information([[1.0]], axes=1)  # type: ignore[arg-type]


def test_perplexity(rng: np.random.Generator) -> None:
    p, q = rng.dirichlet(np.ones(7), size=(2, 5))
    np.testing.assert_allclose(perplexity(p), 2 ** entropy(p, base=2), rtol=20 * EPS)
    np.testing.assert_allclose(perplexity(p, q), 2 ** cross_entropy(p, q, base=2), rtol=40 * EPS)
    assert perplexity([1.0, 0.0]) == 1
    assert perplexity([0.5, 0.5], [1.0, 0.0]) == np.inf
    np.testing.assert_allclose(perplexity(p.T, q.T, axis=0), perplexity(p, q), rtol=4 * EPS)
