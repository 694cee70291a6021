"""Checks of numbers that models, optimizers and trainers take: errors name the argument."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["check_float_dtype", "check_integer", "check_number"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def check_integer(name: str, value: Any, least: int) -> int:
    """Return `value` as an int of at least `least`; TypeError or ValueError otherwise."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; accepted: an integer of at least {least}") from None
    if number < least:
        raise ValueError(f"{name} is {number}; accepted: an integer of at least {least}")
    return number


def check_number(name: str, value: Any, least: float = 0.0) -> float:
    """Return `value` as a finite float of at least `least`; TypeError or ValueError otherwise."""
    accepted = "a finite number" + (f" of at least {least:g}" if least > -math.inf else "")
    try:
        if isinstance(value, (str, bytes, bool, np.bool_)):
            raise TypeError
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; accepted: {accepted}") from None
    if not least <= number < math.inf or number == -math.inf:
        raise ValueError(f"{name} is {value!r}; accepted: {accepted}")
    return number


def check_float_dtype(value: DTypeLike) -> np.dtype[Any]:
    """Return float32 or float64 as a dtype; ValueError otherwise."""
    if value is not None:  # which NumPy takes for float64
        try:
            return _FLOATS[_FLOATS.index(np.dtype(value))]
        except (TypeError, ValueError, SyntaxError):  # NumPy reads a text with a comma as code
            pass
    raise ValueError(f"dtype is {value!r}; accepted: float32, float64")
