"""The SQLite file through its connections: one writes, one reads, a few read what takes long.

A single statement is one trip to the connection's thread. What needs several statements is a plain
function ``fn(tx, …)`` that runs whole in the writer's thread between BEGIN IMMEDIATE and COMMIT: it
cannot interleave with another coroutine's statements and a cancelled caller cannot leave it half done.
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
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import aiosqlite

from chathub.database.condition import Condition, obstacle_at
from chathub.database.errors import DatabaseError, DatabaseUnavailable, from_sqlite, translated
from chathub.database.first_page import make_new, rewrite
from chathub.database.lock_wait import GiveUp, waiting
from chathub.database.queries import Queries
from chathub.database.slow_readers import SlowReaders
from chathub.database.statements import R, Select
from chathub.disk import make_folder

log = logging.getLogger("chathub.database")

# connections for what takes long, and the pages that each may keep in memory (KiB)
_SLOW = 3
_SLOW_CACHE = 1024
_CACHE = 4096
# seconds between attempts at what must be written
_AGAIN = (0.2, 1.0, 3.0)
# seconds that a write waits for another program's lock which comes again soon
_BRIEFLY = 0.25

T = TypeVar("T")
P = ParamSpec("P")
Row = sqlite3.Row


class Transaction:
    """An open transaction (or a consistent read), used in the connection's own thread only."""

    __slots__ = ("_connection", "q")

    def __init__(self, connection: sqlite3.Connection, q: Queries) -> None:
        self._connection = connection
        self.q = q

    @overload
    def one(self, statement: Select[R], **values: Any) -> R | None: ...
    @overload
    def one(self, statement: str, **values: Any) -> Row | None: ...
    def one(self, statement: Select[Any] | str, **values: Any) -> Any:
        """The first row, or None."""
        return next(iter(self.all(statement, **values)), None)

    @overload
    def all(self, statement: Select[R], **values: Any) -> list[R]: ...
    @overload
    def all(self, statement: str, **values: Any) -> list[Row]: ...
    def all(self, statement: Select[Any] | str, **values: Any) -> list[Any]:
        return _run(self._connection, statement, values)

    def run(self, sql: str, **values: Any) -> int:
        """Run a statement that returns no rows; gives the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def add(self, sql: str, **values: Any) -> int:
        """Insert one row; gives its id."""
        row_id = self._connection.execute(sql, values).lastrowid
        assert row_id is not None
        return row_id

    def many(self, sql: str, values: list[dict[str, Any]]) -> None:
        self._connection.executemany(sql, values)


def _run(connection: sqlite3.Connection, statement: Select[Any] | str, values: dict[str, Any]) -> list[Any]:
    """The rows of a statement."""
    if isinstance(statement, str):
        return connection.execute(statement, values).fetchall()
    return statement.rows(connection.execute(statement.sql, values).fetchall())


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function in its own thread.

    Uses aiosqlite's protected ``_execute``: its version is pinned and a test holds the name.
    """

    async def work(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(fn, self._conn)  # type: ignore[no-untyped-call]
        return result


def _write(
    q: Queries, fn: Callable[..., T], args: Any, kwargs: Any, give_up: GiveUp, connection: sqlite3.Connection
) -> T:
    waiting(connection, give_up, partial(connection.execute, "BEGIN IMMEDIATE"))
    try:
        result = fn(Transaction(connection, q), *args, **kwargs)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return result


def _read(q: Queries, fn: Callable[..., T], args: Any, kwargs: Any, connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN")
    try:
        return fn(Transaction(connection, q), *args, **kwargs)
    finally:
        connection.rollback()


class Database:
    """The open database and its named statements (``q``).

    ``unchecked``: its last end was not a clean one.
    """

    def __init__(self, path: Path, q: Queries, *, unchecked: bool = False) -> None:
        # SQLite takes some relative names for something else than files
        self.path = path.absolute()
        self.q = q
        self.condition = Condition(self.path, unchecked=unchecked)
        self._open: list[_Connection] = []
        self._sync_reader: sqlite3.Connection | None = None
        # from when on nothing waits for another program's lock, as ``time.monotonic`` tells it
        self._patient_until = math.inf

    async def open(self) -> None:
        """Open the connections; the file is readable by its owner only.

        Raises:
            DatabaseError: SQLite cannot open it.
        """
        if not self.path.exists():
            make_folder(self.path.parent)
            make_new(self.path.resolve())
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
        uri = self.path.as_uri() + "?mode=rw"
        self._sync_reader = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=32)
        _prepare(self._sync_reader, read_only=True)

    async def _connect(self, *, read_only: bool, cache: int = _CACHE) -> _Connection:
        # a file that was deleted is not made anew
        uri = self.path.as_uri() + "?mode=rw"
        connect = partial(sqlite3.connect, uri, uri=True, isolation_level=None, cached_statements=256)
        connection = _Connection(connect, 64)
        await connection
        self._open.append(connection)
        try:
            await connection.work(partial(_prepare, read_only=read_only, cache=cache))
        except BaseException:
            await self._close(connection)
            raise
        return connection

    async def _close(self, connection: _Connection) -> None:
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
        """A connection of its own for one long read, which is interrupted when its caller is cancelled."""
        with translated():
            connection = await self._connect(read_only=True, cache=_SLOW_CACHE)
            try:
                yield SlowReaders([connection])
            finally:
                await self._close(connection)

    @overload
    def read_sync(self, statement: Select[R], **values: Any) -> list[R]: ...
    @overload
    def read_sync(self, statement: str, **values: Any) -> list[Row]: ...
    def read_sync(self, statement: Select[Any] | str, **values: Any) -> list[Any]:
        """A few rows by an index, at once, on the event loop: a tenth of a trip to another thread, and
        with every chat that counts. Never for what may take long; in WAL mode a reader waits for nobody.
        """
        assert self._sync_reader is not None
        with self._reading():
            return _run(self._sync_reader, statement, values)

    @overload
    async def fetch_one(self, statement: Select[R], **values: Any) -> R | None: ...
    @overload
    async def fetch_one(self, statement: str, **values: Any) -> Row | None: ...
    async def fetch_one(self, statement: Select[Any] | str, **values: Any) -> Any:
        """The first row of a reading statement, or None."""
        return next(iter(await self.fetch_all(statement, **values)), None)

    @overload
    async def fetch_all(self, statement: Select[R], **values: Any) -> list[R]: ...
    @overload
    async def fetch_all(self, statement: str, **values: Any) -> list[Row]: ...
    async def fetch_all(self, statement: Select[Any] | str, **values: Any) -> list[Any]:
        with self._reading():
            return await self._reader.work(partial(_run, statement=statement, values=values))

    @overload
    async def fetch_background(
        self, reader_id: int | None, statement: Select[R], /, **values: Any
    ) -> list[R]: ...
    @overload
    async def fetch_background(
        self, reader_id: int | None, statement: str, /, **values: Any
    ) -> list[Row]: ...
    async def fetch_background(
        self, reader_id: int | None, statement: Select[Any] | str, /, **values: Any
    ) -> list[Any]:
        """Rows of a list, a search or statistics, for a user (None: not signed in): on a connection that
        keeps neither the short look-ups nor other users' lists waiting."""
        with self._reading():
            return await self._slow.work(reader_id, partial(_run, statement=statement, values=values))

    async def read(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run several short reading statements as one trip and on one state of the database."""
        with self._reading():
            return await self._reader.work(partial(_read, self.q, fn, args, kwargs))

    async def read_background(
        self,
        reader_id: int | None,
        fn: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same for lists, searches and statistics."""
        with self._reading():
            return await self._slow.work(reader_id, partial(_read, self.q, fn, args, kwargs))

    async def write(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``fn(tx, …)`` as one transaction; whatever it raises undoes all of it."""
        give_up = self._give_up()
        return await self._written(self._writer.work(partial(_write, self.q, fn, args, kwargs, give_up)))

    async def try_write(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``write`` for what comes again if it fails: it hardly waits for another program's lock, and so
        keeps nobody else's write waiting."""
        give_up = self._give_up(_BRIEFLY)
        return await self._written(self._writer.work(partial(_write, self.q, fn, args, kwargs, give_up)))

    def _give_up(self, most: float = math.inf) -> GiveUp:
        """For a write that is asked for now, however many wait before it."""
        asked = time.monotonic()
        return lambda configured: min(asked + min(configured, most), self._patient_until)

    def stop_waiting(self, seconds: float) -> None:
        """In so many seconds: from then on what another program's lock keeps from being written fails at
        once, for the server ends."""
        self._patient_until = time.monotonic() + seconds

    async def write_with_retry(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``write`` for what must not be lost: some times over if need be, for a full disk may be given
        room meanwhile, and whoever locks the file be done."""
        for wait in _AGAIN:
            try:
                return await self.write(fn, *args, **kwargs)
            except DatabaseError as error:
                left = self._patient_until - time.monotonic()
                if left <= 0:
                    raise
                # of the database's own troubles the condition has told already
                unknown = not isinstance(error, DatabaseUnavailable)
                log.warning("a transaction failed, and is tried again: %s", error, exc_info=unknown)
                await asyncio.sleep(min(wait, left))
        return await self.write(fn, *args, **kwargs)

    @overload
    async def execute(self, statement: Select[R], **values: Any) -> list[R]: ...
    @overload
    async def execute(self, statement: str, **values: Any) -> list[Row]: ...
    async def execute(self, statement: Select[Any] | str, **values: Any) -> list[Any]:
        """Run one writing statement; gives the rows of its RETURNING clause."""
        give_up = self._give_up()

        def run(connection: sqlite3.Connection) -> list[Any]:
            return waiting(connection, give_up, partial(_run, connection, statement, values))

        return await self._written(self._writer.work(run))

    async def probe(self) -> None:
        """Try to write, without waiting for a lock; the condition tells what came of it."""
        # of a full disk the log has room already for a little
        is_full = self.condition.obstacle == "full"
        if is_full and (obstacle := await asyncio.to_thread(obstacle_at, self.path)):
            self.condition.blocked(obstacle, "a file beside it cannot grow")
            return
        with contextlib.suppress(DatabaseUnavailable):
            await self._written(self._writer.work(rewrite), much=True)

    async def _written(self, work: Awaitable[T], *, much: bool = False) -> T:
        """Await a write: whether SQLite could make it, not whether it was a good one, is noted."""
        try:
            result = await work
        except sqlite3.Error as cause:
            error = from_sqlite(cause)
            if self.condition.failed(error, writing=True):
                self.condition.blocked(await asyncio.to_thread(obstacle_at, self.path), str(error))
            raise error from cause
        self.condition.written(much=much)
        return result

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as cause:
            error = from_sqlite(cause)
            self.condition.failed(error, writing=False)
            raise error from cause

    async def script(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the bare writing connection, outside a transaction (migrations)."""
        with translated():
            return await self._writer.work(fn)

    async def commit_to_disk(self) -> None:
        """From now on a commit is on the disk when a write returns; a crash of the machine cannot undo it."""
        await self.script(lambda connection: connection.execute("PRAGMA synchronous = FULL"))


def _prepare(connection: sqlite3.Connection, *, read_only: bool, cache: int = _CACHE) -> None:
    connection.row_factory = sqlite3.Row
    # secure_delete ON and not FAST, which leaves deleted text and pictures in the pages that it frees:
    # overwriting them takes about 2 ms a megabyte, and as much room in the log
    for pragma in (
        # first: what follows may already have to wait
        "busy_timeout = 5000",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "secure_delete = ON",
        f"cache_size = -{cache}",
        "temp_store = MEMORY",
        "journal_size_limit = 16777216",
    ):
        connection.execute(f"PRAGMA {pragma}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
