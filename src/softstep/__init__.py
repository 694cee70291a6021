"""Training linear and softmax models on a CPU at the speed of memory."""

from __future__ import annotations

from softstep import kernels, reference
from softstep.runtime import show_config, threads

__version__ = "0.1.0"

__all__ = ["__version__", "kernels", "reference", "show_config", "threads"]
