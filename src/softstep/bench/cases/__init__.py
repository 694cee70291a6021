"""Every case, by family."""

from __future__ import annotations

from typing import Any

from softstep.bench.case import Case, Figure
from softstep.bench.cases import (
    cross_entropy,
    figures,
    gather_rows,
    linear,
    linear_cross_entropy,
    loaders,
    losses,
    mlp,
    optimizers,
    softmax,
    train_step,
)

__all__ = ["CASES", "TIMED"]

TIMED: tuple[Case[Any], ...] = (
    *train_step.CASES,
    *mlp.CASES,
    *softmax.CASES,
    *cross_entropy.CASES,
    *linear.CASES,
    *linear_cross_entropy.CASES,
    *losses.CASES,
    *optimizers.CASES,
    *gather_rows.CASES,
    *loaders.CASES,
)
"""Those that are timed in turns with peers."""

CASES: tuple[Case[Any] | Figure, ...] = (*figures.CASES, *TIMED)
