"""Slow database reads: which callers wait for them and which do not."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder
from chathub.database.statements import Row, Select
from chathub.database.transaction import Transaction


class One(Row, frozen=True):
    one: int


ONE = Select("SELECT 1 AS one", One)
ENDLESS = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)"
    " SELECT count(*) AS one FROM n"
)
SECONDS = 30


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "test.db", Queries(sql_folder() / "queries"))
    await database.open()
    await database.run_bare(partial(migrate, folder=sql_folder() / "migrations"))
    yield database
    await database.close()


class Read:
    """A read that runs until ``end`` is set; its thread sets ``begun``."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()

    def __call__(self, tx: Transaction) -> None:
        self.begun.set()
        assert self.end.wait(SECONDS)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, SECONDS)


async def test_slow_read_of_one_user_does_not_delay_another_user(db: Database) -> None:
    slow = Read()
    reading = asyncio.create_task(db.read_background(1, slow))
    await slow.has_begun()
    async with asyncio.timeout(SECONDS):
        for user_id in (2, 3, None):
            assert await db.fetch_background(user_id, ONE)
    assert not reading.done()
    slow.end.set()
    await reading


async def test_reads_of_one_user_are_sequential_and_leave_connections_to_others(db: Database) -> None:
    reads = [Read() for _ in range(5)]
    tasks = [asyncio.create_task(db.read_background(1, read)) for read in reads]
    await reads[0].has_begun()
    async with asyncio.timeout(SECONDS):
        await db.fetch_background(2, ONE)
    for number, read in enumerate(reads):
        await read.has_begun()
        assert not any(later.begun.is_set() for later in reads[number + 1 :])
        read.end.set()
    await asyncio.gather(*tasks)


async def test_read_of_a_disconnected_caller_is_interrupted(db: Database) -> None:
    begun = threading.Event()

    def endless(tx: Transaction) -> None:
        begun.set()
        tx.all(Select(ENDLESS, One))

    reading = asyncio.create_task(db.read_background(1, endless))
    assert await asyncio.to_thread(begun.wait, SECONDS)
    async with asyncio.timeout(SECONDS):
        # the thread may not be in the statement yet, so cancel again
        reading.cancel()
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        # every connection can be used again
        for user_id in range(4):
            assert await db.fetch_background(user_id, ONE)


async def test_waiting_read_can_be_cancelled(db: Database) -> None:
    first, second = Read(), Read()
    reading = asyncio.create_task(db.read_background(1, first))
    await first.has_begun()
    waiting = asyncio.create_task(db.read_background(1, second))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.end.set()
    await reading
    async with asyncio.timeout(SECONDS):
        assert await db.fetch_background(1, ONE)
    assert not second.begun.is_set()


async def test_failed_read_raises_to_its_caller_and_releases_its_connection(db: Database) -> None:
    for _ in range(10):
        with pytest.raises(DatabaseError):
            await db.fetch_background(1, Select("SELECT x FROM nothing", One))
    assert await db.fetch_background(1, ONE)
