"""Numerical gradients: right for any rank and stride, and the array is as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from softstep import Parameter, kernels
from softstep.numerical import (
    GradientError,
    check_gradient,
    numerical_diff,
    numerical_gradient,
    tangent_line,
)

EPS = np.finfo(np.float64).eps


def wave(x: Any) -> Any:
    """A function with a third derivative of at most 1 in each element."""
    return np.sin(x).sum()


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 3, 2), (0, 3)])
def test_any_rank(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = np.asarray(rng.normal(size=shape))
    kept = x.copy()
    gradient = numerical_gradient(wave, x)
    assert gradient.shape == shape
    assert gradient.dtype == np.float64
    # h^2 / 6 of the formula, and the rounding of a sum of up to 12 sines, over h
    np.testing.assert_allclose(gradient, np.cos(x), rtol=0, atol=1e-8 / 6 + 12 * EPS * 12 / 1e-4)
    assert x.tobytes() == kept.tobytes()


@pytest.mark.parametrize("h", [1e-2, 1e-3, 1e-4, 0.5])
def test_error_is_that_of_the_formula(h: float) -> None:
    """x^3 has the central difference 3 x^2 + h^2, exactly."""
    gradient = numerical_gradient(lambda x: x[0] ** 3, [1.5], h)
    assert gradient[0] == pytest.approx(3 * 1.5**2 + h**2, abs=8 * EPS * 3.4 / h)
    assert numerical_diff(lambda x: x**3, 1.5, h) == gradient[0]


def test_float32_divides_by_the_step_that_was_made() -> None:
    """At 1000 the step 1e-3 is rounded by up to 3 %."""
    x = np.array([1000.0], np.float32)
    assert numerical_gradient(lambda x: float(x[0]) * 3, x, 1e-3)[0] == pytest.approx(3, rel=1e-12)
    with pytest.raises(ValueError, match=r"^h is 1e-06; accepted: a step that changes x\[0\]"):
        numerical_gradient(lambda x: float(x[0]), x, 1e-6)
    assert x[0] == 1000
    with pytest.raises(ValueError, match=r"^h is 1e-06; accepted: a step that changes x, which"):
        numerical_diff(float, 1e12, 1e-6)


@pytest.mark.parametrize("view", ["reversed", "columns", "transposed", "swapped"])
def test_strided_arrays(rng: np.random.Generator, view: str) -> None:
    whole = rng.normal(size=(4, 6))
    x = {"reversed": whole[::-1], "columns": whole[:, ::2], "transposed": whole.T,
         "swapped": whole.astype(">f8")}[view]  # fmt: skip
    kept = whole.copy()
    np.testing.assert_allclose(numerical_gradient(wave, x), np.cos(x.astype(float)), atol=1e-8)
    np.testing.assert_array_equal(whole, kept)


def test_array_is_changed_in_place_for_functions_that_look_at_it() -> None:
    class Net:
        weight = np.array([[1.0, 2.0]])

    gradient = numerical_gradient(lambda _: (Net.weight**2).sum(), Net.weight)
    np.testing.assert_allclose(gradient, [[2, 4]], atol=1e-8)
    p = Parameter([1.0, 2.0])  # float32
    gradient = numerical_gradient(lambda _: float((p.data.astype(float) ** 2).sum()), p, 1e-2)
    np.testing.assert_allclose(gradient, [2, 4], atol=1e-6)
    np.testing.assert_array_equal(p.data, [1, 2])


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_restored_when_f_raises(calls: int, error: type[BaseException]) -> None:
    x = np.array([0.1, 0.7])
    kept, count = x.copy(), 0

    def f(at: Any) -> float:
        nonlocal count
        count += 1
        assert np.count_nonzero(at != kept) == 1
        if count == calls:
            raise error("stop")
        return float(at.sum())

    with pytest.raises(error, match="stop"):
        numerical_gradient(f, x)
    assert x.tobytes() == kept.tobytes()


def test_lists_and_numbers_are_converted() -> None:
    assert numerical_gradient(lambda x: x**2, 3) == pytest.approx(6, abs=1e-8)
    given = [3, 4]
    np.testing.assert_allclose(numerical_gradient(lambda x: (x**2).sum(), given), [6, 8], 1e-8)
    assert given == [3, 4]
    assert numerical_gradient(lambda x: x**2, np.float64(3)) == pytest.approx(6, abs=1e-8)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.array([1, 2]), TypeError, r"^x has dtype int64; accepted: float32, float64, or a list"),
        (np.array([1.0], np.float16), TypeError, r"^x has dtype float16"),
        (["a"], TypeError, r"^x cannot be made an array of floats"),
        ([[1.0], [1.0, 2.0]], TypeError, r"^x cannot be made an array of floats"),
        (np.broadcast_to(1.0, 2), ValueError, r"^x is read-only"),
        (Parameter(), RuntimeError, r"^this parameter has no values yet"),
    ],
)
def test_bad_x(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        numerical_gradient(wave, x)
    with pytest.raises(error, match=message):
        check_gradient(wave, np.cos, x)


@pytest.mark.parametrize("h", [0, -1e-4, np.nan, np.inf, "1e-4"])
def test_bad_h(h: Any) -> None:
    for call in (numerical_gradient, numerical_diff, tangent_line):
        with pytest.raises((ValueError, TypeError), match=r"^h is "):
            call(wave, 1.0, h)


@pytest.mark.parametrize("result", [None, "1", [1.0, 2.0], 1j])
def test_functions_that_return_no_number(result: Any) -> None:
    x = np.ones(2)
    for call in (lambda: numerical_gradient(lambda _: result, x),
                 lambda: numerical_diff(lambda _: result, 1.0)):  # fmt: skip
        with pytest.raises(TypeError, match=r"^f returned .*; accepted: one number"):
            call()
    np.testing.assert_array_equal(x, [1, 1])


def test_values_that_are_not_finite() -> None:
    x = np.array([0.0, 1.0])
    found = numerical_gradient(lambda x: x[1] if abs(x[0]) < 1e-9 else np.inf, x)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(1)


# check_gradient


def test_check_gradient_of_a_kernel(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(0, 2, (4, 3)), rng.integers(0, 3, 4)
    error = check_gradient(
        lambda x: kernels.cross_entropy(x, labels),
        lambda x: kernels.cross_entropy_with_grad(x, labels)[1],
        logits,
    )
    assert 0 < error < 1e-6


def test_check_gradient_finds_one_wrong_element(rng: np.random.Generator) -> None:
    x = rng.uniform(0.5, 1, (3, 4))
    right = np.cos(x)
    assert check_gradient(wave, right, x) < 1e-7
    for size, passes in ((1e-4, True), (2e-3, False)):
        wrong = right.copy()
        wrong[2, 1] *= 1 + size
        if passes:
            assert check_gradient(wave, wrong, x) == pytest.approx(size, rel=1e-3)
        else:
            with pytest.raises(GradientError, match=r"^grad\[2, 1\] is .*allowed 0\.001\)"):
                check_gradient(wave, wrong, x)
            assert check_gradient(wave, wrong, x, rtol=3e-3) == pytest.approx(size, rel=1e-2)


def test_small_elements_are_judged_absolutely() -> None:
    flat = np.zeros(2)
    check_gradient(lambda x: 0.0, [0.9e-5, -0.9e-5], flat)
    with pytest.raises(GradientError, match=r"^grad\[0\] is 1\.1e-05; the difference is 0 "):
        check_gradient(lambda x: 0.0, [1.1e-5, 0], flat)
    with pytest.raises(AssertionError):
        check_gradient(lambda x: 0.0, [1e-6, 0], flat, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_not_finite_fail(bad: float) -> None:
    with pytest.raises(GradientError, match=rf"^grad\[1\] is {bad};"):
        check_gradient(wave, [1.0, bad], np.zeros(2))
    with pytest.raises(GradientError, match=r"^grad is 1; the difference is nan"):
        check_gradient(lambda x: bad, 1.0, 0.0)


def test_check_gradient_arguments() -> None:
    assert check_gradient(wave, np.cos, np.empty((0, 2))) == 0
    assert check_gradient(lambda x: (x**2).sum() / 2, lambda x: x, np.ones(2)) < 1e-9
    with pytest.raises(ValueError, match=r"^grad has shape \(3,\); accepted: \(2,\), that of x"):
        check_gradient(wave, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"^rtol is 0"):
        check_gradient(wave, np.cos, np.ones(2), rtol=0)
    with pytest.raises(ValueError, match=r"^atol is -1"):
        check_gradient(wave, np.cos, np.ones(2), atol=-1)


# tangent_line


def test_tangent_line() -> None:
    def f(x: float) -> float:
        return 0.01 * x**2 + 0.1 * x

    line = tangent_line(f, 5)
    assert line.slope == pytest.approx(0.2, abs=1e-11)
    assert line.intercept == pytest.approx(-0.25, abs=1e-10)
    assert line(5) == pytest.approx(f(5), abs=1e-15)
    points = np.array([[0.0, 10.0], [20.0, -5.0]])
    np.testing.assert_allclose(line(points), 0.2 * points - 0.25, atol=1e-9)
    assert (points * 0.01 * points + 0.1 * points - line(points) >= 0).all()  # f is convex
    for x in (np.nan, "five", [1.0]):
        with pytest.raises((TypeError, ValueError), match=r"^x is "):
            tangent_line(f, x)  # type: ignore[arg-type]
