"""What a case is: inputs of a named shape, who computes it, what must come out and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from softstep.bench.peers import Call, is_installed, load

__all__ = ["Case", "Expected", "Figure", "Floor", "Reading", "Work", "check", "is_ours"]

Array = NDArray[Any]
Inputs = TypeVar("Inputs")


class Expected(NamedTuple):
    """What one result must be, in float64, and by how much each element may differ."""

    name: str
    value: Array | float
    bound: Array | float


class Work(NamedTuple):
    """What must be done at least: bytes that are read and written, arithmetic."""

    read: int = 0
    """Bytes of the inputs."""
    written: int = 0
    """Bytes of the outputs."""
    flops: int = 0
    """Floating-point operations of the matrix products; exponentials and the like count as free."""
    in_place: bool = False
    """Whether the outputs are among the inputs."""

    @property
    def copied(self) -> int:
        """Bytes that are read and as many that are written elsewhere."""
        return 0 if self.in_place else min(self.read, self.written)

    @property
    def moved(self) -> int:
        """The other bytes; what is changed in place goes back while the next is fetched."""
        return (self.read if self.in_place else max(self.read, self.written)) - self.copied

    @property
    def footprint(self) -> int:
        """Bytes of memory that are touched."""
        return self.read if self.in_place else self.read + self.written


class Floor(NamedTuple):
    """How many times faster than others one of our implementations has to be."""

    factor: float
    against: str = ""
    """An implementation, or how the names of several begin; by default every peer counts."""
    ours: str = "softstep"


@dataclass(frozen=True, eq=False)
class Case(Generic[Inputs]):
    """A computation on inputs of one shape, done by several.

    Each implementation is a function of the inputs that returns the `Call` to be timed: what is
    done once, such as conversions to tensors and compilation, happens before. Its name begins with
    that of the library, ``softstep`` for ours. A call may be repeated; its first result counts.
    """

    family: str
    shape: str
    """What such a shape is for."""
    size: str
    """The shape in numbers."""
    make_inputs: Callable[[], Inputs]
    implementations: Mapping[str, Callable[[Inputs], Call]]
    expect: Callable[[Inputs], list[Expected]]
    work: Work
    floors: tuple[Floor, ...] = ()
    works: Mapping[str, Work] = field(default_factory=dict)
    """The work of those of our implementations for which it is another."""
    requires: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Module and name of what a peer's implementation uses and older versions lack."""
    quick: bool = False
    """Whether ``--quick`` includes it."""

    @property
    def name(self) -> str:
        """Family and shape."""
        return f"{self.family}/{self.shape}"

    def installed(self) -> list[str]:
        """Return the implementations whose library is installed and new enough."""
        return [
            name
            for name in self.implementations
            if is_installed(name.split()[0]) and self._is_new_enough(name)
        ]

    def _is_new_enough(self, name: str) -> bool:
        if name not in self.requires:
            return True
        module, attribute = self.requires[name]
        return hasattr(load(module), attribute)

    def work_of(self, name: str) -> Work:
        """Return the work of one of our implementations."""
        return self.works.get(name, self.work)


class Reading(NamedTuple):
    """One number, and what it was made from."""

    value: float
    parts: dict[str, float]


@dataclass(frozen=True, eq=False)
class Figure:
    """A quantity that is not a time in turns with peers: start-up, overhead, memory."""

    family: str
    shape: str
    size: str
    unit: str
    at_most: float
    measure: Callable[[bool], Reading]
    """Takes whether to be quick."""
    quick: bool = False

    @property
    def name(self) -> str:
        """Family and shape."""
        return f"{self.family}/{self.shape}"


def is_ours(name: str) -> bool:
    """Tell our implementations from the peers'."""
    return name.split()[0] == "softstep"


def check(expected: Sequence[Expected], results: Sequence[Any]) -> None:
    """Raise AssertionError unless every result is within its bound of what is expected."""
    if len(results) != len(expected):
        raise AssertionError(f"{len(results)} results, expected {len(expected)}")
    for (name, value, bound), result in zip(expected, results, strict=True):
        got = np.asarray(result)
        if got.shape != np.shape(value):
            raise AssertionError(f"{name}: shape {got.shape}, not {np.shape(value)}")
        for part, wanted, allowed in _parts(got, np.asarray(value), np.asarray(bound)):
            error = np.abs(part.astype(np.float64) - wanted)
            wrong = ~(error <= allowed)  # NaN is wrong, too
            if wrong.any():
                with np.errstate(divide="ignore", invalid="ignore"):
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
