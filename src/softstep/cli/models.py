"""Models that the command line has loaded."""

from __future__ import annotations

from softstep.models.module import Module

__all__ = ["features_of"]


def features_of(model: Module) -> tuple[int, int]:
    """Return how many features a row of a model of the library has, and how many outputs.

    The Scratch models know their inputs from the beginning, the others hold weights (C, K).
    """
    outputs = int(getattr(model, "num_outputs", 1))
    inputs = getattr(model, "num_inputs", None)
    if inputs is None:
        inputs = next(p.shape[1] for p in model.parameters() if p.data.ndim == 2)
    return int(inputs), outputs
