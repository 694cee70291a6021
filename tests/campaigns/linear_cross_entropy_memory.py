"""The memory of linear_cross_entropy_with_grad at full size, each size in a process of its own.

    python tests/campaigns/linear_cross_entropy_memory.py

At most 64 MB beyond inputs and outputs at 256 x 4096 x 32000 and at 4096 x 512 x 100000 (rows,
features, classes). The largest takes about 1.5 GB. The loss is compared with NumPy's in float64.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

SIZES = ((256, 4096, 32_000), (4096, 512, 100_000))
MOST = 64e6


def status(name: str) -> int:
    """Bytes that /proc/self/status tells: VmRSS is now, VmHWM the most there was.

    getrusage's ru_maxrss begins with what the parent had.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s*(\d+) kB", text)
    assert found
    return 1024 * int(found[1])


def measure(rows: int, features: int, classes: int, seed: int) -> int:
    """Run one size here; 1 if it took too much or gave another loss."""
    from softstep import kernels

    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    weight = rng.standard_normal((classes, features), dtype=np.float32)
    weight *= np.float32(2 / np.sqrt(features))
    bias = rng.standard_normal(classes, dtype=np.float32)
    target = rng.integers(0, classes, rows)
    before = status("VmRSS")
    loss, *gradients = kernels.linear_cross_entropy_with_grad(x, weight, bias, target)
    grown = status("VmHWM") - before - sum(gradient.nbytes for gradient in gradients)

    total = 0.0
    for row in range(0, rows, 64):
        some = slice(row, row + 64)
        logits = (x[some] @ weight.T).astype(np.float64) + bias
        maximum = logits.max(1)
        sums = np.exp(logits - maximum[:, None]).sum(1)
        total += (maximum + np.log(sums) - logits[np.arange(len(logits)), target[some]]).sum()
    right = abs(loss - total / rows) <= 1e-5 * abs(loss)
    print(
        f"{rows} x {features} x {classes}: {grown / 1e6:.1f} MB beyond inputs and outputs, "
        f"loss {loss:.6f}, NumPy's {total / rows:.6f}",
        flush=True,
    )
    return int(not right or grown > MOST)


def main() -> int:
    """Run both sizes; 1 if one took more than 64 MB or gave another loss than NumPy."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=1, help="how many times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=10**9, help="at most so many rows")
    parser.add_argument("--features", type=int, default=10**9, help="at most so many features")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return measure(*options.one, options.seed)
    if sys.platform != "linux":
        parser.error("needs Linux: /proc/self/status")
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        for rows, features, classes in SIZES:
            size = min(rows, options.rows), min(features, options.features), classes
            command = [sys.executable, __file__, "--seed", str(seed), "--one", *map(str, size)]
            failed += subprocess.call(command) != 0
    print(f"{len(SIZES) * options.count} sizes, seed {options.seed}: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
