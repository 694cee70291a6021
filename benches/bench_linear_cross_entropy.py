"""A linear layer and its cross-entropy as one, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import linear_cross_entropy


@pytest.mark.cases(linear_cross_entropy.CASES)
def test_linear_cross_entropy_with_grad(bench: Callable[[], None]) -> None:
    bench()
