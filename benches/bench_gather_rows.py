"""Rows brought together in a shuffled order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import gather_rows


@pytest.mark.cases(gather_rows.CASES)
def test_gather_rows(bench: Callable[[], None]) -> None:
    bench()
