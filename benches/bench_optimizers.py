"""A step of SGD on one parameter, without momentum and with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import optimizers


@pytest.mark.cases([case for case in optimizers.CASES if case.family == "sgd"])
def test_sgd(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in optimizers.CASES if case.family == "sgd_momentum"])
def test_sgd_momentum(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in optimizers.CASES if case.family == "adamw"])
def test_adamw(bench: Callable[[], None]) -> None:
    bench()
