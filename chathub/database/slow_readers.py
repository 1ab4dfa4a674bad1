"""Connections for what takes long: lists, searches, statistics."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from chathub.database.thread_connection import Connection

T = TypeVar("T")

# seconds until a read that still runs is interrupted again
_AGAIN = 0.05


async def _interrupted(connection: Connection, reading: asyncio.Future[T]) -> None:
    """Interrupt a read until it ends: between two statements there is nothing to interrupt."""
    reading.add_done_callback(lambda read: read.cancelled() or read.exception())
    while not reading.done():
        await connection.interrupt()
        await asyncio.wait([reading], timeout=_AGAIN)


class SlowReaders:
    """A few connections, shared by all users: each user reads on one of them at a time.

    Reads of one user wait for each other, those of different users only if all connections are busy. Both
    lines keep the order in which the reads came.
    """

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._free = list(connections)
        self._count = asyncio.Semaphore(len(connections))
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._public = asyncio.Lock()

    async def work(self, user_id: int | None, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read for a user (None: somebody who is not signed in).

        A read whose caller is cancelled is interrupted: SQLite gives up the statement that is running.
        """
        async with self._turn(user_id), self._connection() as connection:
            reading = asyncio.ensure_future(connection.work(fn))
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                ending = asyncio.ensure_future(_interrupted(connection, reading))
                # nobody else gets the connection, or the interruption, before the read has ended: not by
                # cancelling again either
                while not ending.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([ending])
                raise

    def _turn(self, user_id: int | None) -> asyncio.Lock:
        if user_id is None:
            return self._public
        # a lock lives for as long as somebody holds it or waits for it
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
