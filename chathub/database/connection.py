"""A connection to the SQLite file: how it is opened, and how a function runs in its thread."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")

# KiB of pages that a connection may keep in memory
_CACHE = 4096


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function in its own thread.

    Uses aiosqlite's protected ``_execute``: its version is pinned, and a test fails when the name goes away.
    """

    async def work(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(fn, self._conn)  # type: ignore[no-untyped-call]
        return result


async def connect(database: Path, *, read_only: bool, cache: int = _CACHE) -> Connection:
    """A connection with a thread of its own; its caller closes it. ``cache`` is in KiB."""
    connection = Connection(partial(connect_sync, database, statements=256), 64)
    await connection
    try:
        await connection.work(partial(set_pragmas, read_only=read_only, cache=cache))
    except BaseException:
        await connection.close()
        raise
    return connection


def connect_sync(database: Path, *, statements: int) -> sqlite3.Connection:
    """A bare connection that caches some compiled statements; ``set_pragmas`` follows."""
    # mode=rw: a file that was deleted is not created anew
    uri = database.as_uri() + "?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=statements)


def set_pragmas(connection: sqlite3.Connection, *, read_only: bool, cache: int = _CACHE) -> None:
    # secure_delete ON and not FAST, which leaves deleted text and images in the pages that it frees:
    # overwriting them takes about 2 ms a megabyte, and as much room in the log
    for pragma in (
        # first: the next ones may already have to wait for a lock
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
