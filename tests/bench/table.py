"""The output of a run: figures, each beside its target. No figure fails a build."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Figure:
    """One row. ``ratio`` or ``value`` is compared with ``target``; without a target it only informs."""

    name: str
    ours: str
    theirs: str = ""
    value: float | None = None
    target: float | None = None
    unit: str = "x"
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None or self.value is None:
            return ""
        return "met" if self.value <= self.target else "MISSED"


def ratio(
    name: str, ours: Sequence[float], theirs: Sequence[float], target: float | None, **more: str
) -> Figure:
    """Two costs of the same work in microseconds, a pair for each round: the median of the pairs' ratios
    counts, the medians (and in brackets the minima) are shown."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    note = more.get("note", "")
    spread = f"pairs x{min(pairs):.2f}..x{max(pairs):.2f}"
    return Figure(
        name,
        cost(ours),
        cost(theirs),
        statistics.median(pairs),
        target,
        note=f"{spread}; {note}" if note else spread,
    )


def cost(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}) us"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that ``part`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


_HEAD = ("figure", "ChatHub", "bare aiohttp", "result", "target", "", "note")


def show(figures: Sequence[Figure]) -> str:
    rows = [_HEAD] + [_row(figure) for figure in figures]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * (sum(widths[:-1]) + 2 * len(widths)))
    return "\n".join(line.rstrip() for line in lines)


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        figure.ours,
        figure.theirs,
        _amount(figure.value, figure.unit),
        _amount(figure.target, figure.unit),
        figure.verdict,
        figure.note,
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"x{value:.2f}" if unit == "x" else f"{value:.1f} {unit}"
