"""Features of every type, shapes for every path of `linear`, and what they are checked with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import Array, assert_close, eps, read_only, tiny

from softstep import kernels, reference

NARROW = ("uint8", "int8", "float16", "bfloat16")

# N, K, C: few outputs (C <= 32), few rows (N <= 32 < C), and large; around the edges of tiles.
FEW_OUTPUTS = ((1, 1, 1), (5, 17, 3), (33, 100, 10), (70, 31, 32), (140, 129, 7))
FEW_ROWS = ((1, 40, 33), (3, 17, 70), (16, 130, 41), (31, 64, 100), (32, 5, 129))
LARGE = ((33, 1, 33), (40, 17, 50), (65, 129, 48), (130, 600, 100), (257, 33, 34))
SHAPES = FEW_OUTPUTS + FEW_ROWS + LARGE


def feature_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name; skips the test where ml_dtypes is needed and missing."""
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes", exc_type=ImportError).bfloat16)
    return np.dtype(name)


def random_features(rng: np.random.Generator, shape: tuple[int, ...], name: str) -> Array:
    """Integers over their whole range; floats of different magnitudes, some of them subnormal."""
    dtype = feature_dtype(name)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    x = rng.normal(0, 1, shape) * np.exp(rng.normal(0, 2, shape))
    if name == "float16":
        x[rng.random(shape) < 0.1] *= 1e-6
        x = x.clip(-6e4, 6e4)  # the largest float16 is 65,504
    return x.astype(dtype)


def every_pattern(name: str) -> Array:
    """All numbers of a narrow type: NaN, infinities and subnormals too."""
    dtype = feature_dtype(name)
    bits = np.dtype(f"u{dtype.itemsize}")
    return np.arange(256**dtype.itemsize, dtype=bits).view(dtype)


def converted(x: Array, dtype: Any) -> Array:
    """As NumPy converts; signalling NaNs of bfloat16 would warn."""
    with np.errstate(invalid="ignore"):
        return x.astype(dtype)


def affine_bounds(
    x: Array, rest: tuple[Array, ...], scale: Any = None, shift: Any = None
) -> tuple[Array, ...]:
    """Bounds of logits with bias, dx, dweight, dbias of features ``x * scale + shift``.

    Each is (terms + 2) eps / 2 of the magnitudes summed, the bound for sums in any order, and for a
    feature the roundings of scale, shift, product and sum. Twice that, as the reference in float64
    has a bound of its own.
    """
    weight, bias, dlogits = (np.abs(array.astype(np.float64)) for array in rest)
    unit, smallest = eps(rest[0].dtype), tiny(rest[0].dtype)
    size = np.abs(x.astype(np.float64)) * np.abs(1.0 if scale is None else scale)
    size = size + np.abs(0.0 if shift is None else shift)
    (n, k), c = x.shape, len(weight)
    extra = 2 if scale is None and shift is None else 6
    return (
        (k + extra) * unit * (size @ weight.T + bias) + smallest,
        (c + 2) * unit * (dlogits @ weight) + smallest,
        (n + extra) * unit * (dlogits.T @ size) + smallest,
        (n + 2) * unit * dlogits.sum(0) + smallest,
    )


def random_rest(rng: np.random.Generator, n: int, k: int, c: int, dtype: Any) -> tuple[Array, ...]:
    """weight, bias and dlogits."""
    arrays = rng.normal(0, 0.5, (c, k)), rng.normal(0, 10, c), rng.normal(0, 0.1, (n, c))
    weight, bias, dlogits = (read_only(array.astype(dtype)) for array in arrays)
    return weight, bias, dlogits


def check_layer(x: Array, rest: tuple[Array, ...], **options: Any) -> None:
    """linear and linear_backward against float64; `options` are scale, shift and threads."""
    weight, bias, dlogits = rest
    dtype = weight.dtype
    affine = {name: options[name] for name in ("scale", "shift") if name in options}
    wide = x.astype(np.float64)  # the rows as NumPy converts them
    wide_rest = [array.astype(np.float64) for array in rest]
    exact = reference.linear(wide, wide_rest[0], **affine)
    exact_gradients = reference.linear_backward(wide, wide_rest[0], wide_rest[2], **affine)
    bounds = affine_bounds(x, rest, **affine)
    got = (
        kernels.linear(x, weight, **options),
        kernels.linear(x, weight, bias, **options),
        *kernels.linear_backward(x, weight, dlogits, **options),
    )
    names = ("linear", "linear with bias", "dx", "dweight", "dbias")
    results = (exact, exact + wide_rest[1], *exact_gradients)
    for name, one, wanted, bound in zip(names, got, results, (bounds[0], *bounds), strict=True):
        what = f"{name}, {x.dtype} {x.shape} x {weight.shape} in {dtype}"
        assert one.dtype == dtype, what
        assert_close(one, wanted, bound, what)
