"""The kernels: NumPy arrays in, NumPy arrays out, computed in native code.

Every function has a plain NumPy counterpart of the same name and signature in `softstep.reference`.
"""

from __future__ import annotations

from softstep.kernels.softmax import log_softmax, logsumexp, softmax

__all__ = ["log_softmax", "logsumexp", "softmax"]
