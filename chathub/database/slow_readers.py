"""Connections for long reads: lists, searches, statistics."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from chathub.database.connection import Connection

T = TypeVar("T")

# seconds after which a read that still runs is interrupted again
_AGAIN = 0.05


async def _interrupted(connection: Connection, reading: asyncio.Future[T]) -> None:
    """Interrupt a read until it ends: an interrupt between two statements has no effect."""
    reading.add_done_callback(lambda read: read.cancelled() or read.exception())
    while not reading.done():
        await connection.interrupt()
        await asyncio.wait([reading], timeout=_AGAIN)


class SlowReaders:
    """A few connections, shared by all users: each user reads on one of them at a time.

    Reads of one user wait for each other; reads of different users wait only if all connections are busy.
    Both queues are in order of arrival.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._free = list(connections)
        self._count = asyncio.Semaphore(len(connections))
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._public = asyncio.Lock()

    async def work(self, user_id: int | None, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read for a user (None: not signed in).

        If its caller is cancelled, the read is interrupted: SQLite aborts the running statement.
        """
        async with self._turn(user_id), self._connection() as connection:
            reading = asyncio.ensure_future(connection.work(fn))
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                ending = asyncio.ensure_future(_interrupted(connection, reading))
                # until the read has ended nobody else gets the connection, or would get the interrupt; a
                # second cancellation does not change that
                while not ending.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([ending])
                raise

    def _turn(self, user_id: int | None) -> asyncio.Lock:
        if user_id is None:
            return self._public
        # a lock exists while it is taken or waited for
        turn = self._turns.get(user_id)
        if turn is None:
            turn = self._turns[user_id] = asyncio.Lock()
        return turn

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._count:
            connection = self._free.pop()
            try:
                yield connection
            finally:
                self._free.append(connection)
