"""Cases of loaders: the batches of a shuffled epoch of MNIST as float32, which nobody uses.

The rows come in the same order from everybody; what is checked is the last batch and how many rows
came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from softstep.bench.bounds import EPS
from softstep.bench.case import Array, Case, Expected, Floor, Work
from softstep.bench.cases.train_step import BATCH, FEATURES, ROWS, Run, has_mnist, make_epoch
from softstep.bench.peers import Call, load, tensors
from softstep.data import ArrayDataset, DataLoader

__all__ = ["CASES"]


def _last(epoch: Callable[[], Iterable[Any]]) -> Call:
    """Go through an epoch."""

    def call() -> tuple[Any, Any, int]:
        rows, batch = 0, (None, None)
        for batch in epoch():
            rows += len(batch[1])
        x, y = batch
        return x, y, rows

    return call


def _ours(x: Array, scale: Array | None, run: Run) -> Call:
    loader = DataLoader(ArrayDataset(x, run.target, scale=scale), run.batch_size, shuffle=True)

    def epoch() -> DataLoader:
        loader.set_epoch(0)  # whose order is the one of the run
        return loader

    return _last(epoch)


def _softstep(run: Run) -> Call:
    return _ours(run.x, None, run)


def _softstep_uint8(run: Run) -> Call:
    assert run.pixels is not None
    return _ours(run.pixels, run.scale, run)


def _numpy(run: Run) -> Call:
    return _last(lambda: ((run.x[rows], run.target[rows]) for rows in run.batches()))


def _torch_gather(run: Run) -> Call:
    x, target, order = tensors(run.x, run.target, run.order)
    return _last(lambda: ((x[rows], target[rows]) for rows in order.split(run.batch_size)))


def _torch_loader(run: Run) -> Call:
    """Give the order of the others as a list; PyTorch's own sampler makes such a list, too."""
    data = load("torch.utils.data")
    dataset = data.TensorDataset(*tensors(run.x, run.target))
    order: list[int] = run.order.tolist()
    return _last(lambda: data.DataLoader(dataset, batch_size=run.batch_size, sampler=order))


def _expect(run: Run) -> list[Expected]:
    rows = run.batches()[-1]
    assert run.pixels is not None
    x = run.pixels[rows] / 255  # the scale is rounded, and the product
    return [
        Expected("x", x, EPS * x),
        Expected("y", run.target[rows].astype(np.float64), 0.0),
        Expected("rows", float(len(run.order)), 0.0),
    ]


def _work(item: int) -> Work:
    """Rows of numbers of so many bytes; the batches take turns in memory that the caches hold."""
    return Work(ROWS * (item * FEATURES + 8))


def _case(shape: str, batch_size: int, floors: tuple[Floor, ...]) -> Case[Run]:
    return Case(
        "loaders",
        shape if has_mnist() else f"{shape}-synthetic",
        f"{ROWS} x {FEATURES}, batch {batch_size}",
        lambda: make_epoch()._replace(batch_size=batch_size),
        {
            "softstep": _softstep,
            "softstep uint8": _softstep_uint8,
            "numpy": _numpy,
            "torch gather": _torch_gather,
            "torch DataLoader": _torch_loader,
        },
        _expect,
        _work(4),
        floors,
        works={"softstep uint8": _work(1)},
    )


CASES: tuple[Case[Any], ...] = (
    _case(
        "mnist-batches",
        BATCH,
        (Floor(10, "torch DataLoader"), Floor(10, "torch DataLoader", ours="softstep uint8")),
    ),
    _case("mnist-small-batches", 32, ()),
)
