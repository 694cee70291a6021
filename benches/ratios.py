"""Time cases in one process, ours and each peer in turns, and print how many times faster we are.

Run it from the root of the project: ``python -m benches.ratios [--json] [part of a name ...]``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import softstep
from benches.cases import CASES, Case
from benches.cases.case import check
from benches.runner import alternate, machine_limits, same_threads, thread_count


@dataclass
class Measured:
    """Median seconds of each implementation of a case, and what they amount to."""

    case: str
    seconds: dict[str, float]
    moved: int
    flops: int

    @property
    def best_peer(self) -> str:
        peers = {name: time for name, time in self.seconds.items() if not is_ours(name)}
        return min(peers, key=peers.__getitem__)

    def ratio(self, ours: str) -> float:
        """How many times faster we are than the best peer."""
        return self.seconds[self.best_peer] / self.seconds[ours]

    def rate(self, name: str) -> tuple[float, str]:
        """GFLOP/s where arithmetic counts, else GB/s."""
        amount, unit = (self.flops, "GFLOP/s") if self.flops else (self.moved, "GB/s")
        return amount / self.seconds[name] / 1e9, unit

    def as_dict(self) -> dict[str, Any]:
        ours = [name for name in self.seconds if is_ours(name)]
        return {
            **asdict(self),
            "best_peer": self.best_peer,
            "ratios": {name: self.ratio(name) for name in ours},
            "rates": {name: self.rate(name) for name in ours},
        }


def is_ours(name: str) -> bool:
    return name.split()[0] == "softstep"


def measure(case: Case[Any]) -> Measured:
    """Check every implementation, then time them in turns."""
    inputs = case.make_inputs()
    expected = case.expect(inputs)
    calls = {}
    for name in case.installed():
        calls[name] = case.implementations[name](inputs)
        try:
            check(expected, calls[name]())
        except AssertionError as error:
            raise AssertionError(f"{case.name}, {name}: {error}") from None
    del expected
    return Measured(case.name, alternate(calls), case.moved, case.flops)


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def lines(measured: Measured) -> list[str]:
    """Table lines of a case: one per implementation, the best peer marked."""
    result = []
    for name, seconds in measured.seconds.items():
        line = f"{measured.case:<36} {name:<22} {duration(seconds):>9}"
        if is_ours(name):
            rate, unit = measured.rate(name)
            line += f" {measured.ratio(name):7.2f}x  {rate:7.1f} {unit}"
        elif name == measured.best_peer:
            line += "    best"
        result.append(line)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.ratios", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of cases; all when none")
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--threads", type=int, default=thread_count(), help="for everybody")
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads is {options.threads}; accepted: at least 1")
    cases = [case for case in CASES if any(name in case.name for name in options.names or [""])]
    if not cases:
        parser.error(f"no case is named {' or '.join(options.names)}; see --list")
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    with same_threads(options.threads):
        config, limits = softstep.show_config(), machine_limits(options.threads)
        results = []
        if not options.json:
            print(
                f"{config['processor']}, level {config['level']}, {options.threads} threads;"
                f" copy {limits['copy_gb_per_s']:.3g} GB/s,"
                f" sgemm {limits['sgemm_gflop_per_s']:.3g} GFLOP/s"
            )
        for case in cases:
            results.append(measure(case))
            if not options.json:
                print("\n".join(lines(results[-1])), flush=True)
    if options.json:
        report = {"config": config, "limits": limits, "cases": [r.as_dict() for r in results]}
        json.dump(report, sys.stdout, indent=2)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
