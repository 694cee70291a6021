"""A shuffled epoch of MNIST through a multilayer perceptron with 256 hidden units."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import mlp


@pytest.mark.cases(mlp.CASES)
def test_mlp(bench: Callable[[], None]) -> None:
    bench()
