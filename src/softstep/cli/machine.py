"""``softstep info`` and ``softstep bench``."""

from __future__ import annotations

import argparse

import softstep
from softstep.cli.output import print_json

__all__ = ["bench", "info"]


def info(options: argparse.Namespace) -> None:
    """Show the build, the processor and the threads."""
    found = softstep.show_config()
    if options.json:
        print_json(found)
    else:
        for name, value in found.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{name.replace('_', ' ') + ':':<15}{shown}")


def bench(options: argparse.Namespace) -> None:
    """Time the kernels beside their peers."""
    from softstep.bench.command import run  # what it times takes long to import

    report = run(
        options.case,
        style="json" if options.json else "markdown" if options.markdown else "text",
        quick=options.quick,
        listing=options.list,
        scaling=options.scaling,
        threads=options.threads,
    )
    if report is not None:
        print_json(report)
