"""linear and linear_backward of features of every type, with scale and shift, in any stride."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from feature_cases import (
    FEW_OUTPUTS,
    FEW_ROWS,
    LARGE,
    NARROW,
    SHAPES,
    check_layer,
    converted,
    every_pattern,
    feature_dtype,
    random_features,
    random_rest,
)
from kernel_cases import DTYPES, misaligned, same_bytes

from softstep import kernels

pytestmark = pytest.mark.usefixtures("level")

OWN = "of the weight's type"
ONE_OF_EACH = (FEW_OUTPUTS[2], FEW_ROWS[2], LARGE[3])


def name_of(features: str, dtype: Any) -> str:
    return np.dtype(dtype).name if features == OWN else features


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [*NARROW, OWN])
def test_every_type(features: str, dtype: Any, rng: np.random.Generator) -> None:
    for n, k, c in SHAPES:
        x = random_features(rng, (n, k), name_of(features, dtype))
        check_layer(x, random_rest(rng, n, k, c, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [*NARROW, OWN])
def test_scale_and_shift(features: str, dtype: Any, rng: np.random.Generator) -> None:
    for n, k, c in (*ONE_OF_EACH, (70, 31, 1), (4, 15, 33), (9, 1, 40), (50, 1, 40)):
        x = random_features(rng, (n, k), name_of(features, dtype))
        rest = random_rest(rng, n, k, c, dtype)
        scale, shift = rng.uniform(0.001, 0.02, k), rng.normal(0, 1, k)
        for affine in (
            {"scale": 1 / 255},
            {"scale": scale},
            {"shift": -0.5},
            {"shift": shift.astype(np.float32)},
            {"scale": scale.astype(dtype), "shift": shift.astype(dtype)},
            {"scale": 3, "shift": shift},
            {"scale": scale[::-1], "shift": np.float16(0.25)},
        ):
            check_layer(x, rest, **affine)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", NARROW)
def test_every_number_forward(features: str, dtype: Any) -> None:
    """One feature times one: what comes out is the number, converted."""
    x = every_pattern(features)
    wanted = converted(x, dtype)
    # few outputs, many outputs, few rows
    for rows, outputs in ((len(x), 3), (len(x), 40), (32, 40)):
        for begin in range(0, len(x), rows)[:: max(len(x) // rows // 64, 1)]:
            some = slice(begin, begin + rows)
            got = kernels.linear(x[some, None], np.ones((outputs, 1), dtype))
            for column in got.T:
                np.testing.assert_array_equal(column, wanted[some])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", NARROW)
def test_every_finite_number_among_others(features: str, dtype: Any) -> None:
    """Rows of many features times the identity, forward and backward."""
    x = every_pattern(features)
    x = x[np.isfinite(converted(x, np.float64))]
    for k in (16, 48):
        rows = x[: len(x) // k * k].reshape(-1, k)
        got = kernels.linear(rows, np.eye(k, dtype=dtype))
        assert np.array_equal(got, rows.astype(dtype))
        for n in (7, 32, 40):
            some = rows[-n:]
            dlogits = np.eye(len(some), dtype=dtype)
            _, dweight, _ = kernels.linear_backward(
                some, np.zeros((len(some), k), dtype), dlogits, wanted=["dweight"]
            )
            assert np.array_equal(dweight, some.astype(dtype)), f"n={n}, k={k}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", NARROW)
def test_every_number_backward(features: str, dtype: Any) -> None:
    """One row: dweight is dlogits times the row, NaN and infinities included."""
    x = every_pattern(features)[None, :]
    for outputs in (1, 6, 40):
        _, dweight, _ = kernels.linear_backward(
            x, np.ones((outputs, x.shape[1]), dtype), np.full((1, outputs), -1, dtype)
        )
        for row in dweight:
            np.testing.assert_array_equal(row, -converted(x[0], dtype))


@pytest.mark.parametrize("features", [*NARROW, "float32"])
def test_rows_in_any_stride(features: str, rng: np.random.Generator) -> None:
    """Every second row, some columns, backwards, the same row again: the bytes of a copy."""
    dtype = np.float32
    for n, k, c in ONE_OF_EACH:
        whole = random_features(rng, (2 * n, k + 9), features)
        weight, bias, dlogits = random_rest(rng, n, k, c, dtype)
        for x in (
            whole[::2, :k],
            whole[:n, 3 : k + 3],
            whole[n - 1 :: -1, :k] if n > 1 else whole[:n, :k],
            np.broadcast_to(whole[1, 2 : k + 2], (n, k)),
            np.asfortranarray(whole[:n, :k]),
            random_features(rng, (n, 2 * k), features)[:, ::2],
            misaligned(whole[:n, :k]),
            whole[:n, :k].astype(whole.dtype.newbyteorder(">")),
        ):
            copy = np.ascontiguousarray(x).astype(whole.dtype)
            for affine in ({}, {"scale": 0.5, "shift": 1.0}):
                assert same_bytes(
                    kernels.linear(x, weight, bias, **affine),
                    kernels.linear(copy, weight, bias, **affine),
                )
                assert same_bytes(
                    kernels.linear_backward(x, weight, dlogits, **affine),
                    kernels.linear_backward(copy, weight, dlogits, **affine),
                )


@pytest.mark.parametrize("features", [*NARROW, "float32"])
def test_strided_rows_are_read_in_place(features: str, rng: np.random.Generator) -> None:
    """NumPy allocates nothing like a copy of the rows, converted or not."""
    whole = random_features(rng, (4_000, 300), features)
    for c in (10, 40):
        weight, _, dlogits = random_rest(rng, 2_000, 256, c, np.float32)
        out = np.empty((2_000, c), np.float32)
        for x in (whole[:2_000, :256], whole[::2, 7:263]):
            tracemalloc.start()
            try:
                kernels.linear(x, weight, out=out, scale=0.5)
                kernels.linear_backward(x, weight, dlogits, wanted=("dweight", "dbias"))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak - 2 * weight.nbytes < x.size / 4, f"{peak} bytes for rows of {x.size}"


def test_integers_of_two_bytes_are_integers() -> None:
    """uint16 is how bfloat16 is passed on; given by a caller it is what it says."""
    x = np.array([[16256, 1]], np.uint16)  # 16256 are the bits of 1.0 in bfloat16
    assert kernels.linear(x, np.eye(2)).tolist() == [[16256, 1]]


@pytest.mark.parametrize("features", NARROW)
def test_lists_and_no_rows(features: str) -> None:
    dtype = feature_dtype(features)
    for c in (3, 40):
        weight = np.ones((c, 4), np.float32)
        assert kernels.linear(np.zeros((0, 4), dtype), weight).shape == (0, c)
        dx, dweight, dbias = kernels.linear_backward(
            np.zeros((0, 4), dtype), weight, np.zeros((0, c), np.float32), scale=2.0
        )
        assert dx.shape == (0, 4)
        assert same_bytes((dweight, dbias), (np.zeros((c, 4), np.float32), np.zeros(c, np.float32)))
        got = kernels.linear(np.ones((2, 0), dtype), np.ones((c, 0)), np.arange(c), shift=1.0)
        assert np.array_equal(got, [range(c)] * 2)
