"""Random numbers that are functions of a seed, an epoch and a row: nothing is stored."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["draws"]


def draws(use: str, seed: int, epoch: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each row.

    The key is BLAKE2b of use, seed and epoch; a row's number is output ``row`` of the SplitMix64
    generator that starts there, as in ``_permutation.pyx``. Numbers of another use, seed or epoch
    are independent.
    """
    text = f"{use} {seed} {epoch}".encode()
    key = hashlib.blake2b(text, digest_size=8, person=b"softstep.rows.v1").digest()
    state = np.asarray(rows).astype(np.uint64) + np.uint64(1)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state += np.frombuffer(key, "<u8").astype(np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
