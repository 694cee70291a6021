"""Cross-entropy with index targets: its mean, and its gradient as well."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from softstep.bench.cases import cross_entropy


@pytest.mark.cases([case for case in cross_entropy.CASES if case.family == "cross_entropy"])
def test_cross_entropy(bench: Callable[[], None]) -> None:
    bench()


@pytest.mark.cases(
    [case for case in cross_entropy.CASES if case.family == "cross_entropy_with_grad"]
)
def test_cross_entropy_with_grad(bench: Callable[[], None]) -> None:
    bench()
