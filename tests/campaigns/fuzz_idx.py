"""Mutated IDX files: each must end in an array or a DataFileError, soon and in little memory.

Run as a script for a long campaign: ``python tests/campaigns/fuzz_idx.py --count 100000 --seed 1``.
The test suite runs a short one (tests/data/test_idx.py).
"""

from __future__ import annotations

import gzip
import random
import re
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from fuzzing import campaign, damage

from softstep.data import DataFileError, read_idx

CODES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)
WIDTHS = {0x08: 1, 0x09: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}
SIZES = (0, 1, 2, 3, 7, 255, 256, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def valid(rng: random.Random) -> bytes:
    """A small IDX file, plain or compressed."""
    code = rng.choice(CODES)
    shape = [rng.randrange(6) for _ in range(rng.randrange(1, 5))]
    count = WIDTHS[code]
    for size in shape:
        count *= size
    data = struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + rng.randbytes(count)
    return gzip.compress(data, rng.choice((0, 1, 9)), mtime=0) if rng.random() < 0.5 else data


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a file in one of the ways files are damaged, or made to."""
    result = bytearray(data)
    at = rng.randrange(len(result) + 1)
    kind = rng.randrange(9)
    if damage(result, kind, at, rng):
        pass
    elif kind == 4:
        result[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 5 and len(result) >= 8:  # a size that lies
        struct.pack_into(">I", result, 4, rng.choice(SIZES))
    elif kind == 6:  # a header of one's own
        rank = rng.choice((0, 1, 2, 3, 4, 32, 33, 64, 255))
        sizes = [rng.choice(SIZES) for _ in range(min(rank, rng.randrange(rank + 2)))]
        code = rng.choice((*CODES, 0, 0x0A, 0xFF))
        header = struct.pack(f">HBB{len(sizes)}I", 0, code, rank, *sizes)
        result[: len(header)] = header
    elif kind == 7:  # a compressed file inside of another, or two in a row
        result = bytearray(gzip.compress(bytes(result), 1, mtime=0) + bytes(result[:at]))
    else:
        # A header that lies inside of a compressed stream that does not.
        sizes = [rng.choice(SIZES) for _ in range(rng.randrange(1, 4))]
        header = struct.pack(f">HBB{len(sizes)}I", 0, rng.choice(CODES), len(sizes), *sizes)
        zeros = bytes(rng.choice((0, 1, 100, 10**5, 3 * 10**6)))
        result = bytearray(gzip.compress(header + zeros, 1, mtime=0))
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
        data = mutate(valid(rng), rng)
        path.write_bytes(data)
        started = time.perf_counter()
        try:
            array = read_idx(path, mmap=data[:2] != b"\x1f\x8b" and rng.random() < 0.3)
        except DataFileError as error:
            ends[re.sub(r"0x\w+|\b\d+|\(.*|;.*|:.*| of data.*", "_", error.reason)] += 1
        except BaseException:
            path.replace(folder / "failed")
            raise
        else:
            array.sum(dtype="f8") if array.dtype.kind != "f" else array.tobytes()
            ends["array"] += 1
            del array  # a mapped file cannot be replaced on every system
        longest = max(longest, time.perf_counter() - started)
    return ends, longest


if __name__ == "__main__":
    sys.exit(campaign("idx", run))
