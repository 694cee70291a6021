"""Hartley's information, surprisal and entropy beside their formulas at 50 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from softstep import information
from softstep.information import entropy, hartley, self_information, surprisal

EPS = np.finfo(np.float64).eps


def exact(p: Any, base: float | None = None) -> mpmath.mpf:
    """The sum of -p log p at 50 digits."""
    with mpmath.workdps(50):
        unit = mpmath.mpf(1) if base is None else mpmath.log(mpmath.mpf(base))
        terms = [mpmath.mpf(float(v)) for v in p if v > 0]
        return -mpmath.fsum(v * mpmath.log(v) for v in terms) / unit


@pytest.mark.parametrize("base", [None, 2, 10, 3, 0.5])
@pytest.mark.parametrize("size", [1, 2, 17, 1000])
def test_entropy_is_the_formula(rng: np.random.Generator, base: float | None, size: int) -> None:
    p = rng.dirichlet(np.full(size, 0.1))
    # No term is negative: log, product and division round each of them, and a pairwise sum its
    # log2(size) additions. A certain outcome leaves only what 1 - p has of rounding.
    expected = exact(p, base)
    bound = (4 + np.log2(size)) * EPS * abs(float(expected)) + 1e-300
    assert abs(float(entropy(p, base=base) - expected)) <= bound


def test_entropy_along_axes(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.ones(5), size=(3, 4))
    last = entropy(p)
    assert last.shape == (3, 4)
    assert last.dtype == np.float64
    np.testing.assert_array_equal(entropy(np.moveaxis(p, -1, 0), axis=0), last)
    np.testing.assert_array_equal(entropy(np.moveaxis(p, -1, 1), axis=-2), last)
    np.testing.assert_allclose([[float(exact(row)) for row in block] for block in p], last, 1e-14)


def test_entropy_of_certainty_is_zero_and_not_minus_zero() -> None:
    assert str(entropy([0.0, 1.0, 0.0])) == "0.0"
    assert str(surprisal(1.0)) == "0.0"


def test_no_warning_under_strict_error_modes() -> None:
    with np.errstate(all="raise"):
        assert surprisal(0.0) == np.inf
        assert entropy([1.0, 0.0, 5e-324]) > 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "bfloat16", ">f4", "f4,"])
def test_sums_are_judged_by_the_dtype(dtype: Any) -> None:
    """Thirds in float16 sum to 0.9998; float64 would not be allowed that."""
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    elif dtype == "f4,":
        with pytest.raises(TypeError, match="p has dtype"):
            entropy(np.zeros(2, "f4,f4"))
        return
    p = np.full(3, 1 / 3).astype(dtype)
    assert entropy(p).dtype == np.float64
    if np.dtype(dtype) == np.float16:
        with pytest.raises(ValueError, match=r"p sums to 0\.99"):
            entropy(p.astype(np.float64))


def test_sum_may_be_off_by_the_root_of_eps() -> None:
    assert entropy([0.5, 0.5 + 1e-8]) > 0
    with pytest.raises(ValueError, match=r"p sums to 1\.00000002; accepted: a distribution"):
        entropy([0.5, 0.5 + 2e-8])


@pytest.mark.parametrize(
    ("p", "axis", "message"),
    [
        ([0.5, 0.6], -1, r"^p sums to 1\.1; accepted: a distribution, which sums to 1 within"),
        ([[0.5, 0.5], [0.5, 0.6], [0, 0]], -1, r"^p\[1, :\] sums to 1\.1;"),
        ([[0.5, 0.1], [0.5, 0.1]], 0, r"^p\[:, 1\] sums to 0\.2;"),
        ([[1.5, -0.5], [-1, 2]], -1, r"^p\[0, 1\] is -0\.5; accepted: probabilities"),
        ([0.5, np.nan, 0.5], -1, r"^p\[1\] is nan;"),
        ([np.inf, 0.0], -1, r"^p sums to inf;"),
        ([], -1, r"^p sums to 0;"),
        (1.0, -1, r"^p is a single number; accepted: an array with at least one axis"),
        ([1.0, 0.0], 1, r"^axis is 1; accepted: -1 to 0, since p has shape \(2,\)"),
        ([1.0, 0.0], -2, r"^axis is -2;"),
    ],
)
def test_bad_distributions(p: Any, axis: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        entropy(p, axis)


@pytest.mark.parametrize("p", ["half", [1j, 0], [None, 1], [[1.0], [0.5, 0.5]]])
def test_things_that_are_no_numbers(p: Any) -> None:
    with pytest.raises(TypeError, match=r"^p "):
        entropy(p)
    with pytest.raises(TypeError, match=r"^axis is 'last'; accepted: an integer"):
        entropy([1.0], axis="last")  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [0, 1, -2, np.inf, np.nan])
def test_bad_base(base: float) -> None:
    for call in (
        lambda: entropy([1.0], base=base),
        lambda: surprisal(1.0, base=base),
        lambda: hartley(1, 2, base=base),
        lambda: information.cross_entropy([1.0], [1.0], base=base),
        lambda: information.kl_divergence([1.0], [1.0], base=base),
        lambda: information.mutual_information([[1.0]], base=base),
    ):
        with pytest.raises(ValueError, match=r"^base is "):
            call()
    with pytest.raises(TypeError, match=r"^base is 'two'"):
        entropy([1.0], base="two")  # type: ignore[arg-type]


def test_surprisal() -> None:
    p = np.array([[1.0, 0.5], [0.125, 0.0]])
    np.testing.assert_array_equal(surprisal(p, base=2), [[0, 1], [3, np.inf]])
    np.testing.assert_array_equal(surprisal(p), [[0, -np.log(0.5)], [-np.log(0.125), np.inf]])
    assert surprisal(0.001, base=10) == pytest.approx(3, rel=EPS)
    assert self_information is surprisal
    for wrong, message in ((1.5, "^p is 1.5"), ([0, -1], r"^p\[1\] is -1"), (np.nan, "^p is nan")):
        with pytest.raises(ValueError, match=message):
            surprisal(wrong)


def test_hartley() -> None:
    assert hartley(0, 26) == 0
    assert hartley(8, 2) == hartley(4, 4) == hartley(1, 256) == 8
    assert hartley(1, 7, base=7) == pytest.approx(1, rel=EPS)
    assert hartley(2, np.e, base=None) == pytest.approx(2, rel=EPS)
    np.testing.assert_array_equal(hartley([1, 2], [[2], [4]]), [[1, 2], [2, 4]])
    for n, s, message in (
        (-1, 2, "^n is -1"), (np.inf, 2, "^n is inf"), (1, 0, "^s is 0"), (1, np.nan, "^s is nan"),
        ([1, -3], 2, r"^n\[1\] is -3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            hartley(n, s)


def test_inputs_stay_as_they_are(rng: np.random.Generator) -> None:
    p = rng.dirichlet(np.ones(4), size=3)
    kept = p.copy()
    p.flags.writeable = False
    entropy(p), surprisal(p), information.kl_divergence(p, p[::-1])
    np.testing.assert_array_equal(p, kept)
