"""Ctrl-C in a long call: KeyboardInterrupt within half a second (RELIABILITY.md, line 17).

Half a second by the clock, less the time for which a hypervisor has taken processors away
meanwhile, and of work by the thread that works longest.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import mmap
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest

from softstep import kernels

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: SIGINT, and memory mapped again and again"
)


def taken_away() -> float:
    """Seconds of processors that a hypervisor has given to others."""
    if not os.path.exists("/proc/stat"):  # noqa: PTH110
        return 0.0
    with open("/proc/stat") as file:  # noqa: PTH123
        return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def clocks(process: int) -> dict[str, float]:
    """Seconds: the time of day, of processors taken away, and worked by each thread."""
    seconds = {"time of day": time.time(), "taken away": taken_away()}
    folder = f"/proc/{process}/task"
    for thread in os.listdir(folder) if os.path.isdir(folder) else ():  # noqa: PTH112, PTH208
        with open(f"{folder}/{thread}/stat") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
        seconds[thread] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def repeating(*shape: int) -> Any:
    """Floats that may be written, as many as one likes: the same 16 MiB again and again."""
    size, each = 4 * int(np.prod(shape)), 1 << 24
    file = os.memfd_create("repeating")
    os.truncate(file, each)
    map_at = ctypes.CDLL(None, use_errno=True).mmap
    map_at.restype = ctypes.c_void_p
    map_at.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    use, fixed, unreserved = mmap.PROT_READ | mmap.PROT_WRITE, 0x10, 0x4000
    memory = mmap.mmap(-1, -(-size // each) * each, mmap.MAP_PRIVATE | unreserved, use)
    whole = np.frombuffer(memory, np.float32, size // 4)
    for place in range(whole.ctypes.data, whole.ctypes.data + size, each):
        there = map_at(place, each, use, mmap.MAP_SHARED | fixed, file, 0)
        assert there == place, ctypes.get_errno()
    return whole.reshape(shape)


PREAMBLE = f"""
import ctypes, json, mmap, os, sys, time
from typing import Any
import numpy as np
from softstep import _native, kernels

{inspect.getsource(repeating)}

{inspect.getsource(taken_away)}
{inspect.getsource(clocks)}
with _native.use(sys.argv[1]):
    rng = np.random.default_rng(1)
