"""softmax, log_softmax, logsumexp: any axis, any strides and a temperature, on every level."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from argument_cases import arrangements
from kernel_cases import DTYPES, Array, Exact, assert_close, eps, random_logits, same_bytes, tiny

from softstep import _native, kernels, reference

pytestmark = pytest.mark.usefixtures("level")

FUNCTIONS = ("softmax", "log_softmax", "logsumexp")
# Around the widths at which kernels change their way of working, and the lanes of every level.
WIDTHS = (
    1,
    2,
    3,
    4,
    5,
    8,
    10,
    15,
    16,
    17,
    31,
    32,
    33,
    34,
    48,
    64,
    100,
    127,
    128,
    129,
    150,
    513,
    1100,
)


def along_rows(name: str, view: Array, axis: int, **options: Any) -> Array:
    """The same numbers as rows of a contiguous array, and the result brought back."""
    moved = np.ascontiguousarray(np.moveaxis(view, axis, -1))
    result = np.asarray(getattr(kernels, name)(moved, **options))
    return result if name == "logsumexp" else np.moveaxis(result, -1, axis)


def check_same_bits(name: str, view: Array, axis: int, what: str, **options: Any) -> None:
    got = np.asarray(getattr(kernels, name)(view, axis, **options))
    wanted = along_rows(name, view, axis, **options)
    assert same_bytes(np.ascontiguousarray(got), np.ascontiguousarray(wanted)), what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_axis_has_the_bits_of_the_last(name: str, dtype: Any, rng: np.random.Generator) -> None:
    for classes in WIDTHS:
        for outer, inner in ((1, 1), (1, 19), (3, 5), (2, 33)):
            x = random_logits(rng, (outer, classes, inner), dtype)
            check_same_bits(name, x, 1, f"{x.shape}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides(name: str, dtype: Any, rng: np.random.Generator) -> None:
    for classes in (3, 10, 17, 40, 150):
        x = random_logits(rng, (24, classes + 7, 6), dtype)
        views = {
            "every second row": x[::2, :classes, 0].copy()[::2],
            "some columns": x[:, :, 0].copy()[:, 5 : 5 + classes],
            "rows and columns": x[:, :, 0].copy()[1::3, 2 : 2 + classes],
            "backwards": x[:, :, 0].copy()[::-1, :classes],
            "both backwards": x[:, :, 0].copy()[::-1, ::-1],
            "spaced columns": x[:, :, 0][:, :classes],
            "fortran": np.asfortranarray(x[:, :classes, 0]),
            "repeated row": np.broadcast_to(x[0, :classes, 0].copy(), (5, classes)),
            "repeated number": np.broadcast_to(x[0, 0, 0], (3, classes)),
            "one row": x[:, :, 0].copy()[3:4, :classes],
            "three axes": x[::2, 1 : 1 + classes, :],
            "inner part": x[:, :classes, 1:4],
            "inner spaced": x[:, :classes, ::2],
            "transposed": x[:, :classes].transpose(1, 2, 0),
            "new axes": x[:, None, :classes, None, :],
        }
        for what, view in views.items():
            for axis in range(-1, view.ndim - 1):
                check_same_bits(name, view, axis, f"{what}, axis {axis}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides_of_several_axes(name: str, dtype: Any, rng: np.random.Generator) -> None:
    """Which axes join to one is told from strides: repeated, backwards, spaced, in any order."""
    every = ("whole", "backwards", "spaced", "part", "repeated")
    for sizes, ways in (
        ((2, 3, 4), every),
        ((3, 1, 2), every),
        ((2, 3, 40), ("whole", "repeated")),
        ((2, 3, 2, 3), ("whole", "repeated")),
    ):
        for what, view in arrangements(rng, sizes, dtype, ways):
            for axis in range(view.ndim):
                check_same_bits(name, view, axis, f"{what}, axis {axis}")


def test_items_of_no_bytes() -> None:
    """No kernel takes them, and to ask whether one could read them divides by nothing."""
    empty = np.zeros((3, 4), [("nothing", "V0"), ("number", "f4")])["nothing"]
    assert not _native.module.readable(empty, 0)
    with pytest.raises(TypeError, match="logits has dtype"):
        kernels.softmax(empty)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads(name: str, threads: int, rng: np.random.Generator) -> None:
    for shape, axis in (((10, 20_011), 0), ((300, 2_011), 0), ((40, 33, 50), 1)):
        x = random_logits(rng, shape, np.float32)
        check_same_bits(name, x, axis, f"{shape}", threads=threads)
        check_same_bits(name, x[..., 3:], axis, f"{shape}, a part", threads=threads)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_copy_is_made(name: str, rng: np.random.Generator) -> None:
    """Columns of a matrix, every second row and some columns are read where they are."""
    x = random_logits(rng, (600, 700), np.float32)
    for view, axis in ((x, 0), (x[::2], 1), (x[:, :500], 1), (x[:, 100:], 0), (x[::3, :99], 0)):
        shape = view.shape if name != "logsumexp" else np.delete(view.shape, axis)
        out = np.empty(shape, np.float32)
        tracemalloc.start()
        getattr(kernels, name)(view, axis, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < view.nbytes / 10, f"{view.shape}, strides {view.strides}, axis {axis}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_in_place_along_any_axis(name: str, dtype: Any, rng: np.random.Generator) -> None:
    function = getattr(kernels, name)
    for shape in ((10, 33), (200, 18), (3, 150, 5), (4, 7, 1)):
        for axis in range(len(shape)):
            x = random_logits(rng, shape, dtype)
            wanted = function(x, axis)
            assert function(x, axis, out=x) is x
            assert same_bytes(x, wanted), f"{shape}, axis {axis}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_over_a_strided_input_read_in_place(dtype: Any) -> None:
    memory = np.zeros((8, 10), dtype)
    for view, axis in ((memory[::2], 1), (memory[:, :5], 1), (memory[:, 5:], 0)):
        out = memory.reshape(-1)[: view.size].reshape(view.shape)
        for name in ("softmax", "log_softmax"):
            with pytest.raises(ValueError, match="out"):
                getattr(kernels, name)(view, axis, out=out)
        with pytest.raises(ValueError, match="out"):
            kernels.logsumexp(view, axis, out=memory.reshape(-1)[20 : 20 + view.shape[1 - axis]])
    assert not memory.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [0.05, 0.7, 1, 3.0, 100.0])
def test_temperature(dtype: Any, temperature: float, rng: np.random.Generator) -> None:
    """softmax.hpp: the exponent is rounded once more, or twice, than without a temperature."""
    for classes in (1, 2, 5, 10, 16, 17, 33, 130, 1000):
        x = random_logits(rng, (19, classes), dtype)
        exact = Exact(x.astype(np.longdouble) / np.longdouble(temperature))
        relative = 4 + 1.5 * (exact.distance + exact.D) + 8 * (np.finfo(np.longdouble).eps > 1e-18)
        bound = relative * eps(dtype) * exact.softmax + tiny(dtype)
        got = kernels.softmax(x, temperature=temperature)
        assert_close(got, exact.softmax, bound, f"softmax, {classes} classes")

        relative = (8 + 1.5 * exact.D) * eps(dtype)
        bound = relative * np.abs(exact.log_softmax) + tiny(dtype)
        got = kernels.log_softmax(x, temperature=temperature)
        assert_close(got, exact.log_softmax, bound, f"log_softmax, {classes} classes")

        # The maximum is divided (one rounding), the logarithm added to it (another).
        bound = (relative * exact.log_rest + eps(dtype) * np.abs(exact.maximum))[..., 0]
        bound = bound + eps(dtype) * np.abs(exact.logsumexp)
        got = kernels.logsumexp(x, temperature=temperature)
        assert_close(got, exact.logsumexp, bound, f"logsumexp, {classes} classes")

        for name in FUNCTIONS:
            check_same_bits(name, x, 0, name, temperature=temperature)
            alone = getattr(kernels, name)(x[7], temperature=temperature)
            batch = getattr(kernels, name)(x, temperature=temperature)
            assert same_bytes(alone, batch[7])


@pytest.mark.parametrize("dtype", DTYPES)
def test_temperature_of_one_changes_nothing(dtype: Any, rng: np.random.Generator) -> None:
    x = random_logits(rng, (9, 40), dtype)
    for name, module in itertools.product(FUNCTIONS, (kernels, reference)):
        function = getattr(module, name)
        assert same_bytes(function(x), function(x, temperature=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_infinite_logits_with_a_temperature(dtype: Any, temperature: float) -> None:
    inf = np.inf
    rows = [[0, -inf, 1], [-inf, -inf, -inf], [inf, 0, -inf], [np.nan, 0, 1]]
    for width in (3, 20, 50, 200):
        x = np.full((4, width), -inf, dtype)
        x[:, :3] = rows
        for name in FUNCTIONS:
            got = getattr(kernels, name)(x, temperature=temperature)
            wanted = getattr(reference, name)(x, temperature=temperature)
            np.testing.assert_allclose(got, wanted, rtol=8 * eps(dtype), err_msg=f"{name}, {width}")


def test_extreme_temperatures() -> None:
    x = np.array([[1, 2, 2, -3]], np.float32)
    for dtype in DTYPES:
        got = kernels.softmax(x.astype(dtype), temperature=1e-300)
        np.testing.assert_array_equal(got, [[0, 0.5, 0.5, 0]])
        np.testing.assert_allclose(kernels.softmax(x.astype(dtype), temperature=1e300), 0.25)


@pytest.mark.parametrize("dtype", DTYPES)
def test_temperatures_whose_reciprocal_is_too_large(dtype: Any) -> None:
    """Subnormal logits over a subnormal temperature are ordinary numbers."""
    smallest = float(np.finfo(dtype).smallest_subnormal)
    for classes, steps in ((2, 3), (5, 40), (20, 1000), (300, 7)):
        z = -(np.arange(classes) % 5) * (steps % 3 + 1)  # what the quotients are
        temperature = steps * smallest
        x = (z * temperature).astype(dtype)
        wanted = kernels.softmax(z.astype(dtype))
        for axis, given, whole in ((1, x[None], wanted[None]), (0, x[:, None], wanted[:, None])):
            got = kernels.softmax(given, axis, temperature=temperature)
            np.testing.assert_allclose(got, whole, rtol=60 * np.finfo(dtype).eps)
            logs = kernels.log_softmax(given, axis, temperature=temperature)
            np.testing.assert_allclose(logs, np.log(whole), rtol=60 * np.finfo(dtype).eps)
            total = kernels.logsumexp(given, axis, temperature=temperature)
            np.testing.assert_allclose(total, kernels.logsumexp(z.astype(dtype)), rtol=1e-5)
            flat = kernels.softmax_backward(np.ones_like(got), got, axis, temperature=temperature)
            assert np.isfinite(flat).all() or classes > 2
            small = np.zeros_like(got)
            small.flat[0] = temperature
            back = kernels.softmax_backward(small, got, axis, temperature=temperature)
            one = np.zeros_like(got)
            one.flat[0] = 1
            plain = kernels.softmax_backward(one, got, axis)
            np.testing.assert_allclose(back, plain, atol=2 / steps)
        zero = np.zeros(classes, dtype)
        even = kernels.softmax(zero, temperature=temperature)
        assert not kernels.softmax_backward(zero, even, temperature=temperature).any()
        assert not kernels.log_softmax_backward(zero, np.log(even), temperature=temperature).any()
    far = kernels.log_softmax(np.array([1, 2, 0], dtype), temperature=smallest)
    assert far.tolist() == [-np.inf, 0, -np.inf]


@pytest.mark.parametrize("temperature", [0, 0.0, -1, -0.5, np.nan, np.inf, -np.inf])
def test_bad_temperatures(temperature: float) -> None:
    x = np.zeros((3, 4), np.float32)
    out = np.full((3, 4), 7, np.float32)
    for module, name in itertools.product((kernels, reference), FUNCTIONS):
        with pytest.raises(ValueError, match="temperature"):
            getattr(module, name)(x, temperature=temperature)
    for name in ("softmax", "log_softmax"):
        with pytest.raises(ValueError, match="temperature"):
            getattr(kernels, name)(x, temperature=temperature, out=out)
    assert (out == 7).all()


def test_temperature_must_be_a_number() -> None:
    for temperature in ("1", None, [1.0, 2.0], 1j):
        for name in FUNCTIONS:
            with pytest.raises(TypeError, match="temperature"):
                getattr(kernels, name)(np.zeros((3, 4)), temperature=temperature)
