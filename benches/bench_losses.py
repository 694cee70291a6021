"""Mean squared error, and it with its gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import losses


@pytest.mark.cases([case for case in losses.CASES if case.family == "mse_loss"])
def test_mse_loss(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in losses.CASES if case.family == "mse_loss_with_grad"])
def test_mse_loss_with_grad(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases(
    [case for case in losses.CASES if case.family == "binary_cross_entropy_with_grad"]
)
def test_binary_cross_entropy_with_grad(bench: Callable[[], None]) -> None:
    bench()
