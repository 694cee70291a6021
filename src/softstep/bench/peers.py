"""Other libraries: which are installed, and how arrays get into their hands."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

__all__ = ["LIBRARIES", "Call", "is_installed", "jax_call", "load", "tensors", "versions"]

Call = Callable[[], Sequence[Any]]
"""Does the work once, on inputs bound before, and returns its results as array-likes."""

LIBRARIES = {
    "numpy": ("numpy", "numpy"),
    "scipy": ("scipy.special", "scipy"),
    "sklearn": ("sklearn.neural_network", "scikit-learn"),
    "torch": ("torch", "torch"),
    "jax": ("jax", "jax"),
}
"""What a peer's library is loaded as, and the name of its distribution."""


def is_installed(library: str) -> bool:
    """Tell whether a library is there, without importing all of it."""
    return (
        library not in LIBRARIES or find_spec(LIBRARIES[library][0].partition(".")[0]) is not None
    )


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of those libraries that are installed."""
    return {
        name: importlib.metadata.version(LIBRARIES[name][1])
        for name in libraries
        if name in LIBRARIES and is_installed(name)
    }


def load(module: str) -> Any:
    """Import a peer: here, so that type checks do not depend on which ones are installed."""
    return import_module(module)


def tensors(*arrays: NDArray[Any]) -> list[Any]:
    """Return tensors that share the memory of arrays."""
    return [load("torch").from_numpy(array) for array in arrays]


def jax_call(function: Callable[..., Any], *arrays: Any) -> Call:
    """Return a call of a jitted function on arrays that are in JAX's hands already."""
    jax = load("jax")
    jitted = jax.jit(function)
    mine = [jax.numpy.asarray(array) for array in arrays]

    def call() -> Sequence[Any]:
        result: Sequence[Any] = jax.block_until_ready(jitted(*mine))
        return result

    return call
