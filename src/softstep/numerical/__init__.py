"""Gradients by differences, descent on functions, and the formats that numbers are held in."""

from __future__ import annotations

from softstep.numerical.descent import gradient_descent, minimize
from softstep.numerical.differences import (
    GradientError,
    Tangent,
    check_gradient,
    numerical_diff,
    numerical_gradient,
    tangent_line,
)
from softstep.numerical.formats import NumberFormat, NumberFormats, number_formats
from softstep.numerical.least_squares import least_squares
from softstep.numerical.simple_net import SimpleNet, simpleNet

__all__ = [
    "GradientError",
    "NumberFormat",
    "NumberFormats",
    "SimpleNet",
    "Tangent",
    "check_gradient",
    "gradient_descent",
    "least_squares",
    "minimize",
    "number_formats",
    "numerical_diff",
    "numerical_gradient",
    "simpleNet",
    "tangent_line",
]
