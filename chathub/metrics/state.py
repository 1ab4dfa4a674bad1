"""What the metrics say of this moment: what runs, and the state of database, disk and API keys."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from msgspec import Struct

from chathub.backup_schedule import Backups
from chathub.billing.settlement_queue import SettlementQueue
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.rows.api_keys import KeysByHealth
from chathub.providers.key_health import KeyHealth
from chathub.running.registry import Registry

T = TypeVar("T")

# seconds after which a disk that hangs, or a database that is busy, is left out
_LONGEST = 5.0


class Sizes(NamedTuple):
    """Bytes of the database's files, and of the file system that they are on."""

    database: int
    log: int
    free: int
    disk: int


class State(Struct, frozen=True, kw_only=True):
    """``is_healthy``: the database can be written. ``keys`` counts API keys by provider and state. What
    cannot be found out in time is None or empty."""

    running: int
    is_healthy: bool
    unstored_bytes: int
    reserve_bytes: int
    backup_at: float | None
    backup_ok: bool
    backup_seconds: float | None
    sizes: Sizes | None
    keys: dict[tuple[str, str], int]


class StateReader:
    """Reads the state at a scrape. Nothing of it takes the event loop's time."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        db: Database,
        registry: Registry,
        settlement_queue: SettlementQueue,
        backups: Backups,
    ) -> None:
        self._config = config
        self._clock = clock
        self._db = db
        self._registry = registry
        self._settlement_queue = settlement_queue
        self._backups = backups
        # the measuring of a disk that hangs, which must not be begun again and again
        self._measuring: asyncio.Task[Sizes] | None = None

    async def read(self) -> State:
        """The state now, in five seconds at most."""
        last, config = self._backups.last, self._config
        # at the same time: Prometheus waits 10 seconds, and what hangs may hang both
        keys, sizes = await asyncio.gather(_in_time(self._keys), _in_time(self._sizes))
        return State(
            running=self._registry.count,
            is_healthy=self._db.condition.state in ("ok", "checking"),
            unstored_bytes=self._settlement_queue.kept_bytes,
            reserve_bytes=config.free_bytes,
            backup_at=None if last is None else last.at / 1000,
            backup_ok=last is not None and last.ok,
            backup_seconds=None if config.backup_dir is None else config.backup_every * 3600,
            sizes=sizes,
            keys=keys or {},
        )

    async def _keys(self) -> dict[tuple[str, str], int]:
        now, counted = self._clock.now(), Counter[tuple[str, str]]()
        for row in await self._db.fetch_background(None, self._db.q.api_keys.count_by_health, now=now):
            counted[row.provider_slug, _state_of(row, now)] += row.count
        return counted

    async def _sizes(self) -> Sizes:
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(asyncio.to_thread(self._measure))
        return await asyncio.shield(self._measuring)

    def _measure(self) -> Sizes:
        file, found = self._db.path, os.statvfs(self._db.path.parent)
        log = file.with_name(f"{file.name}-wal")
        return Sizes(
            file.stat().st_size,
            log.stat().st_size if log.exists() else 0,
            found.f_bavail * found.f_frsize,
            found.f_blocks * found.f_frsize,
        )


def _state_of(row: KeysByHealth, now: int) -> str:
    """The word for the use that is made of API keys."""
    health = KeyHealth(row.health, row.until, row.failure_class)
    if not row.is_active:
        return "disabled"
    if health.health == "broken":
        return "broken"
    if health.is_deprioritised(now):
        return "deprioritised"
    return "usable" if health.is_usable(now) else "cooling"


async def _in_time(read: Callable[[], Awaitable[T]]) -> T | None:
    try:
        async with asyncio.timeout(_LONGEST):
            return await read()
    except (TimeoutError, OSError, DatabaseError):
        return None
