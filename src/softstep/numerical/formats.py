r"""The number formats of deep learning, and which arguments of exp they survive.

All figures follow from the bits. A format with e exponent bits and f fraction bits has

- the largest number :math:`(2 - 2^{-f})\, 2^{E}` with :math:`E = 2^{e - 1} - 1`,
- the smallest normal number :math:`2^{1 - E}` and the smallest number :math:`2^{1 - E - f}`.

exp overflows where it would round to :math:`2^{E + 1}`, so from
:math:`\log(2^{E + 1} (1 - 2^{-f - 2}))` on, and it is 0 up to :math:`\log 2^{-E - f}`, half the
smallest number. The arguments given are the outermost ones within these bounds that the format
itself holds.

int8 holds -128 to 127 times a scale, and rounds exp to 0 up to half the scale and to more than 127
from 127.5 times the scale on. Its arguments are real numbers, since they have a scale of their own;
the outermost ones are given in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from softstep.models.checks import check_number

__all__ = ["NumberFormat", "NumberFormats", "number_formats"]

# name: bits, exponent bits, fraction bits. TF32 is held in 32 bits, of which it uses 19.
_FLOATS = {
    "float64": (64, 11, 52),
    "float32": (32, 8, 23),
    "tf32": (19, 8, 10),
    "bfloat16": (16, 8, 7),
    "float16": (16, 5, 10),
}


class NumberFormat(NamedTuple):
    """What a format holds, and the arguments whose exp it can hold.

    Parameters
    ----------
    name, bits, exponent_bits, fraction_bits, scale, eps, lowest, largest
        The attributes of these names.
    smallest_normal, smallest, exp_smallest, exp_smallest_normal, exp_largest
        The attributes of these names.
    """

    name: str
    bits: int
    exponent_bits: int
    """0 for int8."""
    fraction_bits: int
    """0 for int8."""
    scale: float
    """What one unit stands for: 1, or the scale of int8."""
    eps: float
    """The distance from 1 to the next larger number; for int8 that of all neighbours, the scale."""
    lowest: float
    largest: float
    smallest_normal: float
    """The smallest number above 0 that has the format's full precision."""
    smallest: float
    """The smallest number above 0."""
    exp_smallest: float
    """The smallest argument whose exp is not rounded to 0."""
    exp_smallest_normal: float
    """The smallest argument whose exp is normal, so keeps its precision."""
    exp_largest: float
    """The largest argument whose exp does not overflow."""


class NumberFormats(tuple[NumberFormat, ...]):
    """Number formats, which print as a table.

    Parameters
    ----------
    iterable : iterable of NumberFormat, optional
        The rows of the table; see `number_formats`.
    """

    __slots__ = ()

    def __str__(self) -> str:
        head = [
            ("", "bits", "eps", "lowest", "largest", "smallest", "smallest", "exp: no", "exp:",
             "exp: no"),
            ("", "", "", "", "", "normal", "", "underflow", "normal", "overflow"),
        ]  # fmt: skip
        rows = [
            (
                row.name, str(row.bits), f"{row.eps:.3g}", f"{row.lowest:.5g}",
                f"{row.largest:.5g}", f"{row.smallest_normal:.3g}", f"{row.smallest:.3g}",
                f"{row.exp_smallest:.6g}", f"{row.exp_smallest_normal:.6g}",
                f"{row.exp_largest:.6g}",
            )
            for row in self
        ]  # fmt: skip
        table = [*head, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        )
        return "\n".join(line.rstrip() for line in lines)


def number_formats(int8_scales: Iterable[float] = (1.0, 1 / 127, 16.0)) -> NumberFormats:
    """Return the number formats: float64, float32, TF32, bfloat16, float16, int8 with scales.

    int8 holds -128 to 127. A scale makes that ``-128 * scale`` to ``127 * scale``, and the distance
    of neighbours the scale. It moves the window in which exp survives, but does not widen it: the
    largest number is 127 times the smallest, so the window is log(127.5 / 0.5) = 5.5 wide.

    Parameters
    ----------
    int8_scales : iterable of float, default (1, 1/127, 16)
        The scales of int8 that get a row each: finite, above 0.

    Returns
    -------
    NumberFormats
        A tuple of `NumberFormat`; as a string, a table.

    Raises
    ------
    TypeError, ValueError
        A scale is not as described.

    References
    ----------
    IEEE 754-2019, section 3.4; NVIDIA, "A100 Tensor Core GPU Architecture" (2020) for TF32.

    Examples
    --------
    >>> from softstep.numerical import number_formats
    >>> formats = {row.name: row for row in number_formats()}
    >>> formats["float32"].exp_largest, formats["float16"].exp_largest
    (88.72283172607422, 11.0859375)
    >>> print(number_formats())  # doctest: +ELLIPSIS
                     bits       eps       lowest ...
                                             ...
    float64            64  2.22e-16 -1.7977e+308 ...
    """
    scales = []
    for i, value in enumerate(int8_scales):
        scales.append(check_number(f"int8_scales[{i}]", value))
        if not scales[-1]:
            raise ValueError(f"int8_scales[{i}] is {value!r}; accepted: a finite number above 0")
    floats = [_float_format(name, *bits) for name, bits in _FLOATS.items()]
    return NumberFormats([*floats, *map(_int8_format, scales)])


def _float_format(name: str, bits: int, exponent: int, fraction: int) -> NumberFormat:
    top = 2 ** (exponent - 1) - 1
    largest = float((2 - Fraction(1, 2**fraction)) * 2**top)
    with localcontext() as context:
        context.prec = 60
        two = Decimal(2)
        overflow = (two ** (top + 1) * (1 - two ** (-fraction - 2))).ln()
        normal, zero = (1 - top) * two.ln(), (-top - fraction) * two.ln()
        ends = (
            _inside(zero, fraction, +1),
            _inside(normal, fraction, +1),
            _inside(overflow, fraction, -1),
        )
    return NumberFormat(
        name, bits, exponent, fraction, 1.0, 2.0**-fraction, -largest, largest,
        2.0 ** (1 - top), 2.0 ** (1 - top - fraction), *ends,
    )  # fmt: skip


def _int8_format(scale: float) -> NumberFormat:
    with localcontext() as context:
        context.prec = 60
        unit = Decimal(scale)
        low, high = (
            _inside((unit / 2).ln(), 52, +1),
            _inside((unit * Decimal("127.5")).ln(), 52, -1),
        )
    name = "int8" if scale == 1 else f"int8 x {scale:.3g}"
    return NumberFormat(
        name, 8, 0, 0, scale, scale, -128 * scale, 127 * scale, scale, scale, low, low, high
    )


def _inside(bound: Decimal, fraction_bits: int, direction: int) -> float:
    """Round an argument to so many fraction bits: upwards (+1) or downwards (-1)."""
    if not bound:
        return math.nextafter(0.0, direction)
    unit = Fraction(2) ** (math.frexp(float(bound))[1] - 1 - fraction_bits)
    steps = Fraction(bound) / unit
    return float((math.ceil(steps) if direction > 0 else math.floor(steps)) * unit)
