"""The course material's section on information, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from softstep import information

P = np.array([1 / 2, 1 / 8, 1 / 8, 1 / 4])
UNIFORM = np.full(4, 1 / 4)


@pytest.mark.curriculum("information", "Hartley information")
def test_hartley() -> None:
    """Hartley information n log2(s): 5 coin tosses are 5 bits."""
    assert information.hartley(5, 2) == 5


@pytest.mark.curriculum("information", "self-information")
def test_surprisal() -> None:
    """Self-information -log p: nats by default, base=2 for bits; 1 nat is 1.4427 bits."""
    assert information.surprisal(1 / 8) == pytest.approx(np.log(8))
    assert information.surprisal(1 / 8, base=2) == 3
    assert information.self_information(1 / 8, base=2) == 3
    assert information.surprisal(np.exp(-1)) == pytest.approx(1)
    assert information.surprisal(np.exp(-1), base=2) == pytest.approx(1.4427, abs=5e-5)


@pytest.mark.curriculum("information", "entropy")
def test_entropy(rng: np.random.Generator) -> None:
    """Entropy: uniform over 4: 2 bits; (1/2, 1/8, 1/8, 1/4): 1.75 bits; largest when uniform."""
    assert information.entropy(UNIFORM, base=2) == 2
    assert information.entropy(P, base=2) == 1.75
    others = rng.dirichlet(np.ones(4), size=1000)
    assert (information.entropy(others, base=2) < 2).all()
    assert information.entropy([0.5, 0.5, 0.0, 0.0], base=2) == 1  # 0 log 0 = 0


@pytest.mark.curriculum("information", "cross-entropy of p under q")
def test_cross_entropy(rng: np.random.Generator) -> None:
    """Cross-entropy of p under q: 2 bits for p and q uniform; never below the entropy."""
    assert information.cross_entropy(P, UNIFORM, base=2) == 2
    q = rng.dirichlet(np.ones(4), size=1000)
    assert (information.cross_entropy(P, q, base=2) >= 1.75).all()
    assert information.cross_entropy(P, P, base=2) == information.entropy(P, base=2)


@pytest.mark.curriculum("information", "Kullback-Leibler divergence")
def test_kl_divergence(rng: np.random.Generator) -> None:
    """Divergence: 0.25 bits in the case above; 0 iff equal; inf where q = 0 < p."""
    assert information.kl_divergence(P, UNIFORM, base=2) == pytest.approx(0.25, rel=1e-15)
    assert information.kl_divergence(P, P) == 0
    assert (information.kl_divergence(P, rng.dirichlet(np.ones(4), size=1000)) > 0).all()
    assert information.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert np.isfinite(information.kl_divergence([1.0, 0.0], [0.5, 0.5]))


@pytest.mark.curriculum("information", "arrays of distributions along an axis")
def test_arrays_of_distributions() -> None:
    """Arrays of distributions along an axis; one that is none is a ValueError."""
    both = np.stack([P, UNIFORM])
    np.testing.assert_array_equal(information.entropy(both, base=2), [1.75, 2])
    np.testing.assert_array_equal(information.entropy(both.T, axis=0, base=2), [1.75, 2])
    for wrong, where in (
        ([[0.5, 0.5], [0.5, 0.4]], r"p\[1, :\] sums to 0\.9"),
        ([[0.5, 0.5], [1.5, -0.5]], r"p\[1, 1\] is -0\.5"),
    ):
        with pytest.raises(ValueError, match=where):
            information.entropy(wrong)
        with pytest.raises(ValueError, match=where):
            information.cross_entropy(wrong, both[:, :2] * 0 + 0.5)
        with pytest.raises(ValueError, match=where):
            information.kl_divergence(wrong, [0.5, 0.5])
