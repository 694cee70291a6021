"""Runs a case of `softstep.bench.cases` in a test: first its result is checked, then it is timed.

A bench takes the fixture ``bench`` and is parametrised by ``cases``; peers that are not installed
are no parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest

from softstep.bench.case import Case, Expected, check
from softstep.bench.runner import FULL, same_threads, thread_count, warm


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(cases): the cases of this bench")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each installed implementation of each case."""
    if "bench" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("cases")
    assert marker is not None, f"{metafunc.function.__name__} takes bench, but is not marked cases"
    pairs = [(case, name) for case in marker.args[0] for name in case.installed()]
    names = [f"{case.shape}-{name}" for case, name in pairs]
    metafunc.parametrize("bench", pairs, indirect=True, ids=names)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> Iterator[None]:
    with same_threads(thread_count()):
        yield


@lru_cache(maxsize=1)
def _problem(case: Case[Any]) -> tuple[Any, list[Expected]]:
    """Inputs and results of the case whose turn it is; large ones, so only one is kept."""
    inputs = case.make_inputs()
    return inputs, case.expect(inputs)


@pytest.fixture
def bench(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[], None]:
    """A function that checks and then times one implementation of one case."""
    case, name = request.param
    benchmark.group = case.name
    benchmark.extra_info.update(**case.work._asdict())

    def run() -> None:
        inputs, expected = _problem(case)
        call = case.implementations[name](inputs)
        if benchmark.disabled:
            check(expected, benchmark(call))
            return
        check(expected, call())
        rounds, number = FULL.repetitions(warm(call))
        benchmark.pedantic(call, rounds=rounds, iterations=number, warmup_rounds=1)

    return run
