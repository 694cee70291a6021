"""Cases of gather_rows: MNIST's rows in a shuffled order as float32, in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from softstep import kernels
from softstep.bench.bounds import EPS
from softstep.bench.case import Array, Case, Expected, Work
from softstep.bench.cases.train_step import FEATURES, ROWS, Run, make_epoch
from softstep.bench.peers import Call, jax_call, load, tensors

__all__ = ["CASES"]


def _out(run: Run) -> Array:
    return np.empty((len(run.order), run.x.shape[1]), np.float32)


def _softstep(run: Run) -> Call:
    return lambda: (kernels.gather_rows(run.x, run.order),)


def _softstep_out(run: Run) -> Call:
    out = _out(run)
    return lambda: (kernels.gather_rows(run.x, run.order, out=out),)


def _softstep_uint8_out(run: Run) -> Call:
    assert run.pixels is not None
    x, out = run.pixels, _out(run)
    return lambda: (kernels.gather_rows(x, run.order, scale=run.scale, out=out),)


def _numpy(run: Run) -> Call:
    return lambda: (run.x[run.order],)


def _numpy_out(run: Run) -> Call:
    out = _out(run)
    # Other modes than "clip" go through a copy of the result.
    return lambda: (np.take(run.x, run.order, 0, out, mode="clip"),)


def _torch(run: Run) -> Call:
    torch = load("torch")
    x, order = tensors(run.x, run.order)
    return lambda: (torch.index_select(x, 0, order),)


def _torch_out(run: Run) -> Call:
    torch = load("torch")
    x, order, out = tensors(run.x, run.order, _out(run))
    return lambda: (torch.index_select(x, 0, order, out=out),)


def _jax(run: Run) -> Call:
    return jax_call(lambda x, order: (x[order],), run.x, run.order)


def _expect(run: Run) -> list[Expected]:
    assert run.pixels is not None
    x = run.pixels[run.order] / 255  # the scale is rounded, and the product
    return [Expected("rows", x, EPS * x)]


def _work(item: int) -> Work:
    """Rows of numbers of so many bytes, the order; float32 rows."""
    return Work(ROWS * (item * FEATURES + 8), ROWS * 4 * FEATURES)


CASES: tuple[Case[Any], ...] = (
    Case(
        "gather_rows",
        "mnist-epoch",
        f"{ROWS} x {FEATURES}",
        make_epoch,
        {
            "softstep": _softstep,
            "softstep out=": _softstep_out,
            "softstep uint8 out=": _softstep_uint8_out,
            "numpy": _numpy,
            "numpy out=": _numpy_out,
            "torch": _torch,
            "torch out=": _torch_out,
            "jax": _jax,
        },
        _expect,
        _work(4),
        works={"softstep uint8 out=": _work(1)},
    ),
)
