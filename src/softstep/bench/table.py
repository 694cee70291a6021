"""What was measured as rows of a table, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from softstep.bench.case import Case, Figure
from softstep.bench.results import Measured

__all__ = ["Table", "duration"]


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e6)} us"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class Table:
    """Lines of one table whose columns are libraries.

    Parameters
    ----------
    libraries : sequence of str
        The peers that have a column.
    markdown : bool
        Whether cells stand between vertical bars; else in columns of a fixed width.
    scaling : bool
        Whether there is a column for the way from one thread to all.
    """

    def __init__(self, libraries: Sequence[str], markdown: bool, scaling: bool) -> None:
        self.libraries, self.markdown, self.scaling = list(libraries), markdown, scaling
        self.names = ["case", "softstep", *libraries, "ratio", "rate", "of limit"]
        self.names += ["1 to all"] * scaling + ["floor"]
        self.widths = [54, 9, *(9 for _ in libraries), 7, 14, 11] + [20] * scaling + [0]

    def head(self) -> list[str]:
        """Return the lines above the first row."""
        lines = [self._line(self.names)]
        if self.markdown:
            lines.append(self._line(["---"] * len(self.names)))
        return lines

    def lines(self, measured: Measured) -> list[str]:
        """Return the rows of one case: one for each of ours, one for each further variant."""
        title = f"{measured.case.name} {measured.case.size}".rstrip()
        if measured.skipped or measured.failed:
            text = measured.skipped or f"WRONG RESULT, not timed: {measured.failed}"
            return [self._line([title, *[""] * (len(self.names) - 2), text])]
        if isinstance(measured.case, Figure):
            return [self._figure(title, measured, measured.case)]
        return [self._line(cells) for cells in self._rows(title, measured, measured.case)]

    def _figure(self, title: str, measured: Measured, figure: Figure) -> str:
        assert measured.reading is not None
        cells = [""] * len(self.names)
        value, unit = measured.reading.value, figure.unit
        cells[0], cells[1] = title, f"{value:.3g} {unit}"
        for library in self.libraries:
            if library in measured.reading.parts:
                cells[self.names.index(library)] = f"{measured.reading.parts[library]:.3g} {unit}"
        verdict = "pass" if value <= figure.at_most else "MISS"
        cells[-1] = f"at most {figure.at_most:g} {unit}: {verdict}"
        return self._line(cells)

    def _rows(self, title: str, measured: Measured, case: Case[object]) -> list[list[str]]:
        rows = []
        variants = {
            library: sorted(
                (name for name in measured.seconds if name.split()[0] == library),
                key=measured.seconds.__getitem__,
            )
            for library in self.libraries
        }
        for place, ours in enumerate(measured.ours):
            ratio, (rate, unit), bound = measured.ratio(ours), measured.rate(ours), None
            bound = measured.bounds[ours]
            cells = [title if place == 0 else self._variant(ours)]
            cells.append(duration(measured.seconds[ours]))
            for library in self.libraries:
                best = variants[library][0] if place == 0 and variants[library] else None
                cells.append(duration(measured.seconds[best]) if best else "")
            cells.append("" if ratio is None else f"{ratio:.2f}x")
            cells.append(f"{rate:.3g} {unit}")
            cells.append(f"{bound.seconds / measured.seconds[ours]:.0%} {bound.kind}")
            if self.scaling:
                cells.append(next((s.text for s in measured.scaling if s.ours == ours), ""))
            cells.append("; ".join(p.text for p in measured.floors() if p.ours == ours))
            rows.append(cells)
        reference = measured.seconds[measured.ours[0]]
        for library, names in variants.items():
            for name in names if len(names) > 1 else ():
                cells = [self._variant(name), *[""] * (len(self.names) - 1)]
                cells[self.names.index(library)] = duration(measured.seconds[name])
                cells[self.names.index("ratio")] = f"{measured.seconds[name] / reference:.2f}x"
                rows.append(cells)
        return rows

    def _variant(self, name: str) -> str:
        return f"{'… ' if self.markdown else '    '}{name}"

    def _line(self, cells: Sequence[str]) -> str:
        if self.markdown:
            return f"| {' | '.join(cells)} |"
        padded = [
            f"{cell:<{width}}" if place == 0 or not width else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(cells, self.widths, strict=True))
        ]
        return "  ".join(padded).rstrip()