"""


def long_training(threads: int, steps: int) -> str:
    """A script that trains until it is interrupted, and tells when it noticed."""
    return PREAMBLE + textwrap.indent(
        textwrap.dedent(
            f"""
            x = rng.normal(size=(1000, 200)).astype(np.float32)
            target = rng.integers(0, 10, 1000)
            order = np.tile(rng.permutation(1000), {steps})
            weight, bias = np.zeros((10, 200), np.float32), np.zeros(10, np.float32)
            buffers, applied = (np.zeros_like(weight), np.zeros_like(bias)), np.zeros(1, np.int64)
            settings = {{"lr": 0.01, "momentum": 0.9, "first_step": True}}
            rule = kernels.OptimizerRule("sgd", settings, [buffers], applied)
            print("ready", flush=True)
            try:
                kernels.train_softmax_regression(
                    x, target, order, weight, bias, batch_size=1000, rule=rule, threads={threads}
                )
                caught = None
            except KeyboardInterrupt:
                caught = clocks(os.getpid())
            arrays = [array.ravel().tolist() for array in (weight, bias, *buffers)]
            report = {{"caught": caught, "arrays": arrays, "steps": int(applied[0])}}
            print(json.dumps(report), flush=True)
            """
        ),
        "    ",
    )


def long_kernel(threads: int, what: str) -> str:
    """A script with one call of one kernel that takes several seconds."""
    body = {
        # One huge matrix product: 2 * 20000 * 3000 * 4000 operations, five seconds and more.
        "linear": """
            x, weight = np.ones((20_000, 3_000), np.float64), np.ones((4_000, 3_000), np.float64)
            call = lambda: kernels.linear(x, weight, threads=THREADS)
        """,
        "linear_backward": """
            x, weight = np.ones((10_000, 3_000), np.float64), np.ones((4_000, 3_000), np.float64)
            dlogits = np.ones((10_000, 4_000))
            call = lambda: kernels.linear_backward(x, weight, dlogits, threads=THREADS)
        """,
        "linear_cross_entropy": """
            x, weight = np.ones((20_000, 400), np.float64), np.ones((20_000, 400), np.float64)
            call = lambda: kernels.linear_cross_entropy_with_grad(
                x, weight, None, np.zeros(20_000, int), threads=THREADS)
        """,
        # More than 32 classes: each minibatch is several products, all of them short.
        "train": """
            x, target = np.ones((1_000, 200), np.float32), np.zeros(1_000, np.int64)
            order, weight = np.tile(np.arange(1_000), 20_000), np.zeros((60, 200), np.float32)
            call = lambda: kernels.train_softmax_regression(
                x, target, order, weight, None, batch_size=50, lr=0.1, threads=THREADS)
        """,
        # A thousand rows, each read three thousand times.
        "evaluate": """
            x, target = np.ones((1_000, 16_000), np.uint8), np.zeros(1_000, np.int64)
            order, weight = np.tile(np.arange(1_000), 3_000), np.ones((10, 16_000), np.float32)
            call = lambda: kernels.evaluate_softmax_regression(
                x, target, weight, None, order=order, threads=THREADS)
        """,
        "softmax": """
            x, out = repeating(2**21, 1_000), repeating(2**21, 1_000)
            call = lambda: kernels.softmax(x, out=out, threads=THREADS)
        """,
        "softmax of one row": """
            x, out = repeating(2**31), repeating(2**31)
            call = lambda: kernels.softmax(x, out=out, threads=THREADS)
        """,
        "log_softmax of narrow rows": """
            x, out = repeating(2**28, 10), repeating(2**28, 10)
            call = lambda: kernels.log_softmax(x, out=out, threads=THREADS)
        """,
        "softmax_backward": """
            g, p, out = repeating(2**21, 1_000), repeating(2**21, 1_000), repeating(2**21, 1_000)
            call = lambda: kernels.softmax_backward(g, p, out=out, threads=THREADS)
        """,
        "log_softmax_backward along columns": """
            g, q, out = repeating(1_000, 2**21), repeating(1_000, 2**21), repeating(1_000, 2**21)
            call = lambda: kernels.log_softmax_backward(g, q, 0, out=out, threads=THREADS)
        """,
        "cross_entropy_with_grad": """
            x, out, target = repeating(2**21, 1_000), repeating(2**21, 1_000), np.zeros(2**21, int)
            call = lambda: kernels.cross_entropy_with_grad(x, target, out=out, threads=THREADS)
        """,
        "mse_loss": """
            p, t = repeating(2**32), repeating(2**32)
            call = lambda: kernels.mse_loss(p, t, threads=THREADS)
        """,
        "binary_cross_entropy": """
            x, t = repeating(2**31), repeating(2**31)
            call = lambda: kernels.binary_cross_entropy_with_logits(x, t, threads=THREADS)
        """,
        "gather_rows": """
            x, out = np.ones((1_000, 1_000), np.float32), repeating(2**22, 1_000)
            order = np.tile(np.arange(1_000), 4_195)[:2**22]
            call = lambda: kernels.gather_rows(x, order, out=out, threads=THREADS)
        """,
        # One row of 2^32 columns that take no memory.
        "cross_entropy": """
            size = 4 * 2**32
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            x = np.frombuffer(memory, np.float32).reshape(1, -1)
            call = lambda: kernels.cross_entropy(
                x, [5], label_smoothing=0.5, class_weight=x[0], threads=THREADS)
        """,
        # 2^32 row numbers that take no memory: each is looked at before anything is computed.
        "order": """
            memory = mmap.mmap(-1, 8 * 2**32, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            x, target, order = np.ones((9, 4), "f"), np.zeros(9, int), np.frombuffer(memory, int)
            call = lambda: kernels.evaluate_softmax_regression(
                x, target, np.ones((3, 4), "f"), None, order=order, threads=THREADS)
        """,
        # One row of 2^31 numbers that take no memory, as they were never written.
        "logsumexp": """
            size = 2**31
            memory = mmap.mmap(-1, 8 * size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            x = np.frombuffer(memory, np.float64, size)
            call = lambda: kernels.logsumexp(x, threads=THREADS)
        """,
    }[what].replace("THREADS", str(threads))
    tail = """
        print("ready", flush=True)
        try:
            call()
            caught = None
        except KeyboardInterrupt:
            caught = clocks(os.getpid())
        print(json.dumps({"caught": caught}), flush=True)
    """
    return PREAMBLE + textwrap.indent(textwrap.dedent(body) + textwrap.dedent(tail), "    ")


def interrupted(script: str, level: str, after: float) -> tuple[dict[str, Any], float]:
    """Run a script and interrupt it so many seconds after it is ready.

    Its report, and how long it took to notice by the clock. Where a hypervisor has taken processors
    away meanwhile, that time does not count, but no less than the longest work of a thread.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, level], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        time.sleep(after)
        assert process.poll() is None, "the call ended by itself: too short for this machine"
        sent = clocks(process.pid)
        # To read the threads' may take some tenths of a second.
        sent |= {"time of day": time.time(), "taken away": taken_away()}
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    report = json.loads(text)
    caught = report["caught"]
    assert caught is not None, "the call ended without KeyboardInterrupt"
    passed = {name: seconds - sent.get(name, 0) for name, seconds in caught.items()}
    delay, lost = passed.pop("time of day"), passed.pop("taken away")
    return report, min(delay, max(delay - lost, *passed.values(), 0))


@pytest.mark.thread_counts(1, 2)
@pytest.mark.parametrize(
    "what",
    [
        "linear",
        "linear_backward",
        "linear_cross_entropy",
        "train",
        "evaluate",
        "softmax",
        "softmax of one row",
        "log_softmax of narrow rows",
        "softmax_backward",
        "log_softmax_backward along columns",
        "logsumexp",
        "cross_entropy",
        "cross_entropy_with_grad",
        "mse_loss",
        "binary_cross_entropy",
        "gather_rows",
        "order",
    ],
)
def test_kernel(what: str, threads: int, level: str) -> None:
    _, delay = interrupted(long_kernel(threads, what), level, 0.3)
    assert delay < 0.5


@pytest.mark.thread_counts(1, 2)
def test_training(threads: int, level: str) -> None:
    """Parameters and momentum are those of the whole steps that `applied` counts."""
    report, delay = interrupted(long_training(threads, 100_000), level, 0.3)
    assert delay < 0.5
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 200)).astype(np.float32)
    target = rng.integers(0, 10, 1000)
    order = rng.permutation(1000)
    arrays = [np.zeros((10, 200), np.float32), np.zeros(10, np.float32)]
    arrays += [np.zeros_like(array) for array in arrays]
    assert report["steps"] > 0
    kernels.train_softmax_regression(
        x, target, np.tile(order, report["steps"]), arrays[0], arrays[1], batch_size=1000,
        lr=0.01, momentum=0.9, momentum_buffers=(arrays[2], arrays[3]), first_step=True,
    )  # fmt: skip
    for array, values in zip(arrays, report["arrays"], strict=True):
        assert (array.ravel() == np.array(values, np.float32)).all()


