"""The course material's row on number formats, of the section on models and training."""

from __future__ import annotations

import numpy as np
import pytest

from softstep.numerical import number_formats


@pytest.mark.curriculum("models", "number formats")
def test_number_formats() -> None:
    """The arguments of exp that neither underflow nor overflow; int8's range and scale; a table."""
    formats = {row.name: row for row in number_formats([1.0, 1 / 127, 16.0])}
    assert list(formats)[:5] == ["float64", "float32", "tf32", "bfloat16", "float16"]
    for name in ("float64", "float32", "float16"):
        row, dtype = formats[name], np.dtype(name).type
        with np.errstate(all="ignore"):
            wide = np.exp(np.float64([row.exp_smallest, row.exp_largest]))
            assert 0 < dtype(wide[0]) < 2 * row.smallest
            assert 0.98 * row.largest < dtype(wide[1]) <= row.largest
            beyond = np.exp(np.float64([row.exp_smallest - 0.02, row.exp_largest + 0.02]))
            assert dtype(beyond[0]) == 0
            assert dtype(beyond[1]) == np.inf
    # The bounds that these formats are known for
    assert formats["float64"].exp_largest == pytest.approx(709.78, abs=5e-3)
    assert formats["float64"].exp_smallest == pytest.approx(-745.13, abs=5e-3)
    assert formats["float32"].exp_largest == pytest.approx(88.72, abs=5e-3)
    assert formats["float32"].exp_smallest == pytest.approx(-103.97, abs=5e-3)
    assert formats["float16"].exp_largest == pytest.approx(11.09, abs=5e-3)
    # The two with float32's exponent reach as far, on a coarser grid of arguments.
    assert 88.5 <= formats["bfloat16"].exp_largest <= formats["tf32"].exp_largest <= 88.73
    int8 = [row for row in formats.values() if row.bits == 8]
    assert [(row.lowest, row.largest) for row in int8] == [
        (-128, 127), (-128 / 127, 1), (-2048, 2032),
    ]  # fmt: skip
    assert [row.eps for row in int8] == [1, 1 / 127, 16]
    assert int8[0].exp_largest < int8[2].exp_largest  # the scale extends it
    assert int8[1].exp_smallest == pytest.approx(np.log(0.5 / 127))
    table = str(number_formats())
    assert all(name in table for name in ("float64", "tf32", "bfloat16", "88.7228", "-745.133"))
