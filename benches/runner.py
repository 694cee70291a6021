"""The same threads for everybody, and timing that alternates between implementations."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np

import softstep
from benches.cases.case import Call, is_installed, load

SETTLE = 0.05
"""Seconds after which the waiting threads of the library that ran before have gone to sleep.

OpenBLAS's spin for about 2**26 cycles, 27 ms at 2.5 GHz; whoever runs then takes twice as long.
"""
SAMPLE = 0.002
"""Seconds that a sample takes at least: shorter calls are repeated within it."""
LONG = 1.0
"""Calls that take longer are timed less often."""


def thread_count() -> int:
    """``SOFTSTEP_BENCH_THREADS``, or 2, or 1 on a machine with a single processor."""
    chosen = os.environ.get("SOFTSTEP_BENCH_THREADS")
    if chosen is None:
        return min(2, os.cpu_count() or 1)
    if not chosen.isdecimal() or int(chosen) < 1:
        raise ValueError(f"SOFTSTEP_BENCH_THREADS is {chosen!r}; accepted: a positive integer")
    return int(chosen)


@contextmanager
def same_threads(count: int) -> Iterator[None]:
    """Let every library use `count` threads, and where the system can, as many processors.

    XLA has no setting for it and counts the processors of the process when JAX starts, so JAX must
    not be in use before. Thread pools are limited once the libraries that bring them are loaded.
    """
    with ExitStack() as stack:
        if hasattr(os, "sched_setaffinity"):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(before)[:count])
            stack.callback(os.sched_setaffinity, 0, before)
        for library, module in (
            ("scipy", "scipy.special"),
            ("sklearn", "sklearn.neural_network"),
            ("torch", "torch"),
            ("jax", "jax"),
        ):
            if is_installed(library):
                load(module)
        if is_installed("torch"):
            torch = load("torch")
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(count)
        try:
            limits = load("threadpoolctl").threadpool_limits
        except ModuleNotFoundError:
            pass  # NumPy's BLAS then uses as many threads as it chose when it was loaded
        else:
            stack.enter_context(limits(count))
        stack.enter_context(softstep.threads(count))
        yield


def repetitions(seconds: float) -> tuple[int, int]:
    """How many samples of a call that takes so long, and how many calls in each."""
    return (5 if seconds > LONG else 15), max(1, min(10_000, round(SAMPLE / max(seconds, 1e-9))))


def timed(call: Call, number: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def warm(call: Call) -> float:
    """Run a call until it is warm and alone; return roughly how long it takes."""
    time.sleep(SETTLE)
    timed(call, 1)
    return min(timed(call, 1) for _ in range(2))


def alternate(calls: Mapping[str, Call]) -> dict[str, float]:
    """Median seconds per call of each, taken in turns."""
    plans = {name: repetitions(warm(call)) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    while pending := [name for name in calls if len(samples[name]) < plans[name][0]]:
        for name in pending:
            call, number = calls[name], plans[name][1]
            time.sleep(SETTLE)
            timed(
                call, number
            )  # wakes processors and threads, brings the caches back to its arrays
            samples[name].append(timed(call, number))
    return {name: statistics.median(times) for name, times in samples.items()}


def machine_limits(count: int) -> dict[str, float]:
    """Measure what this machine can do with `count` threads: GB/s of a copy, float32 GFLOP/s.

    The copy is NumPy's in a thread per part, counting what is read and what is written; the
    arithmetic is the BLAS's product of two 2048 x 2048 matrices.
    """
    from concurrent.futures import ThreadPoolExecutor

    source, target = np.ones(2**26, np.float32), np.zeros(2**26, np.float32)
    square = np.random.default_rng(7).standard_normal((2048, 2048), dtype=np.float32)
    out = np.empty_like(square)
    parts = list(zip(np.array_split(source, count), np.array_split(target, count), strict=True))
    with ThreadPoolExecutor(count) as pool:

        def copy() -> tuple[None, ...]:
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))
            return ()

        def product() -> tuple[None, ...]:
            np.matmul(square, square, out=out)
            return ()

        seconds = alternate({"copy": copy, "product": product})
    return {
        "copy_gb_per_s": 2 * source.nbytes / seconds["copy"] / 1e9,
        "sgemm_gflop_per_s": 2 * 2048**3 / seconds["product"] / 1e9,
    }
