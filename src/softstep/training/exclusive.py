"""One training at a time for a model or a trainer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["exclusive"]

_lock = threading.Lock()
_in_use: set[int] = set()  # identities; their objects live as long as the block that holds them


@contextlib.contextmanager
def exclusive(*objects: object) -> Iterator[None]:
    """Hold objects for the length of a block; RuntimeError if one of them is held already.

    Kept here and not on the objects, so that these can be copied and pickled.
    """
    keys = {id(thing) for thing in objects}
    with _lock:
        for thing in objects:
            if id(thing) in _in_use:
                raise RuntimeError(
                    f"this {type(thing).__name__} is in use: it takes part in another training, "
                    "perhaps in another thread; train one after the other, or copies of it"
                )
        _in_use.update(keys)
    try:
        yield
    finally:
        with _lock:
            _in_use.difference_update(keys)
