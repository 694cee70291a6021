"""What linear may be asked beyond a product: activations, some gradients only; and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from feature_cases import (
    FEW_OUTPUTS,
    FEW_ROWS,
    LARGE,
    NARROW,
    SHAPES,
    affine_bounds,
    feature_dtype,
    random_features,
    random_rest,
)
from kernel_cases import DTYPES, Array, LongDouble, assert_close, eps, misaligned, same_bytes, tiny

from softstep import kernels, reference

pytestmark = pytest.mark.usefixtures("level")

ACTIVATIONS = ("relu", "sigmoid", "tanh")


def exact_activation(name: str, x: Array) -> Array:
    x = x.astype(LongDouble)
    if name == "relu":
        return np.where(x < 0, 0, x)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def wide_range(rng: np.random.Generator, dtype: Any) -> Array:
    """From the smallest number to the largest, dense where functions bend; infinities and NaN."""
    info = np.finfo(dtype)
    first, last = np.log(float(info.smallest_subnormal)), np.log(float(info.max))
    positive = np.concatenate(
        [
            np.exp(rng.uniform(first, last, 4_000)),
            rng.uniform(0, 2, 20_000),  # where tanh changes its formula
            rng.uniform(0, 40, 20_000),
            rng.uniform(0, -2 * np.log(float(info.tiny)), 4_000),  # where exp underflows
            [0, 1, info.tiny, info.smallest_subnormal, info.max, info.eps, 0.55, np.inf],
            np.nextafter(dtype(0.55), np.array([0, 1], dtype)),
        ]
    )
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_within_4_ulp(
    activation: str, dtype: Any, rng: np.random.Generator
) -> None:
    """Of one feature times one, whose logit is the feature."""
    x = wide_range(rng, dtype)
    with np.errstate(under="ignore"):
        exact = exact_activation(activation, x)
    bound = np.where(np.isnan(exact), 0, 4 * eps(dtype) * np.abs(exact)) + tiny(dtype)
    if activation == "relu":
        bound = np.zeros(len(x))
    for outputs in (1, 40):
        got = kernels.linear(x[:, None], np.ones((outputs, 1), dtype), activation=activation)
        for column in got.T[:: max(outputs - 1, 1)]:
            assert_close(column, exact, bound, f"{activation}, {outputs} outputs")
    got = kernels.linear(np.ones((3, 1), dtype), x[:, None], activation=activation)  # few rows
    for row in got:
        assert_close(row, exact, bound, f"{activation}, few rows")


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_of_tiny_numbers_keeps_its_digits(dtype: Any, rng: np.random.Generator) -> None:
    """Far below sqrt(eps) tanh(x) is x, to one rounding; also of numbers that are subnormal."""
    x = (rng.uniform(-1, 1, 1_000) * eps(dtype)).astype(dtype)
    x[::3] *= dtype(tiny(dtype)) / dtype(eps(dtype))
    got = kernels.linear(x[:, None], np.ones((1, 1), dtype), activation="tanh")[:, 0]
    assert_close(got, x.astype(LongDouble), eps(dtype) * np.abs(x), "tanh")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_every_shape(activation: str, dtype: Any, rng: np.random.Generator) -> None:
    """They are applied once, to whole sums with their bias: none of them grows an error."""
    for n, k, c in (*SHAPES, (40, 1_500, 40), (2, 3_000, 70)):
        x = random_features(rng, (n, k), np.dtype(dtype).name)
        rest = random_rest(rng, n, k, c, dtype)
        weight, bias, _ = rest
        got = kernels.linear(x, weight, bias, activation=activation)
        exact = reference.linear(
            x.astype(float), weight.astype(float), bias.astype(float), activation=activation
        )
        bound = affine_bounds(x, rest)[0] + 4 * eps(dtype) * np.abs(exact)
        assert_close(got, exact, bound, f"{activation}, {(n, k, c)}")
        logits = kernels.linear(x, weight, bias)
        assert_close(
            got,
            exact_activation(activation, logits),
            4 * eps(dtype) * np.abs(exact_activation(activation, logits)) + tiny(dtype),
            f"{activation} of the logits, {(n, k, c)}",
        )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_of_narrow_features(activation: str, rng: np.random.Generator) -> None:
    for features in ("uint8", "float16"):
        for n, k, c in ((70, 20, 10), (5, 20, 40), (50, 20, 40)):
            x = random_features(rng, (n, k), features)
            rest = random_rest(rng, n, k, c, np.float32)
            affine = {"scale": 0.01, "shift": rng.normal(0, 1, k)}
            got = kernels.linear(x, *rest[:2], activation=activation, **affine)
            weight, bias = (array.astype(float) for array in rest[:2])
            exact = reference.linear(x, weight, bias, activation=activation, **affine)
            bound = affine_bounds(x, rest, **affine)[0] + 4 * eps(np.float32) * np.abs(exact)
            assert_close(got, exact, bound, f"{activation}, {features}, {(n, k, c)}")


NAMES = ("dx", "dweight", "dbias")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", ["uint8", "float16", "of the weight's type"])
def test_wanted_gradients_only(features: str, dtype: Any, rng: np.random.Generator) -> None:
    """dx and dweight have the same bytes whatever else is wanted; dbias is within its bound."""
    for n, k, c in (FEW_OUTPUTS[2], FEW_OUTPUTS[4], FEW_ROWS[1], FEW_ROWS[2], LARGE[1], LARGE[2]):
        name = features if features in NARROW else np.dtype(dtype).name
        x = random_features(rng, (n, k), name)
        rest = random_rest(rng, n, k, c, dtype)
        weight, _, dlogits = rest
        every = kernels.linear_backward(x, weight, dlogits)
        bound = affine_bounds(x, rest)[3]
        for wanted in (
            (), ("dx",), ("dweight",), ("dbias",), ("dx", "dweight"), ["dx", "dbias"],
            {"dweight", "dbias"}, ("dbias", "dx", "dweight"), "dx", "dweight", "dbias",
        ):  # fmt: skip
            got = kernels.linear_backward(x, weight, dlogits, wanted=wanted)
            names = [wanted] if isinstance(wanted, str) else wanted
            for at, name in enumerate(NAMES):
                what = f"{name} of {wanted}, {(n, k, c)}"
                if name not in names:
                    assert got[at] is None, what
                elif name == "dbias":
                    assert got[at].dtype == dtype
                    assert_close(got[at], every[at].astype(LongDouble), bound, what)
                else:
                    assert same_bytes(got[at], every[at]), what


@pytest.mark.parametrize("features", [*NARROW, "float32"])
def test_threads_change_no_bit(features: str, rng: np.random.Generator) -> None:
    for n, k, c in ((1_503, 129, 10), (400, 257, 33), (16, 700, 300), (600, 40, 130)):
        x = random_features(rng, (n, k), features)
        weight, bias, dlogits = random_rest(rng, n, k, c, np.float32)
        for affine in ({}, {"scale": 0.01, "shift": 0.5}):
            for activation in (None, *ACTIVATIONS[1:2]):

                def forward(threads: int, x: Array = x, weight: Array = weight, bias: Array = bias,
                            affine: Any = affine, activation: Any = activation) -> Any:  # fmt: skip
                    return kernels.linear(
                        x, weight, bias, activation=activation, threads=threads, **affine
                    )

                one = forward(1)
                assert all(same_bytes(forward(threads), one) for threads in (2, 3, 4, 7))
            for wanted in (NAMES, ("dx",), ("dweight",), ("dbias",)):
                results = [
                    kernels.linear_backward(
                        x, weight, dlogits, wanted=wanted, threads=threads, **affine
                    )
                    for threads in (1, 2, 3, 4, 7)
                ]
                for result in results[1:]:
                    for got, one in zip(result, results[0], strict=True):
                        assert (got is one is None) or same_bytes(got, one)


X32, W32 = np.ones((6, 5), np.float32), np.ones((3, 5), np.float32)
BYTES = np.ones((6, 5), np.uint8)
WRONG: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "an unknown activation": (ValueError, "activation.*gelu", {"activation": "gelu"}),
    "an activation of another kind": (ValueError, "activation", {"activation": 3}),
    "a scale too long": (ValueError, "scale", {"scale": np.ones(6)}),
    "a shift too short": (ValueError, "shift", {"shift": [1.0]}),
    "a scale of two dimensions": (ValueError, "scale", {"scale": np.ones((1, 5))}),
    "a complex scale": (TypeError, "scale", {"scale": 1j}),
    "a shift of words": (TypeError, "shift", {"shift": "half"}),
    "a weight of another type": (TypeError, "weight|x", {"weight": W32.astype(np.float64)}),
    "a narrow weight": (TypeError, "weight", {"weight": W32.astype(np.float16)}),
    "a bias of another type": (TypeError, "bias", {"bias": np.ones(3)}),
    "a narrow bias": (TypeError, "bias", {"bias": np.ones(3, np.float16)}),
    "features of long double": (TypeError, "x", {"x": X32.astype(np.longdouble)}),
    "complex features": (TypeError, "x", {"x": X32.astype(np.complex64)}),
    "features that are truths": (TypeError, "x", {"x": X32.astype(bool)}),
    "bytes of another width": (ValueError, "x|weight", {"x": np.ones((6, 4), np.uint8)}),
    "bytes of one dimension": (ValueError, "x", {"x": np.ones(5, np.int8)}),
    "bytes and a bias of another type": (TypeError, "bias", {"x": BYTES, "bias": np.ones(3)}),
    "bytes and an output of another type": (
        (TypeError, ValueError), "out", {"x": BYTES, "out": np.zeros((6, 3))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("module", [kernels, reference], ids=["kernel", "reference"])
@pytest.mark.parametrize("case", WRONG)
def test_errors(case: str, module: Any) -> None:
    error, text, changed = WRONG[case]
    out = np.full((6, 3), 7, np.float32)
    given: dict[str, Any] = {"x": X32, "weight": W32, "out": out, **changed}
    with pytest.raises(error, match=text):
        module.linear(given.pop("x"), given.pop("weight"), given.pop("bias", None), **given)
    assert (out == 7).all()


@pytest.mark.parametrize("module", [kernels, reference], ids=["kernel", "reference"])
def test_errors_of_the_backward_pass(module: Any) -> None:
    dlogits = np.ones((6, 3), np.float32)
    for error, text, arguments, options in (
        (ValueError, "wanted.*dlogits", (X32, W32, dlogits), {"wanted": ("dx", "dlogits")}),
        (ValueError, "wanted", (X32, W32, dlogits), {"wanted": "dy"}),
        (ValueError, "scale", (BYTES, W32, dlogits), {"scale": np.ones(4)}),
        (TypeError, "shift", (BYTES, W32, dlogits), {"shift": [1j] * 5}),
        (ValueError, "dlogits", (BYTES, W32, dlogits[:5]), {}),
        (TypeError, "dlogits", (BYTES, W32, dlogits.astype(np.float64)), {}),
        (TypeError, "dlogits", (BYTES, W32, dlogits.astype(np.float16)), {"wanted": ()}),
        (ValueError, "x|weight", (BYTES[:, :4], W32, dlogits), {"wanted": ("dbias",)}),
    ):
        with pytest.raises(error, match=text):
            module.linear_backward(*arguments, **options)


@pytest.mark.parametrize("features", [*NARROW, "float32"])
def test_out_may_not_lie_over_the_features(features: str) -> None:
    """Also where only a part of the rows, or their scale, shares its memory."""
    memory = np.zeros(4_096, np.uint8)
    dtype = feature_dtype(features)
    size = dtype.itemsize * 60
    x = memory[1_024 : 1_024 + 2 * size].view(dtype).reshape(12, 10)
    weight = np.ones((3, 10), np.float32)
    for rows in (x, x[::2], x[:, :9], x[:, ::2]):
        for begin in (1_024, 1_024 + 2 * size - 8, 1_024 - 4 * 3 * len(rows) + 4):
            out = memory[begin : begin + 4 * 3 * len(rows)].view(np.float32).reshape(-1, 3)
            if np.shares_memory(out, rows):
                with pytest.raises(ValueError, match=r"out.*x"):
                    kernels.linear(rows, weight[:, : rows.shape[1]], out=out)
    assert not memory.any()
    scale = np.ones(10, np.float32)
    with pytest.raises(ValueError, match=r"out.*scale"):
        kernels.linear(x[:3], weight, scale=scale, out=scale[:9].reshape(3, 3))
    with pytest.raises(ValueError, match=r"out.*shift"):
        kernels.linear(x[:3], weight, shift=scale, out=scale[:9].reshape(3, 3))


def test_scale_and_shift_of_every_layout(rng: np.random.Generator) -> None:
    x, weight = rng.integers(0, 9, (5, 6), np.uint8), rng.normal(size=(3, 6))
    values = rng.normal(size=6)
    wanted = kernels.linear(x, weight, scale=values, shift=values)
    for given in (
        misaligned(values), np.repeat(values, 2)[::2], values[::-1].copy()[::-1],
        values.astype(">f8"), values.tolist(),
    ):  # fmt: skip
        assert same_bytes(kernels.linear(x, weight, scale=given, shift=given), wanted)
