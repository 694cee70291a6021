"""Runs the tutorials and writes them, with what they print and draw, as pages.

A tutorial is a Python script in cells, which editors and Jupyter (with jupytext) open as a
notebook: ``# %% [markdown]`` begins a text, ``# %% A title`` code. What a cell prints, and the
value of its last expression, stand below it on the page; a figure becomes a PNG, and the cell's
title what is read where pictures are not seen. ``tags=["varies"]`` marks a cell whose output
differs from run to run, such as a time.

    python docs/render.py               # all of them
    python docs/render.py optimizers

Pages and pictures are committed, so that they can be read where the code is, and the documentation
is built without running anything. ``tests/test_tutorials.py`` runs every script and compares.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent / "tutorials"
NAMES = ("linear_regression", "softmax_regression", "losses_and_information", "optimizers", "mlp")
DPI = 110  # as wide as a page, and some tens of kilobytes


@dataclass
class Cell:
    """A piece of a script, and what it put out."""

    title: str
    text: str
    line: int
    is_code: bool
    varies: bool = False
    output: str = ""
    pictures: list[str] = field(default_factory=list)


def cells_of(script: Path) -> list[Cell]:
    """Cut a script into its cells; what stands before the first one is left out."""
    cells: list[Cell] = []
    for number, line in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("# %%"):
            title, _, tags = line[4:].partition("tags=")
            is_code = title.strip() != "[markdown]"
            cells.append(Cell(title.strip(), "", number + 1, is_code, "varies" in tags))
        elif cells:
            if not cells[-1].is_code:
                line = line.removeprefix("#").removeprefix(" ")
            cells[-1].text += f"{line}\n"
    for cell in cells:
        cell.line += len(cell.text) - len(cell.text.lstrip("\n"))
        cell.text = cell.text.strip("\n") + "\n"
    return cells


def run(script: Path, pictures: Path) -> list[Cell]:
    """Run a script and return its cells with their output; figures go into a folder."""
    cells = cells_of(script)
    names: dict[str, Any] = {"__name__": "__tutorial__", "__file__": str(script)}
    drawn = 0
    for cell in cells:
        if not cell.is_code:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _execute(cell, script, names)
        cell.output = printed.getvalue()
        if callable(getattr(value, "savefig", None)):
            if not cell.title:
                raise ValueError(f"{script}:{cell.line}: a cell with a picture needs a title")
            drawn += 1
            name = f"{script.stem}-{drawn}.png"
            _save(value, pictures / name)
            cell.pictures.append(name)
        elif value is not None:
            cell.output += f"{value!r}\n"
    return cells


def _execute(cell: Cell, script: Path, names: dict[str, Any]) -> Any:
    """Run a cell; return the value of its last statement if that is an expression."""
    body = ast.parse("\n" * (cell.line - 1) + cell.text, str(script)).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), str(script), "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), str(script), "eval"), names)


def _save(figure: Any, path: Path) -> None:
    from softstep.plotting import save_figure

    save_figure(figure, path, dpi=DPI)


def page(script: Path, cells: list[Cell]) -> str:
    """Return cells as a page in Markdown."""
    name = script.name
    parts = []
    for cell in cells:
        if not cell.is_code:
            parts.append(cell.text)
            continue
        parts.append(f"```python\n{cell.text}```\n")
        if cell.output:
            parts.append(f"```text\n{cell.output.rstrip()}\n```\n")
        parts += [f"![{cell.title}](pictures/{picture})\n" for picture in cell.pictures]
    note = f"<!-- Written by docs/render.py from {name}: change that, not this. -->\n"
    parts.append(f"---\n\nThis page is what [{name}]({name}) prints and draws.\n")
    return note + "\n" + "\n".join(parts)


_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)


def differences(old: list[Cell], new: str, tolerance: float = 0.03) -> list[str]:
    """Compare what cells put out with a page; say which outputs differ by more than rounding.

    Numbers may differ by a share of their size, or by 0.01: other processors round in another
    order.
    """
    found = []
    outputs = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)\n```\n)?", new, re.M | re.S)
    codes = [cell for cell in old if cell.is_code]
    if [cell.text for cell in codes] != [code for code, _ in outputs]:
        return ["the code on the page is not that of the script"]
    for cell, (_, shown) in zip(codes, outputs, strict=True):
        if cell.varies:
            continue
        words, numbers = _parts(cell.output)
        words_shown, numbers_shown = _parts(shown)
        close = len(numbers) == len(numbers_shown) and all(
            abs(a - b) <= max(0.01, tolerance * max(abs(a), abs(b))) or a == b
            for a, b in zip(numbers, numbers_shown, strict=True)
        )
        if words != words_shown or not close:
            found.append(f"line {cell.line} gives\n{cell.output}\nand the page says\n{shown}\n")
    return found


def _parts(text: str) -> tuple[list[str], list[float]]:
    """Return the words and the numbers of a text; alignment does not count."""
    return _NUMBER.sub("#", text).split(), [float(number) for number in _NUMBER.findall(text)]


def main(names: list[str]) -> None:
    """Write the pages of tutorials, all of them by default."""
    folder = TUTORIALS / "pictures"
    folder.mkdir(exist_ok=True)
    for name in names or NAMES:
        script = TUTORIALS / f"{name}.py"
        for old in folder.glob(f"{name}-*.png"):
            old.unlink()
        cells = run(script, folder)
        script.with_suffix(".md").write_text(page(script, cells), encoding="utf-8")
        print(f"{script.with_suffix('.md')}, {sum(len(cell.pictures) for cell in cells)} pictures")


if __name__ == "__main__":
    main(sys.argv[1:])
