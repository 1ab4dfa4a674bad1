"""The open database: one connection writes, one reads, three more read what takes long.

One more connection reads single indexed rows on the event loop itself. A single statement is one trip to its
connection's thread; several statements are a function ``fn(tx, …)`` (``transaction.py``).
"""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from chathub.database import transaction
from chathub.database.condition import Condition, obstacle_at
from chathub.database.connection import Connection, connect, connect_sync, set_pragmas
from chathub.database.errors import DatabaseError, DatabaseUnavailable, from_sqlite, translated
from chathub.database.first_page import create_file, rewrite_first_page
from chathub.database.lock_wait import Deadline, wait_for_lock
from chathub.database.queries import Queries
from chathub.database.slow_readers import SlowReaders
from chathub.database.statements import Command, R, Select
from chathub.database.transaction import Transaction, fetch_rows
from chathub.disk import make_folder

log = logging.getLogger("chathub.database")

# connections for long reads, and the KiB of pages that each may keep in memory
_SLOW = 3
_SLOW_CACHE = 1024
# seconds between the attempts of a write that must not be lost
_RETRY_PAUSES = (0.2, 1.0, 3.0)
# seconds that a write which is repeated anyway waits for another program's lock
_SHORT_WAIT = 0.25

T = TypeVar("T")
P = ParamSpec("P")


