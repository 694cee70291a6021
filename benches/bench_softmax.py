"""Softmax, log-softmax and log-sum-exp over rows of logits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import softmax


@pytest.mark.cases([case for case in softmax.CASES if case.family == "softmax"])
def test_softmax(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in softmax.CASES if case.family == "log_softmax"])
def test_log_softmax(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases([case for case in softmax.CASES if case.family == "logsumexp"])
def test_logsumexp(bench: Callable[[], None]) -> None:
    bench()
