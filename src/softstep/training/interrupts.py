"""Ctrl-C that waits until a step is whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["uninterrupted"]


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Deliver a SIGINT that arrives inside of the block at its end.

    Python delivers signals to the main thread only; elsewhere there is nothing to do.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    late: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: late.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if late:
        handler(signal.SIGINT, late[0])