class Database:
    """The open database and its named statements (``q``).

    ``unchecked``: the last server on it did not end cleanly, and the file must be checked. ``alive_until`` is
    when that server left a sign of life (Unix seconds).
    """

    def __init__(self, path: Path, q: Queries, *, unchecked: bool = False, alive_until: float = 0) -> None:
        # SQLite reads some relative names as something other than a file
        self.path = path.absolute()
        self.q = q
        self.condition = Condition(self.path, unchecked=unchecked)
        self.alive_until = alive_until
        # is told, in the writer's thread, for how many seconds a write has waited for those before it
        self.when_waited: Callable[[float], None] = lambda seconds: None
        self._open: list[Connection] = []
        self._sync_reader: sqlite3.Connection | None = None
        # after this moment (``time.monotonic``) no write waits for another program's lock
        self._lock_deadline = math.inf

    async def open(self) -> None:
        """Open the connections; the file is readable and writable by its owner only.

        Raises:
            DatabaseError: SQLite cannot open it.
        """
        if not self.path.exists():
            make_folder(self.path.parent)
            create_file(self.path.resolve())
        with contextlib.suppress(OSError):
            self.path.chmod(0o600)
        try:
            with translated():
                await self._open_all()
        except BaseException:
            await self.close()
            raise

    async def _open_all(self) -> None:
        self._writer = await self._connect(read_only=False)
        self._reader = await self._connect(read_only=True)
        self._slow = SlowReaders(
            [await self._connect(read_only=True, cache=_SLOW_CACHE) for _ in range(_SLOW)]
        )
        self._sync_reader = connect_sync(self.path, statements=32)
        set_pragmas(self._sync_reader, read_only=True)

    async def _connect(self, **options: Any) -> Connection:
        connection = await connect(self.path, **options)
        self._open.append(connection)
        return connection

    async def _close(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.remove(connection)
            await connection.close()

    async def close(self) -> None:
        """Close all connections: an open one would keep the process from ending."""
        if self._sync_reader is not None:
            self._sync_reader.close()
            self._sync_reader = None
        while self._open:
            await self._open.pop().close()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[SlowReaders]:
        """A separate connection for one long read, which is interrupted when its caller is cancelled.

        Raises:
            DatabaseError: it cannot be opened, or the read failed.
        """
        with translated():
            connection = await self._connect(read_only=True, cache=_SLOW_CACHE)
            try:
                yield SlowReaders([connection])
            finally:
                await self._close(connection)

    def read_sync(self, statement: Select[R], **values: Any) -> list[R]:
        """A few rows by an index, read on the event loop: a tenth of the cost of a trip to another thread,
        which counts at every chat. Never for long reads; in WAL mode a reader waits for nobody.
        """
        assert self._sync_reader is not None
        with self._reading():
            return fetch_rows(self._sync_reader, statement, values)

    async def fetch_one(self, statement: Select[R], **values: Any) -> R | None:
        """The first row of a reading statement, or None."""
        return next(iter(await self.fetch_all(statement, **values)), None)

    async def fetch_all(self, statement: Select[R], **values: Any) -> list[R]:
        with self._reading():
            return await self._reader.work(partial(fetch_rows, statement=statement, values=values))

    async def fetch_background(
        self, reader_id: int | None, statement: Select[R], /, **values: Any
    ) -> list[R]:
        """Rows of a list, a search or statistics for a user (None: not signed in), on a connection of the
        slow readers: short reads and other users' lists do not wait for it."""
        with self._reading():
            return await self._slow.work(reader_id, partial(fetch_rows, statement=statement, values=values))

    async def read(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run several short reads as one trip, on one state of the database."""
        with self._reading():
            return await self._reader.work(partial(transaction.read, self.q, fn, args, kwargs))

    async def read_background(
        self,
        reader_id: int | None,
        fn: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """``read`` for lists, searches and statistics."""
        with self._reading():
            return await self._slow.work(reader_id, partial(transaction.read, self.q, fn, args, kwargs))

    async def write(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``fn(tx, …)`` as one transaction; an exception rolls all of it back.

        Raises:
            DatabaseError: a statement failed, or the transaction could not begin or be committed.
        """
        work = partial(transaction.write, self.q, fn, args, kwargs, self._deadline())
        return await self._written(self._queued(work))

    async def try_write(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``write`` for what is repeated anyway if it fails: it hardly waits for another program's lock, so
        that the writes behind it do not wait either."""
        work = partial(transaction.write, self.q, fn, args, kwargs, self._deadline(_SHORT_WAIT))
        return await self._written(self._queued(work))

    def _queued(self, work: Callable[[sqlite3.Connection], T]) -> Awaitable[T]:
        """Run a write behind those that wait already."""
        called_at = time.perf_counter()

        def run(connection: sqlite3.Connection) -> T:
            self.when_waited(time.perf_counter() - called_at)
            return work(connection)

        return self._writer.work(run)

    def _deadline(self, longest: float = math.inf) -> Deadline:
        """When a write that is called now stops waiting for a lock, however many writes are before it."""
        called_at = time.monotonic()
        return lambda configured: min(called_at + min(configured, longest), self._lock_deadline)

    def end_lock_waits(self, seconds: float) -> None:
        """The server ends: after so many seconds a write fails at once when another program has the lock."""
        self._lock_deadline = time.monotonic() + seconds

    async def write_with_retry(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``write`` for what must not be lost, with some retries: meanwhile a full disk may get room, and
        another program may release its lock."""
        for pause in _RETRY_PAUSES:
            try:
                return await self.write(fn, *args, **kwargs)
            except DatabaseError as error:
                left = self._lock_deadline - time.monotonic()
                if left <= 0:
                    raise
                # the condition has logged already what makes the database unavailable
                unknown = not isinstance(error, DatabaseUnavailable)
                log.warning("a transaction failed, and is tried again: %s", error, exc_info=unknown)
                await asyncio.sleep(min(pause, left))
        return await self.write(fn, *args, **kwargs)

    async def execute(self, command: Command, **values: Any) -> None:
        """Run one writing statement that gives no rows."""
        deadline = self._deadline()

        def run(connection: sqlite3.Connection) -> None:
            wait_for_lock(connection, deadline, lambda: connection.execute(command, values).close())

        await self._written(self._queued(run))

    async def probe(self) -> None:
        """Try to write, without waiting for a lock; the condition learns the outcome."""
        # on a full disk a small write still succeeds: the log file has room for it already
        is_full = self.condition.obstacle == "full"
        if is_full and (obstacle := await asyncio.to_thread(obstacle_at, self.path)):
            self.condition.record_obstacle(obstacle, "a file beside it cannot grow")
            return
        with contextlib.suppress(DatabaseUnavailable):
            await self._written(self._writer.work(rewrite_first_page), much=True)

    async def _written(self, work: Awaitable[T], *, much: bool = False) -> T:
        """Await a write; the condition learns whether SQLite could write."""
        try:
            result = await work
        except sqlite3.Error as cause:
            error = from_sqlite(cause)
            if self.condition.record_failure(error, writing=True):
                self.condition.record_obstacle(await asyncio.to_thread(obstacle_at, self.path), str(error))
            raise error from cause
        self.condition.record_write(much=much)
        return result

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as cause:
            error = from_sqlite(cause)
            self.condition.record_failure(error, writing=False)
            raise error from cause

    async def run_bare(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the bare writing connection, outside a transaction (migrations)."""
        with translated():
            return await self._writer.work(fn)

    async def empty_log(self) -> bool:
        """Write SQLite's log to the file and empty it, so that nothing is left in it that was deleted; gives
        whether that could be done, or a reader needs it."""
        return await self.run_bare(_empty_log)

    async def outside_version(self) -> int:
        """A number that changes when another program has written to the database: only the writer's
        connection writes here, and its own commits do not change it."""

        def read(connection: sqlite3.Connection) -> int:
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
            return version

        with self._reading():
            return await self._writer.work(read)

    async def commit_to_disk(self) -> None:
        """From now on a commit is on the disk when a write returns; a crash of the machine cannot undo it."""
        await self.run_bare(lambda connection: connection.execute("PRAGMA synchronous = FULL"))


def _empty_log(connection: sqlite3.Connection) -> bool:
    ((wait,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    # writes must not wait for a reader
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        ((is_busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {wait}")
    return not is_busy
