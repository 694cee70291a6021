"""softmax_backward and log_softmax_backward: exact formulas, finite differences, PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from argument_cases import arrangements, layouts, wide
from kernel_cases import DTYPES, Array, assert_close, eps, random_logits, same_bytes, tiny

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

FUNCTIONS = ("softmax_backward", "log_softmax_backward")
SHAPES = [(n, c) for c in (*range(1, 20), 33, 100, 128, 129, 600, 1100) for n in (1, 3, 18)]


def inputs(
    name: str, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, axis: int = -1
) -> tuple[Array, Array]:
    forward = getattr(kernels, name.removesuffix("_backward"))
    result = forward(random_logits(rng, shape, dtype), axis)
    return rng.normal(0, 1, shape).astype(dtype), result


def exact_and_bound(
    name: str, dout: Array, result: Array, temperature: float
) -> tuple[Array, Array]:
    """The formula in extended precision, and what the kernels may be off by.

    A sum is off by at most 20 eps of the sum of magnitudes (32 terms one after the other, blocks in
    double); 8 eps are for exp, the products and the differences.
    """
    g, r = dout.astype(np.longdouble), result.astype(np.longdouble)
    unit = 28 * eps(dout.dtype)
    if name == "softmax_backward":
        total = (g * r).sum(-1, keepdims=True)
        exact = (g - total) * r
        size = (np.abs(g) + np.abs(g * r).sum(-1, keepdims=True)) * r
    else:
        total = g.sum(-1, keepdims=True)
        exact = g - np.exp(r) * total
        size = np.abs(g) + np.exp(r) * np.abs(g).sum(-1, keepdims=True)
    return exact / temperature, unit * size / temperature + tiny(dout.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_the_formula(name: str, dtype: Any, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        dout, result = inputs(name, rng, shape, dtype)
        for temperature in (1.0, 0.3):
            exact, bound = exact_and_bound(name, dout, result, temperature)
            for module in (kernels, reference):
                got = getattr(module, name)(dout, result, temperature=temperature)
                assert got.dtype == dtype
                assert_close(got, exact, bound, f"{module.__name__} {shape}, {temperature}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_differences(name: str, rng: np.random.Generator) -> None:
    forward = getattr(kernels, name.removesuffix("_backward"))
    for classes, temperature in ((2, 1.0), (7, 0.5), (20, 2.0), (140, 1.0)):
        x = rng.normal(0, 2, (3, classes))
        dout = rng.normal(0, 1, x.shape)
        got = getattr(kernels, name)(
            dout, forward(x, temperature=temperature), temperature=temperature
        )
        step = 1e-3

        def loss(x: Array, dout: Array = dout, temperature: float = temperature) -> Array:
            return (forward(x, temperature=temperature) * dout).sum(-1)

        for column in range(0, classes, 1 + classes // 9):
            e = np.zeros(classes)
            e[column] = step
            slope = 8 * (loss(x + e) - loss(x - e)) - (loss(x + 2 * e) - loss(x - 2 * e))
            np.testing.assert_allclose(got[:, column], slope / (12 * step), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_pytorch(name: str, dtype: Any, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", exc_type=ImportError)
    forward = getattr(torch, name.removesuffix("_backward"))
    for shape, axis in (((18, 10), 1), ((5, 130), 1), ((40, 7), 0), ((3, 50, 4), 1)):
        x = torch.from_numpy(random_logits(rng, shape, dtype)).requires_grad_()
        dout = rng.normal(0, 1, shape).astype(dtype)
        result = forward(x / 2, axis)
        result.backward(torch.from_numpy(dout))
        got = getattr(kernels, name)(dout, result.detach().numpy(), axis, temperature=2)
        moved = [np.moveaxis(a, axis, -1) for a in (dout, result.detach().numpy())]
        _, bound = exact_and_bound(name, *moved, 2)
        assert_close(
            np.moveaxis(got, axis, -1), np.moveaxis(x.grad.numpy(), axis, -1), 2 * bound, f"{shape}"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides_of_several_axes(name: str, dtype: Any, rng: np.random.Generator) -> None:
    """Both inputs in the same and in different arrangements: what their copies give."""
    function, ways = getattr(kernels, name), ("whole", "backwards", "spaced", "repeated")
    sizes = (2, 3, 4)
    for what, g in arrangements(rng, sizes, dtype, ways):
        for r in (g / 7, np.broadcast_to(g[:, :1] / 7, sizes), np.asfortranarray(g / 7)):
            for axis in range(g.ndim):
                wanted = function(g.copy(), r.copy(), axis)
                assert same_bytes(function(g, r, axis), wanted), f"{what}, axis {axis}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_axis_layout_and_row(name: str, dtype: Any, rng: np.random.Generator) -> None:
    """The same bits for any axis, any strides, and a row alone."""
    function = getattr(kernels, name)
    for shape in ((6, 5), (3, 17, 4), (2, 150, 3), (2, 600, 19)):
        dout, result = inputs(name, rng, shape, dtype, 1)
        wanted = function(dout, result, 1)
        moved = [np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (dout, result)]
        rows = function(*moved)
        assert same_bytes(np.ascontiguousarray(np.moveaxis(rows, -1, 1)), wanted), f"{shape}"
        assert same_bytes(function(*(a[1] for a in moved)), rows[1]), f"{shape}, alone"
        padded = [np.pad(a, [(1, 2)] * a.ndim) for a in (dout, result)]
        parts = [a[tuple(slice(1, -2) for _ in shape)] for a in padded]
        assert same_bytes(function(*parts, 1), wanted), f"{shape}, a part"
        assert same_bytes(function(dout, parts[1], 1), wanted)
    dout, result = inputs(name, rng, (6, 5), dtype)
    wanted = function(dout, result)
    for (layout, g), r in zip(layouts(dout).items(), layouts(result).values(), strict=True):
        assert same_bytes(function(g, r), wanted), layout
        assert same_bytes(function(g, result), wanted), layout


@pytest.mark.parametrize("name", FUNCTIONS)
def test_threads(name: str, threads: int, rng: np.random.Generator) -> None:
    for shape, axis in (((20_011, 10), 1), ((2_003, 130), 1), ((10, 20_011), 0)):
        dout, result = inputs(name, rng, shape, np.float32, axis)
        function = getattr(kernels, name)
        wanted = function(dout, result, axis, threads=1)
        assert same_bytes(function(dout, result, axis, threads=threads), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_out(name: str, dtype: Any, rng: np.random.Generator) -> None:
    function = getattr(kernels, name)
    for shape in ((6, 5), (4, 140)):
        for axis in (0, 1):
            dout, result = inputs(name, rng, shape, dtype, axis)
            wanted = function(dout, result, axis)
            out = np.full(shape, 5, dtype)
            assert function(dout, result, axis, out=out) is out
            assert same_bytes(out, wanted)
            for which in (0, 1):
                given = [dout.copy(), result.copy()]
                assert function(*given, axis, out=given[which]) is given[which]
                assert same_bytes(given[which], wanted)
    other = np.float64 if dtype == np.float32 else np.float32
    dout, result = inputs(name, rng, (6, 5), dtype)
    bad: list[Any] = [
        np.zeros((6, 5), other), np.zeros((5, 6), dtype), np.zeros((6, 10), dtype)[:, ::2],
        np.zeros((6, 5), dtype, order="F"), [[0.0] * 5] * 6,
    ]  # fmt: skip
    for out in bad:
        with pytest.raises((TypeError, ValueError), match="out"):
            function(dout, result, out=out)
        assert not np.any(out)
    memory = np.zeros(100, dtype)
    for given in ((memory[:30].reshape(6, 5), result), (dout, memory[:30].reshape(6, 5))):
        with pytest.raises(ValueError, match="out"):
            function(*given, out=memory[7:37].reshape(6, 5))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments(name: str) -> None:
    given = name.removesuffix("_backward")
    for module in (kernels, reference):
        function = getattr(module, name)
        ones = np.ones((6, 5), np.float32)
        for shape in ((5, 6), (6, 4), (6, 5, 1), (5,)):
            with pytest.raises(ValueError, match=given):
                function(ones, np.ones(shape, np.float32))
        with pytest.raises(TypeError, match=given):
            function(ones, np.ones((6, 5)))
        with pytest.raises(TypeError, match="dout"):
            function(ones.astype(np.float16), ones)
        for temperature in (0, -1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match="temperature"):
                function(ones, ones, temperature=temperature)
        with pytest.raises(ValueError, match="axis"):
            function(ones, ones, 2)
        with pytest.raises(ValueError, match="dout"):
            function(np.ones((3, 0)), np.ones((3, 0)))
        with pytest.raises(ValueError, match="dout"):
            function(np.float64(1), np.float64(1))
        assert function(np.ones((0, 4)), np.ones((0, 4))).shape == (0, 4)
        assert function([1.0, 2.0], [0.5, 0.5]).dtype == np.float64
        x = wide(np.ones(1), (6, 5))
        assert function(x, np.full((6, 5), 0.2)).shape == (6, 5)
