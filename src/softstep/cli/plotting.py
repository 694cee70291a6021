"""``softstep plot``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from softstep.cli.data import DATA
from softstep.cli.output import check_writable, print_json
from softstep.cli.training import held_out
from softstep.models.tensor_file import check_regular

__all__ = ["plot"]

_MAX_BYTES = 1 << 28  # a million epochs


def plot(options: argparse.Namespace) -> None:
    """Draw the history of a training, or several of them in one picture."""
    from softstep.plotting import plot_history, plot_learning_rates, save_figure
    from softstep.plotting.figures import check_format

    first = options.history[0]
    out = options.out or ("softstep-history.png" if first == "-" else _beside(first))
    try:
        check_format(out)
    except ValueError as error:
        raise ValueError(f"--out {error}") from None
    check_writable("--out", Path(out))
    if any(path != "-" and Path(path).resolve() == Path(out).resolve() for path in options.history):
        raise ValueError(f"the picture {out} would replace the history itself; choose --out")
    found = [_read(path) for path in options.history]
    scale = "log" if options.log else "linear"
    if len(found) == 1:
        rows = _held_out(found[0])
        figure = plot_history(
            found[0]["history"], title=_title(found[0]), yscale=scale, held_out=rows
        )
    else:
        names = _names(options.history, found)
        histories = {name: run["history"] for name, run in zip(names, found, strict=True)}
        figure = plot_learning_rates(histories, yscale="log" if options.log else None)
    save_figure(figure, out)
    if options.json:
        print_json({"picture": out, "histories": options.history})
    else:
        print(f"picture saved to {out}")


def _beside(path: str) -> str:
    check_regular(Path(path))
    return str(Path(path).with_suffix(".png"))


def _read(path: str) -> dict[str, Any]:
    """Read what ``train --json`` has printed, or a list of epochs alone."""
    if path == "-":
        text = sys.stdin.read(_MAX_BYTES + 1)
    else:
        check_regular(Path(path))
        with Path(path).open(encoding="utf-8") as file:
            try:
                text = file.read(_MAX_BYTES + 1)
            except UnicodeDecodeError:
                raise ValueError(f"{path} is no text, so no JSON") from None
    if len(text) > _MAX_BYTES:
        raise ValueError(f"{path} has more than {_MAX_BYTES} characters: no history")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if isinstance(found, list):
        found = {"history": found}
    if not isinstance(found, dict) or not isinstance(found.get("history"), list):
        raise ValueError(
            f"{path} holds no history; accepted: what `softstep train --json` prints, or its list "
            "of epochs"
        )
    from softstep.plotting.curves import check_history

    check_history(f"the history of {path}", found["history"])
    return found


def _title(run: dict[str, Any]) -> str | None:
    kind, data = run.get("kind"), run.get("data")
    return f"{kind} on {data}" if isinstance(kind, str) and isinstance(data, str) else None


def _held_out(run: dict[str, Any]) -> str:
    """Return what rows each epoch was measured on, as far as the file tells."""
    data = run.get("data")
    if "val_size" not in run or not isinstance(data, str) or data not in DATA:
        return "validation"
    return held_out(data, run)


def _names(paths: list[str], runs: list[dict[str, Any]]) -> list[Any]:
    """Return what tells the histories apart: their learning rates, if they do, else the files."""
    rates = [run.get("lr") for run in runs]
    numbers = all(isinstance(rate, (int, float)) and not isinstance(rate, bool) for rate in rates)
    if numbers and len(set(rates)) == len(rates):
        return rates
    if len(set(paths)) < len(paths):
        raise ValueError("HISTORY names a file twice; accepted: each of them once")
    return paths
