"""The same threads for everybody, and timing that alternates between implementations."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import softstep
from softstep.bench.peers import LIBRARIES, Call, is_installed, load

__all__ = ["FULL", "QUICK", "Plan", "alternate", "same_threads", "thread_count"]

TASKS = Path("/proc/self/task")
"""A folder for each thread of this process, on Linux."""


@dataclass(frozen=True)
class Plan:
    """How much time is spent."""

    samples: int = 15
    long_samples: int = 5
    long: float = 1.0
    """Seconds beyond which a call gets `long_samples`."""
    sample: float = 0.002
    """Seconds that a sample takes at least: shorter calls are repeated within it."""
    settle: float = 0.2
    """Seconds, at most, that the threads of whoever ran before are given to go to sleep.

    OpenBLAS's spin for 2**28 cycles, 107 ms at 2.5 GHz; whoever runs then takes twice as long.
    """
    slow: float = 0.2
    """Seconds beyond which a call needs no other one before it to wake threads and fill caches."""
    budget: float = float("inf")
    """Seconds after which a case with three samples of everybody takes no more."""
    until: float = float("inf")
    """When, by `time.perf_counter`, a single sample of everybody is enough."""

    def repetitions(self, seconds: float) -> tuple[int, int]:
        """How many samples of a call that takes so long, and how many calls in each."""
        samples = self.long_samples if seconds > self.long else self.samples
        return samples, max(1, min(10_000, round(self.sample / max(seconds, 1e-9))))


FULL = Plan()
QUICK = Plan(samples=5, long_samples=3, long=0.2, sample=0.001, budget=1.5)


def thread_count() -> int:
    """``SOFTSTEP_BENCH_THREADS``, or 2, or 1 on a machine with a single processor."""
    chosen = os.environ.get("SOFTSTEP_BENCH_THREADS")
    if chosen is None:
        return min(2, os.cpu_count() or 1)
    if not chosen.isdecimal() or int(chosen) < 1:
        raise ValueError(f"SOFTSTEP_BENCH_THREADS is {chosen!r}; accepted: a positive integer")
    return int(chosen)


@contextmanager
def same_threads(count: int, libraries: Iterable[str] = tuple(LIBRARIES)) -> Iterator[None]:
    """Let every library use `count` threads, and where the system can, as many processors.

    XLA has no setting for it and counts the processors of the process when JAX starts, so JAX must
    not be in use before. Thread pools are limited once the libraries that bring them are loaded.
    """
    with ExitStack() as stack:
        if hasattr(os, "sched_setaffinity"):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(before)[:count])
            stack.callback(os.sched_setaffinity, 0, before)
        found = [name for name in libraries if name in LIBRARIES and is_installed(name)]
        for name in found:
            load(LIBRARIES[name][0])
        if "torch" in found:
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


def timed(call: Call, number: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def others_sleep() -> bool:
    """Tell whether no other thread of this process is running; False where it cannot be known."""
    if not TASKS.is_dir():
        return False
    own = str(threading.get_native_id())
    for task in TASKS.iterdir():
        try:
            state = (task / "stat").read_text().rpartition(") ")[2][:1]
        except OSError:  # it has ended
            continue
        if state == "R" and task.name != own:
            return False
    return True


def settle(plan: Plan) -> None:
    """Wait until nobody else's threads are awake."""
    until = time.perf_counter() + plan.settle
    while time.perf_counter() < until and not others_sleep():
        time.sleep(0.005)


def warm(call: Call, plan: Plan = FULL) -> float:
    """Run a call until it is warm and alone; return roughly how long it takes."""
    settle(plan)
    first = timed(call, 1)
    return first if first > plan.slow else min(timed(call, 1) for _ in range(2))


def alternate(calls: Mapping[str, Call], plan: Plan = FULL) -> dict[str, float]:
    """Median seconds per call of each, taken in turns."""
    start = time.perf_counter()
    rough = {name: warm(call, plan) for name, call in calls.items()}
    plans = {name: plan.repetitions(seconds) for name, seconds in rough.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    while pending := [name for name in calls if len(samples[name]) < plans[name][0]]:
        taken, now = min(map(len, samples.values())), time.perf_counter()
        if taken >= (1 if now > plan.until else 3) and now > min(start + plan.budget, plan.until):
            break
        for name in pending:
            call, number = calls[name], plans[name][1]
            settle(plan)
            # Wakes processors and threads, brings the caches back to its arrays.
            if rough[name] <= plan.slow:
                timed(call, number)
            samples[name].append(timed(call, number))
    return {name: statistics.median(times) for name, times in samples.items()}
