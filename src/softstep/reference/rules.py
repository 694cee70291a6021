"""The rules of optimizers, as the runs over minibatches take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class OptimizerRule(NamedTuple):
    """See :class:`softstep.kernels.OptimizerRule`; either is taken by both.

    Parameters
    ----------
    name, settings, states, applied
        As in :class:`softstep.kernels.OptimizerRule`.
    """

    name: str
    settings: Mapping[str, Any]
    states: Sequence[Any] = ()
    applied: Any = None
