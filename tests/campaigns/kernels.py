"""The long campaign of the kernels: the random tests again and again, with other seeds.

    python tests/campaigns/kernels.py --minutes 60

Each round runs the tests that draw random numbers with a new seed on every instruction-set level,
and stops at the first round that fails; the seed it prints repeats that round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "kernels"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    parser.add_argument("--select", default="", help="pytest's -k")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    seed = options.seed
    while time.monotonic() < end:
        command = [sys.executable, "-m", "pytest", str(TESTS), "-q", "-x", f"--seed={seed}"]
        status = subprocess.call(command + (["-k", options.select] if options.select else []))
        print(f"seed {seed}: exit status {status}", flush=True)
        if status:
            return status
        seed += 1
    print(f"{seed - options.seed} rounds passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
