"""What was loaded, and how many threads kernels may use."""

from __future__ import annotations

import operator
import os
from types import TracebackType

from softstep import _native

_default = 0  # of the process; 0 is the automatic choice
_setter: threads | None = None  # whose call set it, if that was the last thing that happened


class threads:  # noqa: N801  (used like a function)
    """Set how many threads kernels use when their `threads=` is not given.

    As a call it holds until the next one; as a context manager until the end of the block. It is
    the setting of the process, and an upper limit: small work runs on fewer. Results do not depend
    on it.

    Parameters
    ----------
    n : int or None
        At least 1; None returns to the automatic choice: as many as OpenMP (`OMP_NUM_THREADS`,
        threadpoolctl), `SOFTSTEP_NUM_THREADS`, the CPU affinity and the cgroup's quota allow,
        shared between calls in progress. (A `SOFTSTEP_NUM_THREADS` that is not a positive integer
        is passed over.)

    Raises
    ------
    TypeError, ValueError
        `n` is not an integer, or less than 1.

    Examples
    --------
    >>> import softstep
    >>> with softstep.threads(1):
    ...     softstep.kernels.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """

    def __init__(self, n: int | None) -> None:
        global _default, _setter
        self._count = 0 if n is None else check_threads(n)
        self._before = [_default]  # of the call, and of each block that is open
        _default, _setter = self._count, self

    def __enter__(self) -> threads:
        """Set the number again, unless the call that made this object was the last to set one."""
        global _default, _setter
        if _setter is not self:
            self._before.append(_default)
        _default, _setter = self._count, None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Return to the number from before."""
        global _default, _setter
        _default, _setter = self._before.pop(), None


def check_threads(n: object) -> int:
    """Return `n` as an int if it is a valid number of threads."""
    if type(n) is int and 1 <= n <= 1024:
        return n
    try:
        count = operator.index(n)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"threads is {n!r}; accepted: an integer of at least 1, or None") from None
    if count < 1 or isinstance(n, bool):
        raise ValueError(f"threads is {n!r}; accepted: an integer of at least 1, or None")
    return min(count, 1024)


def resolve_threads(n: int | None) -> int:
    """Return what a kernel passes to the native call: 0 leaves the choice to it."""
    return _default if n is None else check_threads(n)


def show_config() -> dict[str, object]:
    """Tell what was built, what was loaded and why, and how many threads kernels would use.

    Returns
    -------
    dict
        `version`, `level` (instruction-set level in use), `reason`, `supported` levels, `compiler`,
        `openmp`, `vector_bytes`, `processor`, `cpus` of the machine, `threads` that a large kernel
        call would use now.

    Examples
    --------
    >>> import softstep
    >>> softstep.show_config()["version"] == softstep.__version__
    True
    """
    import softstep

    return {
        "version": softstep.__version__,
        "level": _native.level,
        "reason": _native.reason,
        "supported": list(_native.supported),
        **_native.module.build(),
        "processor": _processor_name(),
        "cpus": os.cpu_count(),
        "threads": resolve_threads(None) or _native.module.default_threads(),
    }


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    import platform  # here, as in softstep._native

    return platform.processor() or platform.machine()
