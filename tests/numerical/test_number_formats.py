"""The figures of number formats beside NumPy's, ml_dtypes' and exp itself."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath
import numpy as np
import pytest

from softstep.numerical import NumberFormats, number_formats

FORMATS = {row.name: row for row in number_formats()}


@pytest.mark.parametrize("name", ["float64", "float32", "float16"])
def test_limits_are_numpys(name: str) -> None:
    row, info = FORMATS[name], np.finfo(name)
    assert row.bits == info.bits
    assert (row.exponent_bits, row.fraction_bits) == (info.iexp, info.nmant)
    assert row.eps == info.eps
    assert (row.lowest, row.largest) == (info.min, info.max)
    assert row.smallest_normal == info.tiny
    assert row.smallest == float(np.nextafter(np.dtype(name).type(0), np.dtype(name).type(1)))


def test_limits_of_bfloat16_are_those_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    row, info = FORMATS["bfloat16"], ml_dtypes.finfo(ml_dtypes.bfloat16)
    assert (row.exponent_bits, row.fraction_bits) == (info.iexp, info.nmant)
    assert row.eps == float(info.eps)
    assert row.largest == float(info.max)
    assert row.smallest_normal == float(info.tiny)
    assert row.smallest == float(info.smallest_subnormal)


def test_tf32_has_the_range_of_float32_and_the_precision_of_float16() -> None:
    row = FORMATS["tf32"]
    assert row.smallest_normal == FORMATS["float32"].smallest_normal
    assert row.eps == FORMATS["float16"].eps
    assert row.largest == float(np.uint32(0x7F7FE000).view(np.float32))
    assert row.smallest == float(np.uint32(0x00002000).view(np.float32))


def round_to(row: Any, value: mpmath.mpf) -> float:
    """What a positive number becomes in a format: to the nearest, halves to even; inf above."""
    exponent = max(int(mpmath.floor(mpmath.log(value, 2))), 2 - 2 ** (row.exponent_bits - 1))
    unit = mpmath.mpf(2) ** (exponent - row.fraction_bits)
    rounded = mpmath.nint(value / unit) * unit  # nint rounds halves to even
    return float("inf") if rounded > row.largest else float(rounded)


@pytest.mark.parametrize("name", ["float64", "float32", "tf32", "bfloat16", "float16"])
def test_exp_survives_up_to_these_arguments_and_no_further(name: str) -> None:
    row = FORMATS[name]
    with mpmath.workdps(60):

        def step(x: float) -> mpmath.mpf:
            """The distance of the format's numbers at x."""
            return mpmath.mpf(2) ** (int(mpmath.floor(mpmath.log(abs(x), 2))) - row.fraction_bits)

        for x in (row.exp_largest, row.exp_smallest, row.exp_smallest_normal):
            assert mpmath.fmod(mpmath.mpf(x), step(x)) == 0  # the format holds it
        assert round_to(row, mpmath.exp(row.exp_largest)) <= row.largest
        assert round_to(row, mpmath.exp(row.exp_largest + step(row.exp_largest))) == float("inf")
        assert round_to(row, mpmath.exp(row.exp_smallest)) == row.smallest
        assert round_to(row, mpmath.exp(row.exp_smallest - step(row.exp_smallest))) == 0
        assert mpmath.exp(row.exp_smallest_normal) >= row.smallest_normal
        below = row.exp_smallest_normal - step(row.exp_smallest_normal)
        assert mpmath.exp(below) < row.smallest_normal


def test_numpys_exp_agrees() -> None:
    """NumPy's exp is within an ulp of the exact one, so one step aside must be clear."""
    for dtype in (np.float64, np.float32):
        row = FORMATS[np.dtype(dtype).name]
        largest, smallest = dtype(row.exp_largest), dtype(row.exp_smallest)
        with np.errstate(all="ignore"):
            assert np.isfinite(np.exp(np.nextafter(largest, dtype(0))))
            assert np.exp(np.nextafter(np.nextafter(largest, dtype(999)), dtype(999))) == np.inf
            assert np.exp(np.nextafter(smallest, dtype(0))) > 0
            assert np.exp(dtype(smallest * 1.001)) == 0


@pytest.mark.parametrize("scale", [1.0, 1 / 127, 1 / 16, 0.5, 2.0, 16.0, 1e-3])
def test_int8(scale: float) -> None:
    (row,) = number_formats([scale])[-1:]
    info = np.iinfo(np.int8)
    assert (row.lowest, row.largest) == (info.min * scale, info.max * scale)
    assert row.eps == row.smallest == row.smallest_normal == row.scale == scale

    def stored(x: float) -> float:
        with mpmath.workdps(400):  # so that exp(5e-324) is above 1
            return float(mpmath.nint(mpmath.exp(x) / mpmath.mpf(scale)))

    assert stored(row.exp_largest) == 127
    assert stored(np.nextafter(row.exp_largest, np.inf)) == 128
    assert stored(row.exp_smallest) == 1
    assert stored(np.nextafter(row.exp_smallest, -np.inf)) == 0


def test_a_scale_moves_the_window_of_int8_and_keeps_its_width() -> None:
    rows = number_formats([2.0**k for k in range(-10, 11)])[-21:]
    for first, second in itertools.pairwise(rows):
        assert second.largest == 2 * first.largest
        assert second.exp_largest - first.exp_largest == pytest.approx(np.log(2))
    for row in rows:
        assert row.exp_largest - row.exp_smallest == pytest.approx(np.log(255))


def test_table() -> None:
    formats = number_formats()
    assert isinstance(formats, NumberFormats)
    lines = str(formats).splitlines()
    assert len(lines) == 2 + len(formats)
    assert lines[0].split()[:3] == ["bits", "eps", "lowest"]
    for line, row in zip(lines[2:], formats, strict=True):
        assert line.startswith(row.name)
        *rest, largest = line[len(row.name) :].split()
        assert float(largest) == pytest.approx(row.exp_largest, rel=1e-5)
        assert float(rest[-2]) == pytest.approx(row.exp_smallest, rel=1e-5)
        assert int(rest[0]) == row.bits
    assert len({len(line) for line in lines[2:]}) == 1  # columns stand under each other


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf, "one"])
def test_bad_scales(scale: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^int8_scales\[1\] is "):
        number_formats([1.0, scale])
