"""The suite fails on a parametrised test without a case and on an unknown skip."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty suite with this suite's rules."""
    for name in ("conftest.py", "known_skips.txt"):
        shutil.copy(HERE / name, pytester.path)
    (pytester.path / "pytest.ini").write_text(
        "[pytest]\nempty_parameter_set_mark = fail_at_collect\n", encoding="utf-8"
    )
    return pytester


def run(suite: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    suite.makepyfile(test_it=text)
    return suite.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_passing_suite_passes(suite: pytest.Pytester) -> None:
    run(suite, "def test_it(): pass").assert_outcomes(passed=1)


def test_known_skip_passes(suite: pytest.Pytester) -> None:
    text = "import pytest\ndef test_it(): pytest.skip('PyTorch is not installed')"
    result = run(suite, text)
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\ndef test_it(): pytest.skip('on a whim')",
        "import pytest\n@pytest.mark.skip(reason='later')\ndef test_it(): pass",
        "import pytest\n@pytest.mark.skip\ndef test_it(): pass",
        "import pytest\n@pytest.mark.skipif(True, reason='later')\ndef test_it(): pass",
        "import pytest\npytest.skip('all of it', allow_module_level=True)",
        "import pytest\npytest.importorskip('no_such_module_here')",
        "import pytest\n@pytest.fixture\ndef f(): pytest.skip('never')\ndef test_it(f): pass",
        "import unittest\nclass T(unittest.TestCase):\n  def test_it(self): self.skipTest('no')",
        "import pytest\ndef test_it(): pytest.skip('PyTorch is not installed, and it is hot')",
    ],
    ids=["call", "mark", "bare mark", "skipif", "module", "import", "fixture", "unittest", "part"],
)
@pytest.mark.parametrize("others", ["", "\ndef test_other(): pass\n"], ids=["alone", "with others"])
def test_unknown_skip_fails(suite: pytest.Pytester, text: str, others: str) -> None:
    result = run(suite, text + others)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skips that are not in tests/known_skips.txt*", "*test_it.py*"])


def test_expected_failure_is_no_skip(suite: pytest.Pytester) -> None:
    text = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert False"
    assert run(suite, text).ret == pytest.ExitCode.OK


def test_parametrised_test_without_a_case_fails(suite: pytest.Pytester) -> None:
    text = "import pytest\n@pytest.mark.parametrize('a', [])\ndef test_it(a): pass"
    result = run(suite, text)
    assert result.ret == pytest.ExitCode.INTERRUPTED  # an error at collection
    result.stdout.fnmatch_lines(["*Empty parameter set*"])


def test_this_suite_has_the_rule_on_cases(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getini("empty_parameter_set_mark") == "fail_at_collect"


def test_seed_is_printed_and_settable(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def test_it(seed, rng): assert seed == 5; print('drew', rng.integers(10**9))"
    by_option = run(suite, text, "--seed=5", "-s")
    by_option.assert_outcomes(passed=1)
    by_option.stdout.fnmatch_lines(["*seed: 5 *"])
    monkeypatch.setenv("SOFTSTEP_TEST_SEED", "5")
    by_variable = run(suite, text, "-s")
    by_variable.assert_outcomes(passed=1)
    drawn = [
        line for result in (by_option, by_variable) for line in result.outlines if "drew" in line
    ]
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]
