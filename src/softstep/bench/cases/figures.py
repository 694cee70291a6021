"""What is no time in turns with peers: starting up, the overhead of a call, memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from functools import partial

import numpy as np

from softstep import kernels
from softstep.bench.case import Figure, Reading
from softstep.bench.runner import FULL, QUICK, alternate

IMPORT = """
import json, time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import softstep
end = time.perf_counter()
print(json.dumps([middle - start, end - middle]))
"""

MEMORY = """
import json
import numpy as np
from softstep import kernels

rows, features, classes = SIZE
rng = np.random.default_rng(0)
x = rng.standard_normal((rows, features), dtype=np.float32)
weight = rng.standard_normal((classes, features), dtype=np.float32)
weight *= np.float32(3 / np.sqrt(features))
bias, target = np.zeros(classes, np.float32), rng.integers(0, classes, rows)
kernels.linear_cross_entropy_with_grad(x[:64], weight[:64], bias[:64], target[:64] % 64)

def kilobytes(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = kilobytes("VmRSS")
results = kernels.linear_cross_entropy_with_grad(x, weight, bias, target)
peak = kilobytes("VmHWM")
print(json.dumps([(peak - before) * 1024, sum(array.nbytes for array in results[1:])]))
"""


def fresh(code: str) -> list[float]:
    """Run a script in a process of its own; the list that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a process of the benchmark failed: {done.stderr.strip()[-300:]}")
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def import_time(quick: bool) -> Reading:
    """Time ``import softstep`` after ``import numpy``, in seconds; the first run warms the disk."""
    fresh(IMPORT)
    runs = [fresh(IMPORT) for _ in range(3 if quick else 9)]
    numpy, ours = (statistics.median(column) for column in zip(*runs, strict=True))
    return Reading(ours, {"softstep": ours, "numpy": numpy})


def call_overhead(quick: bool) -> Reading:
    """Time softmax beyond NumPy's exp of as many numbers, both into an output: microseconds."""
    logits = np.random.default_rng(0).standard_normal((1, 10), dtype=np.float32)
    out, other = np.empty_like(logits), logits.copy()

    def exp() -> tuple[()]:
        np.exp(other, out=other)
        return ()

    def softmax() -> tuple[()]:
        kernels.softmax(logits, out=out)
        return ()

    # exp over and over ends at infinity, which takes it no longer.
    with np.errstate(over="ignore"):
        seconds = alternate({"softstep": softmax, "numpy": exp}, QUICK if quick else FULL)
    parts = {name: 1e6 * value for name, value in seconds.items()}
    return Reading(parts["softstep"] - parts["numpy"], parts)


def memory(size: tuple[int, int, int], quick: bool) -> Reading:
    """Measure the peak of a call beyond what was there before and its results: megabytes."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        raise NotImplementedError("needs Linux: /proc/self/clear_refs")
    grown, results = fresh(MEMORY.replace("SIZE", repr(size)))
    return Reading((grown - results) / 1e6, {"grown": grown / 1e6, "results": results / 1e6})


def _memory_figure(shape: str, *size: int) -> Figure:
    rows, features, classes = size
    return Figure(
        "linear_cross_entropy_memory",
        shape,
        f"{rows} x {features} x {classes}",
        "MB",
        64,
        partial(memory, (rows, features, classes)),
    )


CASES: tuple[Figure, ...] = (
    Figure("startup", "import", "beyond NumPy", "s", 0.2, import_time, quick=True),
    Figure("overhead", "softmax-call", "1 x 10 beyond np.exp", "us", 2, call_overhead, quick=True),
    _memory_figure("vocabulary", 256, 4096, 32_000),
    _memory_figure("long-tail", 4096, 512, 100_000),
)
