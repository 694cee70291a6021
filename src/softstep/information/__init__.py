"""Measures of information: of events, of distributions, of one distribution beside another.

Results are float64, in nats unless a `base` is given (2 for bits: 1 nat is 1.4427 bits). Arrays
hold distributions along an axis, the last one by default. The convention is ``0 log 0 = 0``.
"""

from __future__ import annotations

from .divergences import cross_entropy, kl_divergence, mutual_information, perplexity
from .measures import entropy, hartley, self_information, surprisal

__all__ = [
    "cross_entropy",
    "entropy",
    "hartley",
    "kl_divergence",
    "mutual_information",
    "perplexity",
    "self_information",
    "surprisal",
]
