"""Rows brought together: to the bit what NumPy makes of it; on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DTYPES, same_bytes

from softstep import _native, kernels, reference

pytestmark = pytest.mark.usefixtures("level")

KINDS = (np.uint8, np.int8, np.float16, np.float32, np.float64)


def rows_of(rng: np.random.Generator, kind: Any, n: int, columns: int) -> Any:
    if np.dtype(kind).kind == "f":
        x = (rng.normal(0, 1, (n, columns)) * 10.0 ** rng.integers(-3, 4, (n, columns))).astype(
            kind
        )
        x.reshape(-1)[::7] = -0.0
        x.reshape(-1)[3::11] = np.nan
        x.reshape(-1)[5::13] = -np.inf
        return x
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, (n, columns), kind, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("affine", ["", "scale", "shift", "scale shift"])
def test_to_the_bit(
    affine: str, kind: Any, dtype: Any, threads: int, rng: np.random.Generator
) -> None:
    for columns in (0, 1, 3, 15, 16, 17, 63, 64, 65, 200, 784):
        x = rows_of(rng, kind, 40, columns)
        order = rng.integers(0, 40, int(rng.integers(0, 150)))
        options = {
            name: rng.normal(0, 1, columns) if rng.random() < 0.5 else float(rng.normal())
            for name in affine.split()
        }
        for rows in (order, None):
            want = reference.gather_rows(x, rows, dtype=dtype, **options)
            got = kernels.gather_rows(x, rows, dtype=dtype, threads=threads, **options)
            assert same_bytes(got, want)
            out = np.full(want.shape, 7, dtype)
            assert kernels.gather_rows(x, rows, out=out, threads=threads, **options) is out
            assert same_bytes(out, want)


def test_the_usual_dtype(rng: np.random.Generator) -> None:
    for kind, wanted in zip(KINDS, ("f4", "f4", "f4", "f4", "f8"), strict=True):
        assert kernels.gather_rows(rows_of(rng, kind, 3, 2), [1]).dtype == wanted
    assert kernels.gather_rows([[1, 2]], [0, 0]).dtype == np.float64


def test_bfloat16(rng: np.random.Generator) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = rng.normal(0, 1, (9, 37)).astype(ml_dtypes.bfloat16)
    got = kernels.gather_rows(x, [8, 0], scale=0.5)
    assert same_bytes(got, x[[8, 0]].astype(np.float32) * np.float32(0.5))


@given(
    n=st.integers(1, 30), columns=st.integers(0, 90), step=st.sampled_from([1, 2, -1]),
    kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_rows_in_any_stride(n: int, columns: int, step: int, kind: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rows_of(rng, kind, n, columns + 5)[::step, 2 : columns + 2]
    order = rng.integers(0, len(x), 11)
    assert same_bytes(
        kernels.gather_rows(x, order, scale=2.0), reference.gather_rows(x, order, scale=2.0)
    )
    assert same_bytes(kernels.gather_rows(x), reference.gather_rows(x))
    assert same_bytes(kernels.gather_rows(x.T.copy().T), reference.gather_rows(x))


@pytest.mark.parametrize("kind", ["u1", "i2", "f2", "i4", "f4", "f8", "u8", "?"])
def test_rows_of_any_numbers_as_they_are(kind: str, threads: int, rng: np.random.Generator) -> None:
    """What data sets use for rows that nothing is to be done to."""
    for columns in (0, 1, 7, 64, 100, 5000):
        x = rng.integers(0, 255, (30, columns * np.dtype(kind).itemsize), np.uint8)
        x = (x % 2 if kind == "?" else x).view(kind).reshape(30, columns)
        order = rng.integers(0, 30, 200)
        out = np.empty((200, columns), kind)
        _native.module.gather_rows(out, x, order, None, None, threads)
        assert out.tobytes() == x[order].tobytes()


@pytest.mark.parametrize("columns", [1, 40, 1024, 4095, 4096, 4097, 9000])
def test_rows_that_follow_each_other(columns: int, threads: int, rng: np.random.Generator) -> None:
    """They are copied as one run of bytes: all of them, and none beyond."""
    for size in (0, 4095, 4096, 4097, 50_000, (8 << 20) + 5000):
        rows = -(-size // columns)
        x = rng.integers(0, 256, (rows + 1, columns), np.uint8)[:rows]
        offset = int(rng.integers(0, 64))
        memory = np.full(offset + x.size + 64, 7, np.uint8)
        out = memory[offset : offset + x.size].reshape(x.shape)
        _native.module.gather_rows(out, x, None, None, None, threads)
        assert out.tobytes() == x.tobytes()
        assert (memory[:offset] == 7).all()
        assert (memory[offset + x.size :] == 7).all()
        apart = x[::2, : columns - 1]
        got = np.empty(apart.shape, np.uint8)
        _native.module.gather_rows(got, apart, None, None, None, threads)
        assert got.tobytes() == apart.tobytes()


@pytest.mark.parametrize("columns", [1, 17, 511, 512, 529, 784, 5000])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("u1", "u1"), ("i2", "i2"), ("f4", "f4"), ("f8", "f8"),
     ("u1", "f4"), ("i1", "f8"), ("f2", "f4"), ("f4", "f8")],
)  # fmt: skip
def test_results_larger_than_caches(
    columns: int, kind: str, dtype: str, threads: int, rng: np.random.Generator
) -> None:
    """Long rows go past them, in whole lines from wherever a row begins; no byte beyond."""
    x = rows_of(rng, kind, 30, columns)
    count = (8 << 20) // (columns * np.dtype(dtype).itemsize) + int(rng.integers(1, 20))
    order = rng.integers(0, 30, count)
    scale = rng.normal(0, 1, columns).astype(dtype) if dtype in ("f4", "f8") else None
    shift = None if scale is None or rng.random() < 0.5 else scale[::-1].copy()
    want = x[order]
    if scale is not None:
        want = want.astype(dtype) * scale
        want = want if shift is None else want + shift
    offset = int(rng.integers(0, 64))
    memory = np.full(offset + want.size + 64, 7, dtype)
    out = memory[offset : offset + want.size].reshape(want.shape)
    _native.module.gather_rows(out, x, order, scale, shift, threads)
    assert same_bytes(out, want)
    assert (memory[:offset] == 7).all()
    assert (memory[offset + want.size :] == 7).all()


BASE = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"x": [1.0]}, ValueError, r"x has shape \(1,\); accepted: \(n, K\)"),
        ({"x": BASE.astype(complex)}, TypeError, "x has dtype complex128"),
        ({"order": [0, 3]}, IndexError, r"order\[1\] is 3; accepted: row numbers 0 to 2"),
        ({"order": [-1]}, IndexError, r"order\[0\] is -1"),
        ({"order": np.array([2**63 + 1], "u8")}, IndexError, r"order\[0\] is 9223372036854775809"),
        ({"order": [[0]]}, ValueError, r"order has shape \(1, 1\)"),
        ({"order": [0.5]}, TypeError, "order has dtype float64"),
        ({"scale": [1.0]}, ValueError, r"scale has shape \(1,\); accepted: \(4,\)"),
        ({"shift": "a"}, TypeError, "shift has dtype"),
        ({"dtype": "f2"}, TypeError, "dtype is 'f2'; accepted: float32, float64"),
        ({"dtype": ",loat32"}, TypeError, "dtype is ',loat32'"),
        ({"out": np.zeros((1, 4))}, ValueError, r"out has shape \(1, 4\); accepted: \(2, 4\)"),
        ({"out": np.zeros((2, 4), "i4")}, TypeError, "out has dtype int32; accepted: float32, fl"),
        ({"out": np.zeros((2, 4), "f4"), "dtype": "f8"}, TypeError, "out has dtype float32; acc"),
        ({"out": [[0.0] * 4] * 2}, TypeError, "out is a list"),
        ({"out": np.zeros((2, 8))[:, ::2]}, ValueError, "out is not C-contiguous"),
        ({"out": BASE[:2]}, ValueError, "out shares memory with x"),
        ({"threads": -1}, ValueError, "threads"),
    ],
)
def test_what_is_refused(arguments: Any, error: Any, text: str) -> None:
    before = BASE.copy()
    with pytest.raises(error, match=text):
        kernels.gather_rows(**{"x": BASE, "order": [2, 0]} | arguments)
    assert same_bytes(BASE, before)


def test_read_only_outputs_are_refused() -> None:
    out = np.zeros((3, 4))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        kernels.gather_rows(BASE, out=out)


def test_no_rows() -> None:
    assert kernels.gather_rows(np.zeros((0, 4)), []).shape == (0, 4)
    assert kernels.gather_rows(BASE, np.zeros(0, int)).shape == (0, 4)
    with pytest.raises(IndexError, match="accepted: nothing, for x has no rows"):
        kernels.gather_rows(np.zeros((0, 4)), [0])
