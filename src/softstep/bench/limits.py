"""What this machine can do at most, measured: reading, copying, multiplying and adding.

The loops are native (`csrc/kernels/limits.hpp`) and run on as many threads as everybody else. The
best of several samples counts, since a limit is what is possible; a case's own time is a median.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep import _native
from softstep.bench.case import Work

__all__ = ["Bound", "Machine"]

LARGE = 2**28
"""Bytes that no cache holds; the rates that are reported are those of buffers this large."""
SMALL = 2**12
SAMPLE = 0.003
"""Seconds that a sample takes, roughly."""
PAUSE, PATIENCE = 5.0, 120.0
"""Seconds of one pause in which others may give back a processor, and of all pauses at most."""


class Bound(NamedTuple):
    """Seconds that something takes at least, and why."""

    seconds: float
    kind: str
    """``read``, ``copy`` or ``flops``."""


class Machine:
    """The limits of this machine with so many threads.

    Memory is measured on buffers as large as the case touches: what fits a cache is held against
    the rate of that cache. Each rate is measured once, when it is first asked for.
    """

    def __init__(self, threads: int, samples: int = 7) -> None:
        self.threads = threads
        self.samples = samples
        self._patience = PATIENCE
        self._rates: dict[tuple[str, int], float] = {}

    def read(self, footprint: int = 0) -> float:
        """Bytes per second that can be read from a buffer of so many bytes, or of a large one."""
        return self._rate("read", footprint)

    def copy(self, footprint: int = 0) -> float:
        """Bytes per second, read and written together, from one half of the bytes to the other."""
        return self._rate("copy", footprint)

    @cached_property
    def flops(self) -> float:
        """Floating-point operations per second of fused multiply-adds in registers, float32."""
        steps, loop = 100_000, _native.module.multiply_add_loop
        operations = loop(steps, self.threads)[1]
        return operations / self._best(lambda: loop(steps, self.threads), 5 * self.samples)

    def least(self, work: Work) -> Bound:
        """Return the largest of the lower bounds that bytes and arithmetic set."""
        bounds = [Bound(work.flops / self.flops if work.flops else 0.0, "flops")]
        if work.footprint:
            copied = 2 * work.copied / self.copy(work.footprint) if work.copied else 0.0
            seconds = copied + work.moved / self.read(work.footprint)
            bounds.append(Bound(seconds, "copy" if work.copied > work.moved else "read"))
        return max(bounds)

    def traffic(self, work: Work, fresh: bool) -> Callable[[], None]:
        """Return a call that moves the bytes of some work on all threads, and does nothing else.

        With `fresh` outputs are new memory in each call, whose pages the system clears first.
        """
        read, copy = _native.module.read_stream, _native.module.copy_stream
        rest, source = _buffer(work.moved), _buffer(work.copied)
        target = None if fresh else _buffer(work.copied)

        def call(streaming: bool) -> None:
            if work.copied:
                new = np.empty_like(source) if target is None else target
                copy(new, source, streaming, 1, self.threads)
            if work.moved:
                read(rest, 1, self.threads)

        best = min((False, True), key=lambda streaming: self._best(lambda: call(streaming), 3))
        return lambda: call(best)

    def wait(self, until: float) -> bool:
        """Pause, for better times; False, at once, after two minutes of it or close to `until`."""
        if self._patience <= 0 or time.perf_counter() + PAUSE > until:
            return False
        self._patience -= PAUSE
        time.sleep(PAUSE)
        return True

    def _rate(self, kind: str, footprint: int) -> float:
        size = min(max(footprint, SMALL), 2 * LARGE) if footprint else LARGE
        if (kind, size) not in self._rates:
            measure = self._measure_read if kind == "read" else self._measure_copy
            self._rates[kind, size] = measure(size)
        return self._rates[kind, size]

    def _measure_read(self, size: int) -> float:
        buffer, repeats = _buffer(size), _repeats(size)
        read = _native.module.read_stream
        seconds = self._best(lambda: read(buffer, repeats, self.threads), self.samples)
        return repeats * buffer.nbytes / seconds

    def _measure_copy(self, size: int) -> float:
        """Ordinary stores are faster within a cache, streaming ones beyond."""
        source, target, repeats = _buffer(size // 2), _buffer(size // 2), _repeats(size)
        copy = _native.module.copy_stream
        seconds = min(
            self._best(
                lambda streaming=streaming: copy(  # type: ignore[misc]
                    target, source, streaming, repeats, self.threads
                ),
                self.samples,
            )
            for streaming in (False, True)
        )
        return 2 * repeats * source.nbytes / seconds

    def _best(self, call: Callable[[], Any], samples: int) -> float:
        call()
        best = float("inf")
        for _ in range(samples):
            start = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - start)
        return best


def _buffer(size: int) -> NDArray[np.float32]:
    """Float32 ones from the start of a page on, all of them in memory."""
    count = max(1, size // 4)
    whole = np.ones(count + 1024, np.float32)
    start = -whole.ctypes.data % 4096 // 4
    return whole[start : start + count]


def _repeats(size: int) -> int:
    """How often to go over so many bytes, at some 10 GB/s."""
    return max(1, min(100_000, round(SAMPLE * 1e10 / size)))
