"""The batches of a shuffled epoch of MNIST."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import loaders


@pytest.mark.cases(loaders.CASES)
def test_loaders(bench: Callable[[], None]) -> None:
    bench()
