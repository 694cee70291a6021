"""What a case is: inputs of a named shape, who computes it, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Inputs = TypeVar("Inputs")

Call = Callable[[], Sequence[Any]]
"""Does the work once, on inputs bound before, and returns its results as array-likes."""

EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)

_MODULES = {"torch": "torch", "jax": "jax", "scipy": "scipy", "sklearn": "sklearn"}


class Expected(NamedTuple):
    """What one result must be, in float64, and by how much each element may differ."""

    name: str
    value: Array | float
    bound: Array | float


@dataclass(frozen=True, eq=False)
class Case(Generic[Inputs]):
    """A computation on inputs of one shape, done by several.

    Each implementation is a function of the inputs that returns the `Call` to be timed: what is
    done once, such as conversions to tensors and compilation, happens before. Its name begins with
    that of the library, ``softstep`` for ours. A call may be repeated; its first result counts.
    """

    family: str
    shape: str
    make_inputs: Callable[[], Inputs]
    implementations: Mapping[str, Callable[[Inputs], Call]]
    expect: Callable[[Inputs], list[Expected]]
    moved: int = 0
    """Bytes of inputs and outputs."""
    flops: int = 0
    """Floating-point operations, where they and not the bytes are the limit."""

    @property
    def name(self) -> str:
        return f"{self.family}/{self.shape}"

    def installed(self) -> list[str]:
        """The implementations whose library is installed."""
        return [name for name in self.implementations if is_installed(name.split()[0])]


def is_installed(library: str) -> bool:
    return library not in _MODULES or find_spec(_MODULES[library]) is not None


def load(module: str) -> Any:
    """Import a peer: here, so that type checks do not depend on which ones are installed."""
    return import_module(module)


def tensors(*arrays: Array) -> list[Any]:
    """Tensors that share the memory of arrays."""
    return [load("torch").from_numpy(array) for array in arrays]


def jax_call(function: Callable[..., Any], *arrays: Any) -> Call:
    """A call of a jitted function on arrays that are in JAX's hands already."""
    jax = load("jax")
    jitted = jax.jit(function)
    mine = [jax.numpy.asarray(array) for array in arrays]

    def call() -> Sequence[Any]:
        result: Sequence[Any] = jax.block_until_ready(jitted(*mine))
        return result

    return call


def check(expected: Sequence[Expected], results: Sequence[Any]) -> None:
    """Raise AssertionError unless every result is within its bound of what is expected."""
    assert len(results) == len(expected), f"{len(results)} results, expected {len(expected)}"
    for (name, value, bound), result in zip(expected, results, strict=True):
        got = np.asarray(result)
        assert got.shape == np.shape(value), f"{name}: shape {got.shape}, not {np.shape(value)}"
        for part, wanted, allowed in _parts(got, np.asarray(value), np.asarray(bound)):
            error = np.abs(part.astype(np.float64) - wanted)
            wrong = ~(error <= allowed)  # NaN is wrong, too
            if wrong.any():
                excess = float(np.max(error / allowed))
                raise AssertionError(
                    f"{name}: {wrong.sum()} of {part.size} elements are off by more than the bound,"
                    f" by up to {excess:.3g} times"
                )


def _parts(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Blocks of rows, so that a check needs little memory beside large results."""
    first = arrays[0]
    if first.ndim == 0:
        yield arrays
        return
    rows = max(1, 2**20 // max(1, first[0].size))
    same = [np.broadcast_to(array, first.shape) for array in arrays]
    for start in range(0, len(first), rows):
        yield tuple(array[start : start + rows] for array in same)


def summed(count: float) -> float:
    r"""Bound the relative error of a sum, in any order, of `count` terms in float32.

    :math:`\lambda \sqrt{n} u` with :math:`\lambda = 4`, at most the worst case :math:`n u`, where u
    is half of eps: libraries differ in how they add, so the bound cannot count on a tree.

    References
    ----------
    Higham, Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41
    (2019).
    """
    return min(4 * float(np.sqrt(count)), count) * EPS / 2


def softmax_error(logits: Array) -> Array:
    """Bound the relative error of exp(x - max) and of its sum, per row: (N, 1).

    x - max is rounded, which exp turns into that much relative error; 4 eps are for exp itself
    and the division.
    """
    distance = logits.max(-1, keepdims=True) - logits.min(-1, keepdims=True)
    bound = (4 + distance.astype(np.float64)) * EPS + summed(logits.shape[-1])
    return np.asarray(bound)


def product_bound(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Bound the error of the elements of ``a @ b.T + bias``, from the magnitudes that are added."""
    magnitude = np.abs(a) @ np.abs(b).T
    if bias is not None:
        magnitude += np.abs(bias)
    bound = magnitude.astype(np.float64) * (summed(a.shape[1] + 1) + EPS) * 1.01 + TINY
    return np.asarray(bound)
