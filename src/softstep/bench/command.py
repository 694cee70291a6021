"""The command ``softstep bench``: measures the cases and prints one table, or JSON."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import softstep
from softstep.bench.case import Case, Figure
from softstep.bench.cases import CASES
from softstep.bench.limits import Machine
from softstep.bench.peers import LIBRARIES, is_installed, versions
from softstep.bench.results import Measured, measure
from softstep.bench.runner import FULL, QUICK, Plan, same_threads, thread_count
from softstep.bench.table import Table

__all__ = ["run", "select"]

QUICK_SECONDS = 45.0
"""After so many seconds ``--quick`` begins no further case."""


def select(names: Sequence[str], quick: bool) -> list[Case[Any] | Figure]:
    """Return the cases whose names contain one of some parts; all, or the quick ones, when none.

    Of the quick ones the largest come last, since that is where ``--quick`` stops.

    Raises
    ------
    ValueError
        A part is in no name.
    """
    for part in names:
        if not any(part in case.name for case in CASES):
            raise ValueError(f"no case is named {part!r}; accepted: part of a name of --list")
    if names:
        return [case for case in CASES if any(part in case.name for part in names)]
    if not quick:
        return list(CASES)
    return sorted((case for case in CASES if case.quick), key=_footprint)


def _footprint(case: Case[Any] | Figure) -> int:
    return case.work.footprint if isinstance(case, Case) else 0


def run(
    names: Sequence[str] = (),
    *,
    style: str = "text",
    quick: bool = False,
    listing: bool = False,
    scaling: bool = False,
    threads: int | None = None,
) -> dict[str, Any] | None:
    """Measure the cases; print a table, or return what a JSON object is to hold.

    Raises
    ------
    ValueError
        No case has such a name.
    RuntimeError
        A result was wrong, ours or a peer's. All other cases are measured first.
    """
    start = time.perf_counter()
    cases = select(names, quick)
    if listing:
        if style == "json":
            return {"cases": [{"case": case.name, "size": case.size} for case in cases]}
        for case in cases:
            print(f"{case.name} {case.size}".rstrip())
        return None
    count = thread_count() if threads is None else threads
    libraries = _libraries(cases)
    with same_threads(count, libraries):
        machine = Machine(count, 4 if quick else 7)
        found: list[Measured] = []
        if style != "json":
            _print_head(machine, libraries)
        table = Table(libraries, style == "markdown", scaling)
        if style != "json":
            print("\n".join(table.head()), flush=True)
        plan = dataclasses.replace(QUICK, until=start + QUICK_SECONDS) if quick else FULL
        for measured in _measure(cases, machine, plan, scaling):
            found.append(measured)
            if style != "json":
                print("\n".join(table.lines(measured)), flush=True)
        report = _report(found, machine, libraries, quick)
    if style != "json":
        _print_verdict(found)
    if wrong := [f"{m.case.name}, {m.failed}" for m in found if m.failed]:
        raise RuntimeError(f"wrong results: {'; '.join(wrong)}")
    return report if style == "json" else None


def _libraries(cases: Sequence[Case[Any] | Figure]) -> list[str]:
    """Return the installed peers of these cases, in the order of the columns."""
    used = {
        name.split()[0] for case in cases if isinstance(case, Case) for name in case.implementations
    }
    return [name for name in LIBRARIES if name in used | {"numpy"} and is_installed(name)]


def _measure(
    cases: Sequence[Case[Any] | Figure], machine: Machine, plan: Plan, scaling: bool
) -> Iterator[Measured]:
    for case in cases:
        if time.perf_counter() > plan.until:
            late = f"not measured: --quick begins no case after {QUICK_SECONDS:g} s"
            yield Measured(case, skipped=late)
        else:
            yield measure(case, machine, plan, scaling)


def _limits(machine: Machine) -> dict[str, float]:
    return {
        "read_gb_per_s": machine.read() / 1e9,
        "copy_gb_per_s": machine.copy() / 1e9,
        "gflop_per_s": machine.flops / 1e9,
    }


def _print_head(machine: Machine, libraries: Sequence[str]) -> None:
    config, limits = softstep.show_config(), _limits(machine)
    peers = ", ".join(f"{name} {version}" for name, version in versions(libraries).items())
    print(
        f"{config['processor']}, {config['cpus']} processors, level {config['level']}, "
        f"{config['compiler']}; softstep {softstep.__version__}, {peers}\n"
        f"{machine.threads} threads for everybody; "
        f"limits: read {limits['read_gb_per_s']:.3g} GB/s, "
        f"copy {limits['copy_gb_per_s']:.3g} GB/s (read and written), "
        f"{limits['gflop_per_s']:.3g} GFLOP/s\n",
        flush=True,
    )


def _report(
    found: Sequence[Measured], machine: Machine, libraries: Sequence[str], quick: bool
) -> dict[str, Any]:
    return {
        "config": softstep.show_config(),
        "peers": versions(libraries),
        "threads": machine.threads,
        "quick": quick,
        "limits": _limits(machine),
        "cases": [measured.as_dict() for measured in found],
    }


def _print_verdict(found: Sequence[Measured]) -> None:
    held = [measured for measured in found if measured.held]
    missed = [measured.case.name for measured in held if measured.missed]
    if held:
        names = f"; missed: {', '.join(missed)}" if missed else ""
        print(f"\n{len(held) - len(missed)} of {len(held)} cases with floors pass{names}")
