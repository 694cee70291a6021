"""Ctrl-C that waits until a step is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType

__all__ = ["whole_steps"]


class _Whole:
    """A block that a SIGINT does not interrupt: it is delivered at the block's end."""

    def __init__(self, handler: Callable[[int, FrameType | None], object] | None) -> None:
        self.handler = handler
        self.entered = False
        self.late: list[FrameType | None] = []

    def __enter__(self) -> None:
        self.entered = True

    def __exit__(self, *exception: object) -> None:
        self.entered = False
        if self.late and self.handler is not None:
            frame = self.late.pop()
            self.late.clear()
            self.handler(signal.SIGINT, frame)

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.entered:
            self.late.append(frame)
        elif self.handler is not None:
            self.handler(number, frame)


@contextlib.contextmanager
def whole_steps() -> Iterator[AbstractContextManager[None]]:
    """Yield what each step is to be taken in: ``with whole: optimizer.step()``.

    The handler of SIGINT is exchanged once and for all steps, which takes as long as a small step.
    Python delivers signals to the main thread only; elsewhere there is nothing to do.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield _Whole(None)
        return
    whole = _Whole(handler)
    signal.signal(signal.SIGINT, whole.receive)
    try:
        yield whole
    finally:
        signal.signal(signal.SIGINT, handler)
