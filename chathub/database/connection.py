"""The SQLite file through its connections: one writes, one reads, a few read what takes long.

A single statement is one trip to the connection's thread. What needs several statements is a plain
function ``fn(tx, …)`` that runs whole in the writer's thread between BEGIN IMMEDIATE and COMMIT: it
cannot interleave with another coroutine's statements and a cancelled caller cannot leave it half done.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import aiosqlite

from chathub.database.queries import Queries
from chathub.database.slow import SlowReaders

log = logging.getLogger("chathub.database")

# connections for what takes long, and the pages that each may keep in memory (KiB)
_SLOW = 3
_SLOW_CACHE = 1024
_CACHE = 4096
# seconds between attempts at what must be written
_AGAIN = (0.2, 1.0, 3.0)

T = TypeVar("T")
P = ParamSpec("P")
Row = sqlite3.Row


class Transaction:
    """An open transaction (or a consistent read), used in the connection's own thread only."""

    __slots__ = ("_connection", "q")

    def __init__(self, connection: sqlite3.Connection, q: Queries) -> None:
        self._connection = connection
        self.q = q

    def one(self, sql: str, **values: Any) -> Row | None:
        """The first row, or None."""
        rows = self._connection.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def all(self, sql: str, **values: Any) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

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


class _Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function in its own thread.

    Uses aiosqlite's protected ``_execute``: its version is pinned and a test holds the name.
    """

    async def work(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(fn, self._conn)  # type: ignore[no-untyped-call]
        return result


def in_passing() -> AbstractContextManager[None]:
    """Around a write that a request makes which only reads, such as when its token was last used: where
    nothing can be written, because the disk is full or the file is locked, it is answered without."""
    return contextlib.suppress(sqlite3.OperationalError)


def _write(q: Queries, fn: Callable[..., T], args: Any, kwargs: Any, connection: sqlite3.Connection) -> T:
    connection.execute("BEGIN IMMEDIATE")
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
    """The open database and its named statements (``q``)."""

    def __init__(self, path: Path, q: Queries) -> None:
        self.path = path
        self.q = q
        self._open: list[_Connection] = []
        self._here: sqlite3.Connection | None = None
        # whether the last write found what it needs; for those who ask whether the server is well
        self.writable = True

    async def open(self) -> None:
        """Open the connections; the file is readable by its owner only."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with contextlib.suppress(OSError):
            self.path.chmod(0o600)
        try:
            self._writer = await self._connect(read_only=False)
            self._reader = await self._connect(read_only=True)
            self._slow = SlowReaders(
                [await self._connect(read_only=True, cache=_SLOW_CACHE) for _ in range(_SLOW)]
            )
        except BaseException:
            await self.close()
            raise
        self._here = sqlite3.connect(self.path, isolation_level=None, cached_statements=32)
        _prepare(self._here, read_only=True)

    async def _connect(self, *, read_only: bool, cache: int = _CACHE) -> _Connection:
        connect = partial(sqlite3.connect, self.path, isolation_level=None, cached_statements=256)
        connection = _Connection(connect, 64)
        await connection
        self._open.append(connection)
        await connection.work(partial(_prepare, read_only=read_only, cache=cache))
        return connection

    async def close(self) -> None:
        """Close all connections: an open one would keep the process from ending."""
        if self._here is not None:
            self._here.close()
            self._here = None
        while self._open:
            await self._open.pop().close()

    def glance(self, sql: str, **values: Any) -> list[Row]:
        """A few rows by an index, at once, on the event loop: a tenth of a trip to another thread, and
        with every chat that counts. Never for what may take long; in WAL mode a reader waits for nobody.
        """
        assert self._here is not None
        return self._here.execute(sql, values).fetchall()

    async def fetch_one(self, sql: str, **values: Any) -> Row | None:
        """The first row of a reading statement, or None."""
        rows = await self._reader.execute_fetchall(sql, values)
        return next(iter(rows), None)

    async def fetch_all(self, sql: str, **values: Any) -> list[Row]:
        return list(await self._reader.execute_fetchall(sql, values))

    async def fetch_slowly(self, reader_id: int | None, sql: str, /, **values: Any) -> list[Row]:
        """Rows of a list, a search or statistics, for a user (None: not signed in): on a connection that
        keeps neither the short look-ups nor other users' lists waiting."""
        return await self._slow.work(reader_id, lambda connection: connection.execute(sql, values).fetchall())

    async def read(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run several short reading statements as one trip and on one state of the database."""
        return await self._reader.work(partial(_read, self.q, fn, args, kwargs))

    async def read_slowly(
        self,
        reader_id: int | None,
        fn: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same for lists, searches and statistics."""
        return await self._slow.work(reader_id, partial(_read, self.q, fn, args, kwargs))

    async def write(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``fn(tx, …)`` as one transaction; whatever it raises undoes all of it."""
        with self._noted():
            return await self._writer.work(partial(_write, self.q, fn, args, kwargs))

    async def insist(
        self, fn: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``write`` for what must not be lost: some times over if need be, for a full disk may be given
        room meanwhile, and whoever locks the file be done."""
        for wait in _AGAIN:
            try:
                return await self.write(fn, *args, **kwargs)
            except sqlite3.DatabaseError:
                log.exception("a transaction failed, and is tried again")
                await asyncio.sleep(wait)
        return await self.write(fn, *args, **kwargs)

    async def execute(self, sql: str, **values: Any) -> list[Row]:
        """Run one writing statement; gives the rows of its RETURNING clause."""
        with self._noted():
            return list(await self._writer.execute_fetchall(sql, values))

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Around a write: whether SQLite could make it, not whether it was a good one."""
        try:
            yield
            self.writable = True
        except sqlite3.OperationalError:
            self.writable = False
            raise

    async def script(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the bare writing connection, outside a transaction (migrations)."""
        return await self._writer.work(fn)


def _prepare(connection: sqlite3.Connection, *, read_only: bool, cache: int = _CACHE) -> None:
    connection.row_factory = sqlite3.Row
    # first: what follows may already have to wait
    connection.execute("PRAGMA busy_timeout = 5000")
    if not connection.execute("PRAGMA page_count").fetchone()[0]:
        # of an empty file only, whose first page the journal mode writes; where pages are it would be a write
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # secure_delete ON and not FAST, which leaves deleted text and pictures in the pages that it frees:
    # overwriting them takes about 2 ms a megabyte, and as much room in the log
    for pragma in (
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
