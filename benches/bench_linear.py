"""The linear layer and its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import linear


@pytest.mark.cases([case for case in linear.CASES if case.family == "linear"])
def test_linear(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in linear.CASES if case.family == "linear_backward"])
def test_linear_backward(bench: Callable[[], None]) -> None:
    bench()
