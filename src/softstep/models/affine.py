"""What the library's models have in common: outputs ``x @ weight.T + bias`` and a loss of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep import kernels
from softstep.models.checks import check_float_dtype, check_integer, check_number
from softstep.models.module import Module, check_parameter
from softstep.models.parameter import Parameter
from softstep.models.rows import flat_rows

__all__ = ["AffineModel"]

_SIGMA = 0.01  # standard deviation of the first weights


class AffineModel(Module):
    """One affine layer; the number of features is inferred from the first batch.

    A subclass gives ``loss``, ``loss_with_grad`` and ``targets``.
    """

    def __init__(self, num_outputs: int, lr: float, *, seed: int, dtype: DTypeLike) -> None:
        super().__init__(seed=seed)
        self.num_outputs = check_integer("num_outputs", num_outputs, 1)
        self.lr = check_number("lr", lr)
        self.dtype = check_float_dtype(dtype)
        self.weight = Parameter()
        self.bias = Parameter()

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "num_outputs": self.num_outputs,
            "lr": float(self.lr),
            "seed": self.seed,
            "dtype": self.dtype.name,
        }

    def infer(self, num_features: int) -> None:
        """Draw the first parameters for a number of features; check it if they exist already.

        Raises
        ------
        ValueError
            The parameters are those of another number of features.
        """
        if not self.weight.is_initialized:
            shape = (self.num_outputs, num_features)
            draws = np.random.default_rng(self.seed).normal(0.0, _SIGMA, shape)
            self.weight.data = draws.astype(self.dtype)
            self.bias.data = np.zeros(self.num_outputs, self.dtype)
        elif self.weight.shape[1] != num_features:
            raise ValueError(
                f"the rows have {num_features} features; "
                f"accepted: {self.weight.shape[1]}, as this {type(self).__name__} was made for"
            )

    def features(self, x: ArrayLike) -> NDArray[Any]:
        """Return rows as (N, K) of the model's dtype: images are flattened, types converted."""
        rows = flat_rows(x)
        self.infer(rows.shape[1])
        return rows.astype(self.weight.dtype, copy=False)

    def forward(self, x: ArrayLike) -> NDArray[Any]:
        """Compute the outputs (N, num_outputs) of rows (N, K) or images (N, ...)."""
        features = self.features(x)
        return kernels.linear(features, self.weight.data, self.bias.data, threads=self.threads)

    def targets(self, y: ArrayLike) -> NDArray[Any]:
        """Return targets as the kernels take them without a copy."""
        raise NotImplementedError(f"{type(self).__name__} defines no targets(y)")

    def loss_with_grad(self, y_hat: ArrayLike, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        """Compute the mean loss of outputs and its gradient with respect to them."""
        raise NotImplementedError(f"{type(self).__name__} defines no loss_with_grad(y_hat, y)")

    def backward(self, batch: Any) -> None:
        """Add the gradient of the batch's mean loss to ``weight.grad`` and ``bias.grad``."""
        x, y = batch
        features = self.features(x)
        _, dy_hat = self.loss_with_grad(self.forward(features), y)
        _, dweight, dbias = kernels.linear_backward(
            features, self.weight.data, dy_hat, threads=self.threads
        )
        self.weight.accumulate(dweight)
        self.bias.accumulate(dbias)

    def get_w_b(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ``weight`` (num_outputs, K) and ``bias`` (num_outputs,), not copied.

        Raises
        ------
        RuntimeError
            The model has seen no data.
        """
        self.require_data()
        return self.weight.data, self.bias.data

    def layer_shapes(self, x_shape: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of the output of each layer, for features of a shape."""
        if len(x_shape) > 2:
            yield "Flatten", (x_shape[0], math.prod(x_shape[1:]))
        yield "Linear", (x_shape[0], self.num_outputs)

    def accept_parameters(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Take parameters from a file; ValueError unless they are those of this model."""
        for name, shape in (("weight", (self.num_outputs, None)), ("bias", (self.num_outputs,))):
            if name in values:
                check_parameter(name, values[name], shape, self.dtype)
        super().accept_parameters(values)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.hyperparameters().items())
        return f"{type(self).__name__}({arguments})"
