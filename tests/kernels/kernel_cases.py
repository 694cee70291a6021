"""What the kernel tests share: sizes, inputs, exact results in extended precision, error bounds.

Bounds are computed from eps, length and magnitude as DESIGN.md, "Stated accuracy", says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES = (np.float32, np.float64)
LABEL_DTYPES = (
    np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
)  # fmt: skip
# Around every vector width and tile edge, and the sizes of real layers.
SIZES = (*range(1, 34), 63, 64, 65, 127, 128, 129, 130, 784, 1000)
FEW_SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 130)

LongDouble = np.longdouble
# What the exact results themselves may be wrong by, in eps of float64: nothing where long double
# is wider than float64, a few roundings where it is the same type.
ORACLE_SLACK = 0 if np.finfo(LongDouble).eps < 1e-18 else 8

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decay": {"weight_decay": 0.01},
    "momentum": {"momentum": 0.9},
    "damped": {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02},
    "nesterov": {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    "maximize": {"momentum": 0.5, "maximize": True, "weight_decay": 0.05},
}


def eps(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def tiny(dtype: Any) -> float:
    """The smallest normal number: what a result that underflows may be wrong by."""
    return float(np.finfo(dtype).tiny)


def random_logits(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, kind: str = "normal"
) -> Array:
    """Logits that are not uniform: the kinds of RELIABILITY.md, line 2."""
    if kind == "normal":
        x = rng.normal(0, 5, shape)
    elif kind == "large":
        x = rng.uniform(88, 100, shape)
    elif kind == "negative":
        x = rng.uniform(-200, -100, shape)
    elif kind == "spread":
        x = rng.uniform(-80, 80, shape)
    elif kind == "one maximum":
        x = np.full(shape, -1.5)
        x[..., rng.integers(shape[-1])] = 2.25
    elif kind == "ties":
        x = rng.integers(-2, 3, shape).astype(float)
    else:
        raise AssertionError(kind)
    return x.astype(dtype)


def random_labels(rng: np.random.Generator, n: int, classes: int, dtype: Any = np.int64) -> Array:
    """Labels of a dtype that may be too narrow for every class."""
    return rng.integers(0, min(classes, np.iinfo(dtype).max + 1), n).astype(dtype)


class Exact:
    """Softmax, log-sum-exp and losses of the rows (last axis) in extended precision."""

    def __init__(self, logits: Array) -> None:
        x = logits.astype(LongDouble)
        self.at_maximum = x.argmax(-1)[..., None]
        self.maximum = np.take_along_axis(x, self.at_maximum, -1)
        self.distance = self.maximum - x
        self.terms = np.exp(-self.distance)
        others = self.terms.copy()
        np.put_along_axis(others, self.at_maximum, LongDouble(0), -1)
        self.rest = others.sum(-1, keepdims=True)
        self.log_rest = np.log1p(self.rest)
        weighted = (others * self.distance).sum(-1, keepdims=True)
        # D of DESIGN.md: the mean distance of the other columns, weighted by exp.
        self.D = np.divide(weighted, self.rest, out=np.zeros_like(weighted), where=self.rest > 0)

    @property
    def softmax(self) -> Array:
        return self.terms / (1 + self.rest)

    @property
    def log_softmax(self) -> Array:
        return -self.distance - self.log_rest

    @property
    def logsumexp(self) -> Array:
        return (self.maximum + self.log_rest)[..., 0]

    def losses(self, labels: Array) -> Array:
        column = labels.astype(np.int64)[:, None]
        return (np.take_along_axis(self.distance, column, -1) + self.log_rest)[:, 0]

    def gradients(self, labels: Array) -> Array:
        """Softmax minus one-hot; the target's entry as minus the sum of the others."""
        column = labels.astype(np.int64)[:, None]
        result = self.softmax
        np.put_along_axis(result, column, LongDouble(0), -1)
        np.put_along_axis(result, column, -result.sum(-1, keepdims=True), -1)
        return result

    def softmax_bound(self, dtype: Any) -> Array:
        """``(4 + (|x - max| + D) / 2) * eps`` relative, and the smallest normal number."""
        relative = 4 + (self.distance + self.D) / 2 + ORACLE_SLACK
        return relative * eps(dtype) * self.softmax + tiny(dtype)

    def relative_loss_bound(self, dtype: Any) -> Array:
        """``(8 + D / 2) * eps``, one per row."""
        return ((8 + self.D / 2 + ORACLE_SLACK) * eps(dtype))[..., 0]

    def gradient_bound(self, labels: Array, dtype: Any) -> Array:
        """Softmax's bound; for the target's entry the others' bounds and their sum's rounding.

        The sum of C numbers of one sign is wrong by at most C / 2 eps relative; kernels that sum
        by lanes stay below ``8 + log2(C)``, which is used here.
        """
        column = labels.astype(np.int64)[:, None]
        bound = self.softmax_bound(dtype)
        np.put_along_axis(bound, column, LongDouble(0), -1)
        gradients = np.abs(np.take_along_axis(self.gradients(labels), column, -1))
        summed = (8 + np.log2(bound.shape[-1])) * eps(dtype) * gradients
        np.put_along_axis(bound, column, bound.sum(-1, keepdims=True) + summed, -1)
        return bound


def sum_bound(count: int, dtype: Any) -> float:
    """Relative error of a sum of ``count`` numbers of one sign: that of NumPy's pairwise sum.

    Blocks of 128 in 8 lanes: 16 + 3 roundings in a block, log2 of the blocks above it, half an
    eps each; one more for the division of a mean and one for its conversion.
    """
    return (21 + np.log2(max(count / 128, 1))) * eps(dtype)


def linear_bound(x: Array, weight: Array, bias: Array | None, dtype: Any) -> Array:
    """``(K + 2) * eps / 2 * (|x| @ |weight|.T + |bias|)``: the bound for sums in any order."""
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    if bias is not None:
        magnitude = magnitude + np.abs(bias.astype(np.float64))
    return (x.shape[1] + 2) * eps(dtype) / 2 * magnitude + tiny(dtype)


def assert_close(actual: Any, exact: Any, bound: Any, what: str = "") -> None:
    """Every ``|actual - exact|`` is within its bound; NaN and infinities agree."""
    actual, exact = np.asarray(actual), np.asarray(exact)
    assert actual.shape == exact.shape, f"{what}: shape {actual.shape}, expected {exact.shape}"
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(
        np.where(finite, 0, actual), np.where(finite, 0, exact), err_msg=what
    )
    bound = np.broadcast_to(np.asarray(bound), exact.shape)[finite]
    error = np.abs(actual[finite].astype(LongDouble) - exact[finite])
    if not (error <= bound).all():  # a NaN fails too
        worst = int(np.where(np.isnan(error), np.inf, error - bound).argmax())
        raise AssertionError(
            f"{what}: got {actual[finite][worst]!r}, expected {exact[finite][worst]!r}; "
            f"error {error[worst]:.3g}, bound {bound[worst]:.3g}, "
            f"{(~(error <= bound)).sum()} of {error.size} outside"
        )


def same_bytes(a: Any, b: Any) -> bool:
    """Equal shape, dtype and bytes; nested tuples element by element."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_bytes, a, b))
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def misaligned(array: Array, offset: int = 1) -> Array:
    """A copy of ``array`` that starts ``offset`` bytes after an aligned address."""
    buffer = np.zeros(array.nbytes + 64, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    result = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result
