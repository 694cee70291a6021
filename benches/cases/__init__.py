"""Every case, by family."""

from __future__ import annotations

from typing import Any

from benches.cases import cross_entropy, linear, losses, optimizers, softmax, train_step
from benches.cases.case import Case

__all__ = ["CASES", "Case"]

CASES: tuple[Case[Any], ...] = (
    *softmax.CASES,
    *cross_entropy.CASES,
    *linear.CASES,
    *losses.CASES,
    *optimizers.CASES,
    *train_step.CASES,
)
