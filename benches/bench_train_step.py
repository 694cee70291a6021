"""A shuffled epoch of MNIST and a step of a large probe, softmax regression by SGD."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import train_step


@pytest.mark.cases(train_step.CASES)
def test_train_step(bench: Callable[[], None]) -> None:
    bench()
