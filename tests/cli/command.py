"""The command line, in this process and as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from softstep import cli


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and errors of the command line in this process."""
    try:
        status = cli.main(arguments)
    except SystemExit as left:
        status = int(left.code or 0)
    return status, *capsys.readouterr()


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The command line as a process."""
    command = [sys.executable, "-m", "softstep", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **(pipes | options))


def saved(path: str = "softstep-digits.safetensors") -> bytes:
    return Path(path).read_bytes()


def check_error(result: tuple[int, str, str], *words: str) -> None:
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("softstep: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
