"""Multilayer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from softstep import kernels
from softstep.kernels.linear import Activation
from softstep.models import layers as passes
from softstep.models.checks import check_float_dtype, check_integer, check_number
from softstep.models.classifier import Classifier
from softstep.models.layers import PLAIN, Layer, Reading
from softstep.models.module import check_parameter
from softstep.models.rows import class_indices, first_bad_row, flat_rows, predicted_classes

__all__ = ["MLP"]

_ACTIVATIONS = ("relu", "sigmoid", "tanh", None)


class MLP(Classifier):
    r"""Multilayer perceptron: linear layers with an activation between them, for classification.

    Trained by minibatch SGD on the cross-entropy of its logits. Forward and backward run on the
    kernels, the activation in the same pass as the product. Images are flattened, and the number of
    features is inferred from the first batch.

    Parameters
    ----------
    num_outputs : int
        The number of classes C, at least 1.
    num_hiddens : int or sequence of int
        The sizes of the hidden layers, each at least 1. None of them, ``()``, makes a softmax
        regression.
    lr : float
        The learning rate, finite and at least 0.
    activation : {"relu", "sigmoid", "tanh"} or None
        After each hidden layer. With None all layers together are one linear layer.
    dropout : float or sequence of float, default 0.0
        The share of each hidden layer's outputs that training sets to 0, at least 0 and below 1;
        the others are divided by what is kept. One number for all hidden layers, or one for each.
    sigma : float, optional
        The standard deviation of the first weights. By default that which keeps the size of signals
        from layer to layer: :math:`\sqrt{2 / K}` before a ReLU, :math:`\sqrt{1 / K}` otherwise,
        with K the layer's inputs.
    seed : int, default 0
        Of the initialisation and of dropout.
    dtype : {float32, float64}
        Of the parameters and of the computation.

    Attributes
    ----------
    layers : list of Layer
        Each with the parameters ``weight`` (outputs, inputs) and ``bias`` (outputs,).
    batches : int
        How often `backward` has run. Which units dropout leaves out depends on this and `seed`:
        they are other ones after each `backward`, and the same until then.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", sections 5.2, 5.4 and
    5.6; He et al., "Delving deep into rectifiers", ICCV (2015), for the first weights.

    Examples
    --------
    >>> from softstep import Digits, MLP, Trainer
    >>> model = MLP(num_outputs=10, num_hiddens=64, lr=0.5)
    >>> history = Trainer(max_epochs=20).fit(model, Digits())
    >>> [layer.weight.shape for layer in model.layers], history[-1].val_accuracy > 0.9
    ([(64, 64), (10, 64)], True)
    """

    def __init__(
        self,
        num_outputs: int,
        num_hiddens: int | Sequence[int],
        lr: float,
        activation: Activation | None = "relu",
        dropout: float | Sequence[float] = 0.0,
        *,
        sigma: float | None = None,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(seed=seed)
        self.num_outputs = check_integer("num_outputs", num_outputs, 1)
        self.num_hiddens = _sizes(num_hiddens)
        self.lr = check_number("lr", lr)
        if activation not in _ACTIVATIONS:
            accepted = ", ".join(map(repr, _ACTIVATIONS))
            raise ValueError(f"activation is {activation!r}; accepted: {accepted}")
        self.activation = activation
        self.dropout = _rates(dropout, len(self.num_hiddens))
        self.sigma = None if sigma is None else check_number("sigma", sigma)
        self.dtype = check_float_dtype(dtype)
        self.batches = 0
        self.layers = [
            *(
                Layer(size, activation, rate)
                for size, rate in zip(self.num_hiddens, self.dropout, strict=True)
            ),
            Layer(self.num_outputs, None, 0.0),
        ]

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "num_outputs": self.num_outputs,
            "num_hiddens": list(self.num_hiddens),
            "lr": float(self.lr),
            "activation": self.activation,
            "dropout": list(self.dropout),
            "sigma": self.sigma,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }

    def training_state(self) -> dict[str, Any]:
        """Return how many batches were seen: dropout goes on from there."""
        return {"batches": self.batches}

    def accept_training_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `training_state` has returned."""
        self.batches = check_integer("batches", state["batches"], 0)

    def infer(self, num_features: int) -> None:
        """Draw the first parameters for a number of features; check it if they exist already.

        Raises
        ------
        ValueError
            The parameters are those of another number of features.
        """
        first = self.layers[0].weight
        if first.is_initialized:
            if first.shape[1] != num_features:
                raise ValueError(
                    f"the rows have {num_features} features; "
                    f"accepted: {first.shape[1]}, as this {type(self).__name__} was made for"
                )
            return
        rng, inputs = np.random.default_rng(self.seed), num_features
        for layer in self.layers:
            gain = 2.0 if layer.activation == "relu" else 1.0
            sigma = math.sqrt(gain / max(1, inputs)) if self.sigma is None else self.sigma
            draws = rng.normal(0.0, sigma, (layer.num_outputs, inputs))
            layer.weight.data = draws.astype(self.dtype)
            layer.bias.data = np.zeros(layer.num_outputs, self.dtype)
            inputs = layer.num_outputs

    def features(self, x: ArrayLike) -> NDArray[Any]:
        """Return rows as (N, K) that the kernels take: images are flattened, types converted."""
        rows = flat_rows(x)
        self.infer(rows.shape[1])
        # Bytes are converted as they are read.
        return rows if rows.dtype == np.uint8 else rows.astype(self.dtype, copy=False)

    def targets(self, y: ArrayLike) -> NDArray[Any]:
        """Return class indices as int64."""
        return class_indices(y)

    def forward(self, x: ArrayLike) -> NDArray[Any]:
        """Compute the logits (N, C) of rows (N, K) or images (N, ...), with dropout in training."""
        features = self.features(x)
        return passes.forward(
            self.layers, features, masks=self.masks(len(features)), threads=self.threads
        ).logits

    def masks(self, rows: int, empty: passes.Empty = passes.fresh) -> list[NDArray[Any] | None]:
        """Return the dropout masks of a batch of this many rows; none unless in training."""
        if not self.training or not any(self.dropout):
            return []
        return passes.keep_masks(self.layers, rows, (self.seed, self.batches), empty)

    def backward(self, batch: Any) -> None:
        """Add the gradient of the batch's mean loss to the ``grad`` of all parameters.

        Raises
        ------
        FloatingPointError
            A feature is not finite; its row is named.
        """
        x, y = batch
        features = self.features(x)
        problem = first_bad_row(features)
        if problem is not None:  # which a ReLU may hide from the loss, but not from the gradients
            raise FloatingPointError(f"row {problem[0]} of the batch holds {problem[1]}")
        _, _, gradients = self.gradients(features, self.targets(y))
        for layer, (dweight, dbias) in zip(self.layers, gradients, strict=True):
            layer.weight.accumulate(dweight)
            layer.bias.accumulate(dbias)

    def gradients(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        reading: Reading = PLAIN,
        empty: passes.Empty = passes.fresh,
    ) -> tuple[float, int, list[tuple[NDArray[Any], NDArray[Any]]]]:
        """Compute the mean loss of rows, how many are correct, and the gradients of each layer.

        Parameters
        ----------
        x : ndarray, (N, K), of any type that `softstep.kernels.linear` takes
            With an order, any number of rows.
        y : int64 ndarray, (N,)
        reading : Reading
            Order, scale and shift of the features.
        empty : callable
            Gives the arrays that are written; see `softstep.models.layers.reused`.

        Returns
        -------
        loss : float
        correct : int
        gradients : list of (dweight, dbias)
        """
        masks = self.masks(len(y), empty)
        trace = passes.forward(self.layers, x, reading, masks, empty, self.threads)
        loss, dlogits, more = kernels.cross_entropy_with_grad(
            trace.logits, y, byproducts=("correct",), out=trace.logits, threads=self.threads
        )
        found = passes.backward(self.layers, trace, dlogits, reading, masks, empty, self.threads)
        self.batches += 1
        return float(loss), more.correct, found

    def predict(self, x: ArrayLike) -> NDArray[np.int64]:
        """Return the class indices (N,) of rows as a loader delivers them, without dropout.

        Raises
        ------
        RuntimeError
            The model has seen no data.
        ValueError
            The rows have another number of features than the model.
        FloatingPointError
            The outputs of a row are NaN; the row is named.
        """
        self.require_data()
        return predicted_classes(self._logits(x))

    def predict_proba(self, x: ArrayLike) -> NDArray[Any]:
        """Return the probabilities (N, C) of all classes, without dropout; errors as `predict`."""
        self.require_data()
        return kernels.softmax(self._logits(x), threads=self.threads)

    def _logits(self, x: ArrayLike) -> NDArray[Any]:
        if not any(self.dropout):
            return np.asarray(self(x))
        before = self.training
        self.training = False  # which is what `forward` looks at
        try:
            return np.asarray(self(x))
        finally:
            self.training = before

    def layer_shapes(self, x_shape: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of the output of each layer, for features of a shape."""
        names = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh"}
        if len(x_shape) > 2:
            yield "Flatten", (x_shape[0], math.prod(x_shape[1:]))
        for layer in self.layers:
            shape = (x_shape[0], layer.num_outputs)
            yield "Linear", shape
            if layer.activation is not None:
                yield names[layer.activation], shape
            if layer.rate:
                yield "Dropout", shape

    def accept_parameters(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Take parameters from a file; ValueError unless they are those of this model."""
        inputs: int | None = None
        for i, layer in enumerate(self.layers):
            shapes = {"weight": (layer.num_outputs, inputs), "bias": (layer.num_outputs,)}
            for name, shape in shapes.items():
                key = f"layers.{i}.{name}"
                if key in values:
                    check_parameter(key, values[key], shape, self.dtype)
            inputs = layer.num_outputs
        super().accept_parameters(values)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.hyperparameters().items())
        return f"{type(self).__name__}({arguments})"


def _sizes(num_hiddens: Any) -> tuple[int, ...]:
    if isinstance(num_hiddens, (list, tuple, np.ndarray, range)):
        return tuple(check_integer(f"num_hiddens[{i}]", n, 1) for i, n in enumerate(num_hiddens))
    return (check_integer("num_hiddens", num_hiddens, 1),)


def _rates(dropout: Any, count: int) -> tuple[float, ...]:
    several = isinstance(dropout, (list, tuple, np.ndarray))
    rates = list(dropout) if several else [dropout] * count
    if not several:
        rates = [dropout] * max(1, count)  # so that it is checked
    elif len(rates) != count:
        raise ValueError(f"dropout has {len(rates)} numbers; accepted: {count}, or one for all")
    for i, rate in enumerate(rates):
        name = f"dropout[{i}]" if several else "dropout"
        if not check_number(name, rate) < 1:
            raise ValueError(f"{name} is {rate!r}; accepted: at least 0 and below 1")
    return tuple(float(rate) for rate in rates[:count])
