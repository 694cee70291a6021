"""The long campaign of the kernels: the random tests again and again, with other seeds.

    python tests/campaigns/kernels.py --minutes 60

Each round runs the tests that draw random numbers with a new seed on every instruction-set level.
The campaign stops at the first round that fails; the seed it prints repeats that round.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "kernels"


def main() -> int:
    """Run a campaign; the exit status of the round that failed, or 0."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--count", type=int, help="how many rounds, whatever time they take")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first round")
    parser.add_argument("--select", default="", help="pytest's -k")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    for done in itertools.count():
        if done == options.count or (options.count is None and time.monotonic() > end):
            break
        seed = options.seed + done
        command = [sys.executable, "-m", "pytest", str(TESTS), "-q", "-x", f"--seed={seed}"]
        status = subprocess.call(command + (["-k", options.select] if options.select else []))
        print(f"seed {seed}: exit status {status}", flush=True)
        if status:
            return status
    print(f"{done} rounds passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
