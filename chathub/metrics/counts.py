"""Counters and histograms in plain Python. They cost a dictionary look-up each, and need no library: it is
imported for the text alone (``exposition.py``)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Sized

# label sets of one metric, if it says nothing else; what comes beyond is counted together
MOST = 500
OTHER = "other"

Labels = tuple[str, ...]


class Counter:
    """A number that only grows, for each set of label values, of which there may be ``most``. ``scale``
    divides it in the text: amounts of money are counted in millionths."""

    def __init__(
        self, name: str, text: str, labels: Labels = (), *, scale: int = 1, most: int = MOST
    ) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.scale = scale
        self.most = most
        self.values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, labels: Labels = (), by: float = 1) -> None:
        """Count for a set of label values. Beyond ``most`` sets, new ones are counted together."""
        values = self.values
        try:
            values[labels] += by
        except KeyError:
            labels = _bounded(labels, values, self.most)
            values[labels] = values.get(labels, 0) + by

    def scaled(self) -> dict[Labels, float]:
        return {labels: value / self.scale for labels, value in self.values.items()}

    def copy(self) -> Counter:
        """The counter as it is now, for another thread."""
        copied = Counter(self.name, self.text, self.labels, scale=self.scale, most=self.most)
        copied.values = dict(self.values)
        return copied


class Histogram:
    """How many values were at most so large, for each set of label values, with their sum.

    A cell has a count for each bound, one for what is larger than all of them, and the sum.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name = name
        self.text = text
        self.bounds = tuple(bounds)
        self.labels = labels
        self.cells: dict[Labels, list[float]] = {} if labels else {(): self._cell()}

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Count a value for a set of label values; beyond ``MOST`` sets, new ones are counted together."""
        try:
            cell = self.cells[labels]
        except KeyError:
            labels = _bounded(labels, self.cells)
            cell = self.cells.setdefault(labels, self._cell())
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value

    def copy(self) -> Histogram:
        """The histogram as it is now, for another thread."""
        copied = Histogram(self.name, self.text, self.bounds, self.labels)
        copied.cells = {labels: list(cell) for labels, cell in self.cells.items()}
        return copied

    def _cell(self) -> list[float]:
        return [0] * (len(self.bounds) + 2)


def _bounded(labels: Labels, known: Sized, most: int = MOST) -> Labels:
    """The labels of a new series; with many series already, those of the one for all others."""
    return labels if len(known) < most else (OTHER,) * len(labels)
