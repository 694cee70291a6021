"""What the campaigns on mutated files share: plain damage, and the command around a run."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Run = Callable[[int, int, Path], tuple[Counter[str], float]]


def damage(result: bytearray, kind: int, at: int, rng: random.Random) -> bool:
    """Damage a file as any file may be; False if `kind` is another one, or cannot be."""
    if kind == 0 and result:
        for _ in range(rng.choice((1, 1, 1, 4, 16))):
            result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del result[at:]
    elif kind == 2:
        result += rng.randbytes(rng.choice((1, 8, 100)))
    elif kind == 3:
        del result[at : at + rng.randrange(1, 9)]
    else:
        return False
    return True


def campaign(name: str, run: Run, prepare: Callable[[Path], None] | None = None) -> int:
    """Run a campaign; 1 if a file ended wrongly or took a second.

    What `prepare` loads does not count against the cap on memory.
    """
    parser = argparse.ArgumentParser(description="Run a campaign of mutated files.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=256, help="cap beyond the start, in MiB")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    if prepare is not None:
        prepare(folder)
    if sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        cap = pages * resource.getpagesize() + options.memory * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (cap, cap))
    try:
        ends, longest = run(options.count, options.seed, folder)
    except Exception:
        traceback.print_exc()
        print(f"kept: {folder / 'failed'}")
        return 1
    for end, times in ends.most_common():
        print(f"{times:8d}  {end}")
    print(f"{options.count} files, seed {options.seed}; longest {longest * 1e3:.1f} ms")
    return int(longest >= 1)
