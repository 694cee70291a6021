"""Layers of a multilayer perceptron: their parameters, and the passes forward and backward.

Forward, for the layers i = 1, 2, ... with the features as h_0:

    z_i = h_{i-1} W_i^T + b_i        a_i = f(z_i)        h_i = a_i * m_i

The last layer has no activation: its z are the logits. A mask m is there only while dropout is on.
Backward, with d_i the gradient with respect to z_i:

    dW_i = d_i^T h_{i-1}    db_i = sum of d_i's rows    d_{i-1} = (d_i W_i) * m_{i-1} * f'(z_{i-1})

f' is computed from a = f(z): [a > 0] for ReLU, a (1 - a) for the sigmoid, 1 - a^2 for tanh.

References
----------
A. Zhang, Z. C. Lipton, M. Li, A. J. Smola, "Dive into Deep Learning", sections 5.1 to 5.3; dropout:
Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR (2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softstep import kernels
from softstep.kernels._arrays import as_features
from softstep.kernels.linear import Activation, linear_backward_into, linear_into
from softstep.models.module import Module
from softstep.models.parameter import Parameter

__all__ = [
    "PLAIN",
    "Empty",
    "Layer",
    "Reading",
    "Trace",
    "backward",
    "fresh",
    "keep_masks",
    "reused",
]

Array = NDArray[Any]
Empty = Callable[[object, tuple[int, ...], np.dtype[Any]], Array]
"""Gives an array without values for a purpose, a shape and a dtype."""

_DRAWS = 2**16  # a unit is dropped if its draw is below `rate * _DRAWS`


class Reading(NamedTuple):
    """How features are read: they are ``x[order] * scale + shift``, without what is None."""

    order: NDArray[np.int64] | None = None
    scale: Array | None = None
    shift: Array | None = None


PLAIN = Reading()


class Layer(Module):
    """A linear layer with its activation; the number of inputs is known at the first batch.

    Attributes
    ----------
    weight : Parameter, (num_outputs, K)
    bias : Parameter, (num_outputs,)
    """

    def __init__(self, num_outputs: int, activation: Activation | None, rate: float) -> None:
        super().__init__()
        self.num_outputs, self.activation, self.rate = num_outputs, activation, rate
        self.weight, self.bias = Parameter(), Parameter()

    def forward(self, x: Any) -> Array:
        """Compute the outputs (N, num_outputs) of rows (N, K), without dropout."""
        return kernels.linear(
            x, self.weight.data, self.bias.data, activation=self.activation, threads=self.threads
        )


class Trace(NamedTuple):
    """What the pass forward leaves to the pass backward."""

    inputs: list[Array]
    """What each layer was given: the features, h_1, h_2, ..."""
    activations: list[Array]
    """a_1, a_2, ... of all layers but the last."""
    logits: Array


def fresh(purpose: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Allocate."""
    return np.empty(shape, dtype)


def reused() -> Empty:
    """Return an `Empty` that gives the same array for the same purpose, shape and dtype again."""
    kept: dict[Any, Array] = {}

    def empty(purpose: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        key = purpose, shape, dtype
        if key not in kept:
            kept[key] = np.empty(shape, dtype)
        return kept[key]

    return empty


def keep_masks(
    layers: Sequence[Layer], rows: int, key: tuple[int, ...], empty: Empty = fresh
) -> list[Array | None]:
    """Draw the dropout masks of a batch: 0 with probability `rate`, otherwise 1 / (1 - rate).

    Masks depend on the key, the layer and the shape alone. `rate` counts in steps of 2^-16, and the
    factor is that of the rounded rate, so the mean of a mask is exactly 1.
    """
    masks: list[Array | None] = []
    for i, layer in enumerate(layers[:-1]):
        least = min(round(layer.rate * _DRAWS), _DRAWS - 1)
        if least == 0:
            masks.append(None)
            continue
        shape, dtype = (rows, layer.num_outputs), layer.weight.dtype
        draws = np.random.default_rng([*key, i]).integers(0, _DRAWS, shape, np.uint16)
        mask = empty(("mask", i), shape, dtype)
        np.multiply(draws >= least, dtype.type(_DRAWS / (_DRAWS - least)), out=mask)
        masks.append(mask)
    return masks


def forward(
    layers: Sequence[Layer],
    x: Array,
    reading: Reading = PLAIN,
    masks: Sequence[Array | None] = (),
    empty: Empty = fresh,
    threads: int | None = None,
) -> Trace:
    """Run rows (N, K) through the layers; without `masks` there is no dropout."""
    rows = len(x if reading.order is None else reading.order)
    inputs: list[Array] = [as_features("x", x)]
    activations: list[Array] = []
    for i, layer in enumerate(layers):
        dtype = layer.weight.dtype
        out = empty(("activation", i), (rows, layer.num_outputs), dtype)
        linear_into(
            out, inputs[-1], layer.weight.data, layer.bias.data, *(reading if i == 0 else PLAIN),
            layer.activation, threads,
        )  # fmt: skip
        if i == len(layers) - 1:
            return Trace(inputs, activations, out)
        activations.append(out)
        mask = masks[i] if masks else None
        if mask is not None:
            with np.errstate(all="ignore"):  # who calls looks whether the loss is finite
                out = np.multiply(out, mask, out=empty(("dropped", i), out.shape, dtype))
        inputs.append(out)
    raise ValueError("layers is empty; accepted: at least one")


def backward(
    layers: Sequence[Layer],
    trace: Trace,
    dlogits: Array,
    reading: Reading = PLAIN,
    masks: Sequence[Array | None] = (),
    empty: Empty = fresh,
    threads: int | None = None,
) -> list[tuple[Array, Array]]:
    """Return (dweight, dbias) of every layer; arguments as those of `forward`."""
    gradients: list[tuple[Array, Array]] = []
    d = dlogits
    for i in reversed(range(len(layers))):
        layer, x = layers[i], trace.inputs[i]
        weight = layer.weight.data
        dweight = empty(("dweight", i), weight.shape, weight.dtype)
        dbias = empty(("dbias", i), weight.shape[:1], weight.dtype)
        dx = empty(("dx", i), x.shape, weight.dtype) if i > 0 else None
        mask = masks[i - 1] if masks and i > 0 else None
        before = layers[i - 1].activation if i > 0 else None
        linear_backward_into(
            dx, dweight, dbias, x, weight, d, *(reading if i == 0 else PLAIN),
            before if mask is None else None, threads,
        )  # fmt: skip
        gradients.append((dweight, dbias))
        if dx is None:
            continue
        d = dx
        if mask is not None:
            slope = empty(("slope", i), d.shape, d.dtype)
            with np.errstate(all="ignore"):
                np.multiply(d, mask, out=d)
                _times_slope(d, trace.activations[i - 1], before, slope)
    return gradients[::-1]


def _times_slope(d: Array, a: Array, activation: str | None, slope: Array) -> None:
    """Multiply a gradient by f'(z), which follows from a = f(z), in place."""
    if activation is None:
        return
    if activation == "relu":  # a is never negative
        np.not_equal(a, 0, out=slope, casting="unsafe")
    elif activation == "sigmoid":
        np.subtract(1, a, out=slope)
        np.multiply(slope, a, out=slope)
    else:
        np.multiply(a, a, out=slope)
        np.subtract(1, slope, out=slope)
    np.multiply(d, slope, out=d)
