"""The values as text, by ``prometheus-client``: an extra, which only a scrape imports.

Its global registry is not used: two applications in one process would share it.
"""

from collections.abc import Iterator
from platform import python_version

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chathub.metrics.counts import Counter, Histogram
from chathub.metrics.scrape import Page, Snapshot
from chathub.metrics.state import State
from chathub.version import version

# the format that every version of Prometheus reads
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# the states of API keys: each provider that has one has a value for all
_KEY_STATES = ("usable", "deprioritised", "cooling", "broken", "disabled")


def write(snapshot: Snapshot) -> Page:
    """The text of all metrics."""
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return Page(generate_latest(registry), _TEXT)


class _Collector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are told by ``collect``."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "chathub_build", "The version that runs.", {"version": version(), "python": python_version()}
        )
        yield from map(_counter, self._snapshot.counters)
        yield from map(_histogram, self._snapshot.histograms)
        yield from _state(self._snapshot.state)


def _counter(counter: Counter) -> Metric:
    family = CounterMetricFamily(counter.name, counter.text, labels=counter.labels)
    for labels, value in counter.scaled().items():
        family.add_metric(labels, value)
    return family


def _histogram(histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(histogram.name, histogram.text, labels=histogram.labels)
    bounds = [*map(str, map(float, histogram.bounds)), "+Inf"]
    for labels, (*counts, total) in histogram.cells.items():
        below, buckets = 0.0, []
        for bound, count in zip(bounds, counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, total)
    return family


def _state(state: State) -> Iterator[Metric]:
    yield _gauge(
        "chathub_running_replies", "Replies and requests of programs that are being generated.", state.running
    )
    yield _gauge("chathub_database_writable", "1 while the database can be written.", state.is_healthy)
    yield _gauge(
        "chathub_unstored_bytes", "Bytes of ended replies that wait for the database.", state.unstored_bytes
    )
    yield from _backup(state)
    yield from _sizes(state)
    yield _keys(state)


def _backup(state: State) -> Iterator[Metric]:
    if state.backup_seconds is not None:
        yield _gauge("chathub_backup_interval_seconds", "Seconds between two backups.", state.backup_seconds)
    if state.backup_at is not None:
        yield _gauge("chathub_last_backup_timestamp_seconds", "When the last backup began.", state.backup_at)
        yield _gauge("chathub_last_backup_ok", "1 if the last backup succeeded.", state.backup_ok)


def _sizes(state: State) -> Iterator[Metric]:
    sizes = state.sizes
    if sizes is None:
        return
    files = GaugeMetricFamily(
        "chathub_database_size_bytes", "Bytes of the database's files.", labels=["file"]
    )
    files.add_metric(["database"], sizes.database)
    files.add_metric(["log"], sizes.log)
    yield files
    yield _gauge("chathub_disk_free_bytes", "Bytes that may be written on the database's disk.", sizes.free)
    yield _gauge(
        "chathub_disk_reserve_bytes",
        "With less free disk, new messages are refused (CHATHUB_FREE_BYTES).",
        state.reserve_bytes,
    )
    yield _gauge("chathub_disk_size_bytes", "Bytes of the database's disk.", sizes.disk)


def _keys(state: State) -> Metric:
    family = GaugeMetricFamily(
        "chathub_api_keys", "API keys by provider and state.", labels=["provider", "state"]
    )
    for provider in sorted({provider for provider, _ in state.keys}):
        for name in _KEY_STATES:
            family.add_metric([provider, name], state.keys.get((provider, name), 0))
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
