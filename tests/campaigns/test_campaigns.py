"""Every campaign starts, does what it is asked and ends: a short one of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHORT = {
    "fuzz_checkpoint.py": ["--count", "200", "--seed", "1"],
    "fuzz_idx.py": ["--count", "200", "--seed", "1"],
    "fuzz_npy.py": ["--count", "200", "--seed", "1"],
    "kill_checkpoint.py": ["--count", "8", "--seed", "1"],
    "kernels.py": ["--count", "1", "--seed", "1", "--select", "test_axis_must_be_an_integer"],
    "linear_cross_entropy_memory.py": ["--seed", "1", "--rows", "300", "--features", "16"],
}
SAYS = {
    "fuzz_checkpoint.py": "200 files, seed 1;",
    "fuzz_idx.py": "200 files, seed 1;",
    "fuzz_npy.py": "200 files, seed 1;",
    "kill_checkpoint.py": "8 kills and 8 full disks, seed 1: every checkpoint whole",
    "kernels.py": "1 rounds passed",
    "linear_cross_entropy_memory.py": "2 sizes, seed 1: 0 failed",
}


# Importing PyTorch, for tests that are not selected, takes most of a short round.
QUICK = "--ignore-glob=*test_pytorch.py"


def run(name: str, *options: str, pytest_options: str = QUICK) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / name), *options],
        env={**os.environ, "PYTEST_ADDOPTS": pytest_options},
        cwd=HERE.parents[1], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_every_campaign_is_listed() -> None:
    scripts = {path.name for path in HERE.glob("*.py") if not path.name.startswith("test_")}
    scripts.remove("fuzzing.py")  # what they share
    assert scripts == set(SHORT) == set(SAYS)


@pytest.mark.parametrize("name", SHORT)
def test_short_campaign(name: str) -> None:
    done = run(name, *SHORT[name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAYS[name] in done.stdout


@pytest.mark.parametrize("name", SHORT)
def test_help(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert "--count" in done.stdout
    assert "--seed" in done.stdout


def test_a_failing_round_ends_the_campaign() -> None:
    """pytest's status 4, a wrong option, stands for any failure."""
    done = run("kernels.py", "--count", "3", "--seed", "7", pytest_options="--no-such-option")
    assert done.returncode == 4
    assert done.stdout.count("exit status") == 1
    assert "seed 7: exit status 4" in done.stdout