@pytest.mark.thread_counts(1, 2)
def test_training_an_mlp(threads: int, level: str) -> None:
    """Parameters are those of the steps that `applied` counts."""
    script = PREAMBLE + textwrap.indent(
        textwrap.dedent(
            f"""
            x, target = rng.normal(size=(500, 60)).astype(np.float32), rng.integers(0, 9, 500)
            order = np.tile(rng.permutation(500), 100_000)
            start = [rng.normal(0, 0.1, shape).astype(np.float32)
                     for shape in ((70, 60), (70,), (9, 70), (9,))]
            arrays, applied = [array.copy() for array in start], np.zeros(1, np.int64)
            rule = kernels.OptimizerRule("sgd", {{"lr": 0.01}}, (), applied)
            print("ready", flush=True)
            try:
                kernels.train_mlp(
                    x, target, order, arrays, batch_size=100, rule=rule, threads={threads})
                caught = None
            except KeyboardInterrupt:
                caught = clocks(os.getpid())
            steps = int(applied[0])
            kernels.train_mlp(x, target, order[:100 * steps], start, batch_size=100, lr=0.01)
            equal = all((a == b).all() for a, b in zip(arrays, start))
            print(json.dumps({{"caught": caught, "steps": steps, "equal": equal}}), flush=True)
            """
        ),
        "    ",
    )
    report, delay = interrupted(script, level, 0.3)
    assert delay < 0.5
    assert report["steps"] > 0
    assert report["equal"]
