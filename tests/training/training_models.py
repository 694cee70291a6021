"""Models and data that the tests of training share."""

from __future__ import annotations

from typing import Any

import numpy as np

from softstep import (
    SGD,
    ArrayDataModule,
    Digits,
    LinearRegression,
    Module,
    Parameter,
    SoftmaxRegression,
    SyntheticRegressionData,
    Trainer,
    reference,
)


class Stepwise(Trainer):
    """A trainer that has to go step by step, because it has a batch preparation of its own."""

    def prepare_batch(self, batch: Any) -> Any:
        return batch


class WithSGD:
    """A mixin: the library model with more settings of SGD."""

    sgd: dict[str, Any]

    def configure_optimizers(self) -> SGD:
        return SGD(self.parameters(), self.lr, **self.sgd)  # type: ignore[attr-defined]


class Softmax(WithSGD, SoftmaxRegression):
    pass


class Linear(WithSGD, LinearRegression):
    pass


class ReferenceSoftmax(Softmax):
    """Computed by the plain NumPy reference."""

    def forward(self, x: Any) -> Any:
        return reference.linear(self.features(x), self.weight.data, self.bias.data)

    def loss(self, y_hat: Any, y: Any, averaged: bool = True) -> Any:
        return reference.cross_entropy(y_hat, y, reduction="mean" if averaged else "none")

    def backward(self, batch: Any) -> None:
        x, y = batch
        _, d = reference.cross_entropy_with_grad(self.forward(x), y)
        _, dw, db = reference.linear_backward(self.features(x), self.weight.data, d)
        self.weight.accumulate(dw), self.bias.accumulate(db)


class ReferenceLinear(Linear):
    """Computed by the plain NumPy reference."""

    def forward(self, x: Any) -> Any:
        return reference.linear(self.features(x), self.weight.data, self.bias.data)

    def loss(self, y_hat: Any, y: Any) -> Any:
        return reference.mse_loss(y_hat, self.targets(y))

    def backward(self, batch: Any) -> None:
        x, y = batch
        _, d = reference.mse_loss_with_grad(self.forward(x), self.targets(y))
        _, dw, db = reference.linear_backward(self.features(x), self.weight.data, d)
        self.weight.accumulate(dw), self.bias.accumulate(db)


class Mean(Module):
    """Learns the mean of the targets; needs no more than a module has to have."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.w = 0.1, Parameter(np.zeros(1))

    def forward(self, x: Any) -> Any:
        return np.full(len(x), self.w.data[0])

    def loss(self, y_hat: Any, y: Any) -> Any:
        return float(np.mean((y_hat - np.ravel(y)) ** 2))

    def backward(self, batch: Any) -> None:
        x, y = batch
        self.w.accumulate(2 * np.mean(self.forward(x) - np.ravel(y), keepdims=True))


def small(rows: int = 10, val: bool = True, **options: Any) -> ArrayDataModule:
    """A few rows of three features and two classes."""
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    y = np.arange(rows) % 2
    held = {"x_val": x[:7], "y_val": y[:7]} if val else {}
    return ArrayDataModule(x, y, **held, **({"batch_size": 4} | options))


def problem(kind: str, which: str, sgd: dict[str, Any], dtype: Any = np.float32) -> Any:
    """A model and its data."""
    classes = {
        ("softmax", "library"): Softmax,
        ("softmax", "reference"): ReferenceSoftmax,
        ("linear", "library"): Linear,
        ("linear", "reference"): ReferenceLinear,
    }
    cls: Any = classes[kind, which]
    if kind == "softmax":
        model, data = cls(10, 0.2, seed=1, dtype=dtype), Digits(batch_size=100, seed=3)
    else:
        model = cls(0.03, seed=1, dtype=dtype)
        data = SyntheticRegressionData([2, -3.4], 4.2, num_val=300, seed=3)
    model.sgd = sgd
    return model, data


def state(model: Any, trainer: Any = None) -> bytes:
    """The bytes of parameters and optimizer state."""
    arrays = [p.data for p in model.parameters()]
    if trainer is not None:
        arrays += [b for b in trainer.optim.momentum_buffers if b is not None]
    return b"".join(array.tobytes() for array in arrays)


class Softmax0(Softmax):
    def __init__(self, **sgd: Any) -> None:
        super().__init__(2, 0.1)
        self.sgd = {"momentum": 0.5} | sgd
