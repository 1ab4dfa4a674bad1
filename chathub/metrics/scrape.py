"""The scrape: the text of ``GET /metrics``. The library that writes it is an extra."""

import asyncio
from importlib.util import find_spec
from typing import NamedTuple

from chathub.errors import NotInstalled
from chathub.metrics.counts import Counter, Histogram
from chathub.metrics.metrics import Metrics
from chathub.metrics.state import State, StateReader


class Snapshot(NamedTuple):
    """All values at one moment, which another thread may read."""

    counters: list[Counter]
    histograms: list[Histogram]
    state: State


class Page(NamedTuple):
    """The text, and its content type."""

    text: bytes
    content_type: str


class Scrapes:
    """Makes the text of the metrics. Scrapes at the same time share one."""

    def __init__(self, metrics: Metrics, state_reader: StateReader) -> None:
        self._metrics = metrics
        self._state_reader = state_reader
        self._running: asyncio.Task[Page] | None = None

    async def page(self) -> Page:
        """The metrics as they are now.

        Raises:
            NotInstalled: the extra that writes the text is missing.
        """
        if not is_installed():
            raise NotInstalled("metrics_not_installed")
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._make())
        # a scraper that leaves does not end it for the others
        return await asyncio.shield(self._running)

    def close(self) -> None:
        """End a scrape that is being made: the server ends."""
        if self._running is not None:
            self._running.cancel()

    async def _make(self) -> Page:
        state = await self._state_reader.read()
        snapshot = Snapshot(
            [each.copy() for each in self._metrics.counters],
            [each.copy() for each in self._metrics.histograms],
            state,
        )
        return await asyncio.to_thread(_written, snapshot)


def is_installed() -> bool:
    return find_spec("prometheus_client") is not None


def _written(snapshot: Snapshot) -> Page:
    # imported at the first scrape, and in a thread: it takes a tenth of a second
    from chathub.metrics.exposition import write

    return write(snapshot)
