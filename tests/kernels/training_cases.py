"""What the tests of the fused path share: a training problem."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from kernel_cases import Array

from softstep import reference

_runs: dict[bytes, tuple[Any, Any]] = {}

ROW_DTYPES = (np.uint8, np.float32, np.float64)


class Problem:
    """Rows, targets, an order and starting parameters of one training problem."""

    def __init__(
        self,
        rng: np.random.Generator,
        kind: str = "softmax",
        *,
        n: int = 130,
        columns: int = 17,
        classes: int = 10,
        rows: Any = np.float32,
        dtype: Any = np.float32,
        bias: bool = True,
        momentum: bool = True,
        regression_vector: bool = True,
    ) -> None:
        self.kind, self.dtype = kind, dtype
        self.scale: Any = None
        self.shift: Any = None
        if rows == np.uint8:
            self.x = rng.integers(0, 256, (n, columns), np.uint8)
            self.scale, self.shift = 1 / 255, -0.25
        else:
            self.x = rng.normal(0, 1, (n, columns)).astype(rows)
        weight = rng.normal(0, 0.5, (classes, columns))
        self.target = rng.integers(0, classes, n)
        if kind == "linear":
            target = self.features() @ weight.T + rng.normal(0, 0.1, (n, classes))
            vector = regression_vector and classes == 1
            self.target = (target[:, 0] if vector else target).astype(dtype)
        self.order = np.concatenate([rng.permutation(n) for _ in range(3)])
        self.weight = rng.normal(0, 0.1, weight.shape).astype(dtype)
        self.bias = rng.normal(0, 0.1, classes).astype(dtype) if bias else None
        self.has_buffers = momentum

    def features(self) -> Array:
        x = self.x.astype(np.float64)
        return x * (1 if self.scale is None else self.scale) + (
            0 if self.shift is None else self.shift
        )

    def start(self, dtype: Any = None) -> tuple[Array, Array | None, Any]:
        """Fresh copies of the parameters and momentum buffers that the first step overwrites."""
        dtype = dtype or self.dtype
        weight = self.weight.astype(dtype)
        bias = None if self.bias is None else self.bias.astype(dtype)
        buffers = None
        if self.has_buffers:
            buffers = (np.full_like(weight, 3), None if bias is None else np.full_like(bias, 3))
        return weight, bias, buffers

    def train(self, module: Any, state: Any, order: Array | None = None, **options: Any) -> Any:
        function = getattr(
            module,
            "train_softmax_regression" if self.kind == "softmax" else "train_linear_regression",
        )
        weight, bias, buffers = state
        options = {"scale": self.scale, "shift": self.shift, "first_step": True} | options
        return function(
            self.x, self.target, self.order if order is None else order, weight, bias,
            momentum_buffers=buffers, **options,
        )  # fmt: skip

    def train_reference(self, **options: Any) -> tuple[Any, Any]:
        """The state and the run of the reference in float64, computed once for all levels."""
        key = hashlib.sha256(repr((self.kind, sorted(options.items()))).encode())
        given = (self.x, self.target, self.order, self.weight, self.bias, self.scale, self.shift)
        for part in (*given, self.has_buffers):
            key.update(b"none" if part is None else np.asarray(part).tobytes())
        if key.digest() not in _runs:
            state = self.start(np.float64)
            _runs[key.digest()] = state, self.train(reference, state, **options)
        return _runs[key.digest()]


def flat(state: Any) -> list[Array]:
    """The arrays of a state that exist."""
    weight, bias, buffers = state
    return [array for array in (weight, bias, *(buffers or ())) if array is not None]
