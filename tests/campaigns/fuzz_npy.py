"""Mutated NPY files: each must end in an array or a DataFileError, soon and in little memory.

Run as a script for a long campaign: ``python tests/campaigns/fuzz_npy.py --count 100000 --seed 1``.
The test suite runs a short one (tests/data/test_npy.py).
"""

from __future__ import annotations

import io
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from fuzzing import campaign, damage

from softstep.data import DataFileError, read_npy

TYPES = ("?", "|u1", "<i2", ">i4", "<f2", "<f4", ">f8", "<c8", "|O", "<U3", "|V4", "<M8[s]")
SIZES = (0, 1, 2, 255, 2**16, 2**31, 2**32 - 1, 2**63, 2**64, -1)
TEXTS = ("(", "[" * 300, "'", "{", "}", "True", "2**9", "None", "-", "\\", "\n", "#", ",", "1e9")


def valid(rng: random.Random) -> bytes:
    """A small NPY file of numbers, in one of the versions."""
    shape = tuple(rng.randrange(6) for _ in range(rng.randrange(5)))
    array = np.zeros(shape, rng.choice(TYPES[:7]), order=rng.choice("CF"))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, rng.choice(((1, 0), (2, 0), (3, 0))))
    return buffer.getvalue()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file in one of the ways files are damaged, or made to."""
    result = bytearray(data)
    at = rng.randrange(len(result) + 1)
    kind = rng.randrange(8)
    if damage(result, kind, at, rng):
        pass
    elif kind == 4:
        result[at:at] = rng.choice(TEXTS).encode() * rng.choice((1, 1, 50))
    elif kind == 5:  # a length of the header that lies
        result[8:12] = rng.choice((rng.randbytes(4), b"\xff\xff\xff\xff", bytes(4)))
    else:  # a header of one's own
        shape = [rng.choice(SIZES) for _ in range(rng.randrange(4))]
        fields = {
            "descr": rng.choice((*TYPES, 3, None, [("a", "<f4")])),
            "fortran_order": rng.choice((True, False, 1)),
            "shape": rng.choice((tuple(shape), shape, 7)),
        }
        if rng.random() < 0.1:
            del fields[rng.choice(list(fields))]
        text = repr(fields).encode() + b"\n"
        version = rng.choice((1, 2, 3))
        length = len(text).to_bytes(2 if version == 1 else 4, "little")
        result = bytearray(b"\x93NUMPY" + bytes((version, 0)) + length + text)
        result += bytes(rng.choice((0, 1, 100)))
    return bytes(result) if rng.random() < 0.8 else mutate(bytes(result), rng)


def run(count: int, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """Read mutated files; returns how they ended, and the longest time in seconds.

    Any exception but DataFileError comes out, after the file is kept as ``folder/failed``.
    """
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    longest = 0.0
    path = folder / "mutated"
    for _ in range(count):
        path.write_bytes(mutate(valid(rng), rng))
        started = time.perf_counter()
        try:
            array = read_npy(path, mmap=rng.random() < 0.3)
        except DataFileError as error:
            ends[re.sub(r"'.*|\b[\d.]+|\(.*|;.*|:.*| of data.*| with .*", "_", error.reason)] += 1
        except BaseException:
            path.replace(folder / "failed")
            raise
        else:
            array.tobytes()
            ends["array"] += 1
            del array  # a mapped file cannot be replaced on every system
        longest = max(longest, time.perf_counter() - started)
    return ends, longest


if __name__ == "__main__":
    sys.exit(campaign("npy", run))
