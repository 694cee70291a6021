"""Scripts in an interpreter of their own: for what a running test session would hide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

# What a developer's shell may set and a test does not expect.
SETTINGS = (
    "SOFTSTEP_ISA", "SOFTSTEP_NUM_THREADS", "OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC",
)  # fmt: skip

# In a test that asks for `level`: that level.
LEVEL: dict[str, str] = {}


def start(code: str, *options: str, timeout: float = 180, **environment: str) -> Any:
    """Run a script to its end; a hang is an error after `timeout` seconds."""
    variables = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        env={**variables, **LEVEL, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run(code: str, *options: str, timeout: float = 180, **environment: str) -> str:
    """Run a script that has to succeed; what it prints."""
    done = start(code, *options, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def answer(code: str, *options: str, timeout: float = 180, **environment: str) -> Any:
    """Run a script whose last line of output is JSON; that value."""
    return json.loads(run(code, *options, timeout=timeout, **environment).splitlines()[-1])
