"""Chooses and loads the compiled module that fits this processor.

The native code is compiled once per instruction-set level (`_native_v2`, `_native_v3`, `_native_v4`
on x86-64, `_native_base` elsewhere). A small probe says which levels the processor and the
operating system support, and the best one is loaded. `SOFTSTEP_ISA` forces a level. Kernels look
`_native.module` up at each call, so that `use` can exchange it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from softstep._native import _cpu

supported: tuple[str, ...] = tuple(
    level
    for level in _cpu.supported_levels()
    if importlib.util.find_spec(f"{__name__}._native_{level}")
)
"""The levels that this machine can run and this build holds, lowest first."""


@functools.cache
def load(level: str) -> ModuleType:
    """Load the module compiled for `level`."""
    if level not in supported:
        raise ImportError(
            f"instruction-set level {level!r} is not supported here; "
            f"accepted: {', '.join(supported)}"
        )
    return importlib.import_module(f"softstep._native._native_{level}")


def _choose() -> tuple[str, str]:
    if not supported:
        import platform  # here, for before Python 3.11 it loads half of the standard library

        name = platform.processor() or platform.machine()
        raise ImportError(
            "softstep needs a processor with at least x86-64-v2 (SSE4.2 and POPCNT, made since "
            f"about 2009); this one ({name}) lacks it"
        )
    wanted = os.environ.get("SOFTSTEP_ISA")
    if not wanted:
        return supported[-1], "the best this processor supports"
    if wanted not in supported:
        raise ImportError(
            f"SOFTSTEP_ISA={wanted!r} is not an instruction-set level of this machine; "
            f"accepted: {', '.join(supported)}"
        )
    return wanted, "set by SOFTSTEP_ISA"


level, reason = _choose()
if TYPE_CHECKING:
    # One stub for the modules of all levels: their names and signatures are the same.
    from softstep._native import _module as module
else:
    module = load(level)


@contextlib.contextmanager
def use(name: str) -> Iterator[None]:
    """Run the kernels of another level for a `with` block; process-wide, meant for tests."""
    global level, module, reason
    before = level, module, reason
    level, module, reason = name, load(name), "chosen with _native.use()"
    try:
        yield
    finally:
        level, module, reason = before
