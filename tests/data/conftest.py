"""What the data tests share: IDX bytes, small MNIST folders, the real MNIST files."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from softstep.data import MNIST

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def _idx_bytes(array: NDArray[Any]) -> bytes:
    code = IDX_CODES[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[NDArray[Any]], bytes]:
    """The IDX file of an array, written by the format's description."""
    return _idx_bytes


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No $SOFTSTEP_DATA and an empty cache, whose parent folder is returned."""
    monkeypatch.delenv("SOFTSTEP_DATA", raising=False)
    cache = tmp_path / "no-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


@pytest.fixture
def small_mnist(no_places: Path) -> Callable[..., dict[str, NDArray[Any]]]:
    """Writes a folder of small files that have MNIST's names and shapes."""

    def write(
        folder: Path, *, train: int = 50, val: int = 20, compress: bool = False, **replaced: Any
    ) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng(5)
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {}
        for part, n in (("train", train), ("t10k", val)):
            arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
            arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, n, np.uint8)
        for name in list(arrays):
            key = name.split("-idx")[0].replace("-", "_")
            arrays[name] = replaced.get(key, arrays[name])
            data = _idx_bytes(arrays[name])
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data, 1))
            else:
                (folder / name).write_bytes(data)
        return arrays

    return write


@pytest.fixture(scope="session")
def mnist() -> MNIST:
    """The real MNIST files."""
    try:
        return MNIST()
    except FileNotFoundError:
        pytest.skip("MNIST files not found (set SOFTSTEP_DATA)")
