"""What every test shares: seeds, instruction-set levels, thread counts, and rules for the suite.

The rules: the suite fails when a skip's reason is not listed in
``known_skips.txt``; ``empty_parameter_set_mark`` in ``pyproject.toml`` fails a parametrised test
without a case.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# NumPy's matrix products here are small; its waiting threads would take the processors from ours.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests run commands in folders of their own.
if os.environ.get("SOFTSTEP_DATA"):
    os.environ["SOFTSTEP_DATA"] = str(Path(os.environ["SOFTSTEP_DATA"]).resolve())

import hypothesis
import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "kernels"))  # kernel_cases.py: what the kernel tests share
sys.path.append(str(HERE / "campaigns"))  # fuzzing.py: what the campaigns on files share

_seed_key = pytest.StashKey[int]()
_unknown_skips_key = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="seed of every random test (default: a new one)")


def pytest_configure(config: pytest.Config) -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would all that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = config.getoption("--seed")
    if seed is None:
        seed = int(os.environ.get("SOFTSTEP_TEST_SEED") or int.from_bytes(os.urandom(4), "little"))
        config.option.seed = seed  # pytest-xdist hands options on to its workers
    config.stash[_seed_key] = seed
    config.stash[_unknown_skips_key] = []
    config.addinivalue_line("markers", "thread_counts(*counts): values of `threads` in this test")
    hypothesis.settings.register_profile(
        "softstep", deadline=None, database=None, print_blob=True, max_examples=50
    )
    hypothesis.settings.load_profile("softstep")
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(seed)


def pytest_report_header(config: pytest.Config) -> list[str]:
    seed = config.stash[_seed_key]
    return [f"seed: {seed} (the same again: --seed={seed} or SOFTSTEP_TEST_SEED={seed})"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``level`` on every level this machine supports."""
    if "level" in metafunc.fixturenames:
        from softstep import _native

        metafunc.parametrize("level", _native.supported, indirect=True)
    if "threads" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("thread_counts")
        metafunc.parametrize("threads", marker.args if marker else (1, 2, 3))


@pytest.fixture
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction-set level in use, here and in processes that the test starts."""
    import fresh_python

    from softstep import _native

    with _native.use(request.param), pytest.MonkeyPatch.context() as patch:
        patch.setitem(fresh_python.LEVEL, "SOFTSTEP_ISA", request.param)
        yield request.param


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """This session's seed."""
    return request.config.stash[_seed_key]


@pytest.fixture
def rng(request: pytest.FixtureRequest, seed: int) -> np.random.Generator:
    """A generator of this session's seed and this test's name: the same on every level."""
    name = request.node.nodeid
    level = getattr(request.node, "callspec", None) and request.node.callspec.params.get("level")
    if level:
        name = name.replace(f"[{level}-", "[").replace(f"[{level}]", "")
    return np.random.default_rng([seed, *name.encode()])


# The rule on skips. Each phase of a test reports its own skip; xfail is a skip to pytest too.


def known_skips(path: Path) -> list[re.Pattern[str]]:
    """The reasons for which a test may be skipped."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why this report is a skip, or None if it is none."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def is_known(reason: str) -> bool:
    return any(known.fullmatch(reason) for known in known_skips(HERE / "known_skips.txt"))


class SkipRule:
    """Collects skips whose reason is on no list."""

    def __init__(self, config: pytest.Config) -> None:
        self.unknown = config.stash[_unknown_skips_key]

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = skip_reason(report)
        if reason is not None and not is_known(reason):
            self.unknown.append(f"{report.nodeid}: {reason}")

    pytest_runtest_logreport = note
    pytest_collectreport = note


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(SkipRule(session.config), "softstep-skip-rule")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[_unknown_skips_key] and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    unknown = config.stash[_unknown_skips_key]
    if unknown:
        terminalreporter.section("skips that are not in tests/known_skips.txt", red=True)
        for line in unknown:
            terminalreporter.line(line)
