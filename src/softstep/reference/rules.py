"""The rules of optimizers, as the runs over minibatches take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class OptimizerRule(NamedTuple):
    """See :class:`softstep.kernels.OptimizerRule`; either is taken by both."""

    name: str
    settings: Mapping[str, Any]
    states: Sequence[Any] = ()
    applied: Any = None
