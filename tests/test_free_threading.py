"""Python without its global lock: nothing of ours turns it on again, and all is correct without it.

Run where such an interpreter is: this one, or a ``python3.13t`` (or later) on the path in which
softstep is installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

SCRIPT = """
import hashlib, sys, threading, warnings
warnings.simplefilter("error")  # the interpreter warns of a module that turns the lock on
import numpy as np
assert not sys._is_gil_enabled(), "NumPy turned the lock on"
import softstep
from softstep import _native, kernels
from softstep.data import permutation

for level in _native.supported:
    _native.load(level)
assert not sys._is_gil_enabled()

rng = np.random.default_rng(0)
x, target = rng.normal(size=(20_000, 10)).astype(np.float32), rng.integers(0, 10, 20_000)

def work():
    weight, bias = np.zeros((10, 10), np.float32), np.zeros(10, np.float32)
    order = permutation(20_000, 1, 2)
    run = kernels.train_softmax_regression(
        x, target, np.asarray(order), weight, bias, batch_size=500, lr=0.1
    )
    arrays = [*kernels.cross_entropy_with_grad(x, target), *kernels.linear_backward(x, weight, x)]
    arrays += [kernels.softmax(x, 0), weight, bias, np.array(run), order[5000:6000]]
    model = softstep.SoftmaxRegression(10, 0.5)
    softstep.Trainer(1, progress=False).fit(model, softstep.Digits())
    arrays += [parameter.data for parameter in model.parameters()]
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()

wanted, results = work(), []
start = threading.Barrier(8)

def repeat():
    start.wait(30)
    results.extend(work() for _ in range(3))

callers = [threading.Thread(target=repeat) for _ in range(8)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
assert results == [wanted] * 24
assert not sys._is_gil_enabled()
"""


def interpreter() -> str | None:
    """A Python without the lock that has softstep."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return sys.executable
    for minor in range(13, 30):
        found = shutil.which(f"python3.{minor}t")
        if found is None:
            continue
        try:
            done = subprocess.run(
                [found, "-c", "import softstep"], capture_output=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return found
    return None


def test_eight_threads_without_the_lock() -> None:
    python = interpreter()
    if python is None:
        pytest.skip("needs a free-threaded Python")
    done = subprocess.run(
        [python, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "declaration"),
    [
        ("csrc/bindings/module.cpp", r"PYBIND11_MODULE\(.*, pybind11::mod_gil_not_used\(\)\)"),
        ("csrc/cpu/cpu.cpp", r"\{Py_mod_gil, Py_MOD_GIL_NOT_USED\}"),
        ("src/softstep/data/_permutation.pyx", r"^# cython:.*\bfreethreading_compatible=True"),
    ],
)
def test_every_compiled_module_declares_it(path: str, declaration: str) -> None:
    """Even where no such interpreter is there to ask."""
    assert re.search(declaration, (PROJECT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_script_itself() -> None:
    """All but the lock is checked on any Python."""
    code = "import sys; sys._is_gil_enabled = lambda: False\n" + SCRIPT
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
