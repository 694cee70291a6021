"""What the models from scratch share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softstep.models.checks import check_integer
from softstep.models.module import Module, check_parameter
from softstep.models.parameter import Parameter

__all__ = ["ScratchModule"]

Array = NDArray[Any]


class ScratchModule(Module):
    """What these models share: parameters whose shapes follow from the constructor's arguments."""

    def __init__(self, *, seed: int, **sizes: Any) -> None:
        super().__init__(seed=seed)
        for name, size in sizes.items():
            setattr(self, name, check_integer(name, size, 1))

    @staticmethod
    def shapes(hyperparameters: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters that a constructor with these arguments makes."""
        raise NotImplementedError

    @classmethod
    def check_file(cls, hyperparameters: Mapping[str, Any], values: Mapping[str, Array]) -> None:
        """Raise ValueError unless the parameters have the shapes that the arguments say."""
        try:
            shapes = cls.shapes(hyperparameters)
        except KeyError as error:
            raise ValueError(f"the argument {error} is missing") from None
        for name, shape in shapes.items():
            if name in values:
                check_parameter(name, values[name], shape, np.dtype(np.float32))

    def draw(self, rng: np.random.Generator, sigma: float, shape: tuple[int, ...]) -> Parameter:
        """Draw a parameter from N(0, sigma)."""
        return Parameter(rng.normal(0, sigma, shape).astype(np.float32))
