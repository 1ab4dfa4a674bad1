"""Database connections, transactions and named statements."""

import asyncio
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from chathub.chat import branches, removal
from chathub.config import Config
from chathub.database.beside import open_beside
from chathub.database.database import Database
from chathub.database.errors import ConstraintViolated, DatabaseError, DatabaseUnavailable
from chathub.database.migrations import migrate
from chathub.database.opening import open_database
from chathub.database.queries import Queries, QueryError, parse, sql_folder
from chathub.database.rows.settings import Settings
from chathub.database.transaction import Transaction


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "folder" / "test.db", Queries(sql_folder() / "queries"))
    await database.open()
    await database.run_bare(partial(migrate, folder=sql_folder() / "migrations"))
    yield database
    await database.close()


def put(tx: Transaction, name: str, value: str) -> None:
    tx.run(tx.q.settings.put, name=name, value=value)


async def value_of(db: Database, name: str) -> str | None:
    row = await db.fetch_one(db.q.settings.get, name=name)
    return row.value if row else None


async def test_database_file_is_readable_by_its_owner_only(db: Database) -> None:
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600


async def test_failed_transaction_is_rolled_back(db: Database) -> None:
    def fail(tx: Transaction) -> None:
        put(tx, "a", "1")
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        await db.write(fail)
    assert await value_of(db, "a") is None
    await db.write(put, "a", "2")
    assert await value_of(db, "a") == "2"


async def test_concurrent_transactions_do_not_mix(db: Database) -> None:
    def add_one(tx: Transaction) -> None:
        row = tx.one(tx.q.settings.get, name="n")
        put(tx, "n", str(int(row.value) + 1 if row else 1))

    await asyncio.gather(*(db.write(add_one) for _ in range(50)))
    assert await value_of(db, "n") == "50"


async def test_cancelled_caller_cannot_leave_a_partial_transaction(db: Database) -> None:
    def two(tx: Transaction) -> None:
        put(tx, "first", "x")
        put(tx, "second", "x")

    task = asyncio.create_task(db.write(two))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.write(put, "third", "x")
    assert await value_of(db, "first") == await value_of(db, "second")


@pytest.fixture
def locked(db: Database) -> Iterator[None]:
    """Lock the database for writing by another program."""
    with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def patience(db: Database, seconds: float) -> None:
    """Set how long a write waits for a lock; five seconds are long for a test."""
    milliseconds = round(seconds * 1000)
    await db.run_bare(lambda connection: connection.execute(f"PRAGMA busy_timeout = {milliseconds}"))


async def timed(*writes: Awaitable[Any]) -> float:
    """The time until all of these have failed because of the lock."""
    began = time.monotonic()
    failures = await asyncio.gather(*writes, return_exceptions=True)
    for failure in failures:
        assert isinstance(failure, DatabaseUnavailable) and failure.trouble == "locked", failures
    return time.monotonic() - began


async def test_writes_wait_for_a_lock_concurrently(db: Database, locked: None) -> None:
    await patience(db, 0.5)
    writes = [db.write(put, "a", str(number)) for number in range(10)]
    assert 0.4 < await timed(*writes, db.execute(db.q.settings.put, name="a", value="x")) < 1.5


async def test_write_that_will_be_retried_waits_briefly_for_a_lock(db: Database, locked: None) -> None:
    assert await timed(db.try_write(put, "a", "1")) < 2


async def test_server_shutdown_ends_every_wait_for_a_lock(db: Database, locked: None) -> None:
    alone = db.execute(db.q.settings.put, name="a", value="3")
    waiting = asyncio.create_task(timed(db.write(put, "a", "1"), db.write_with_retry(put, "a", "2"), alone))
    await asyncio.sleep(0.2)
    db.end_lock_waits(0.2)
    assert await waiting < 2
    assert await timed(db.write_with_retry(put, "a", "4")) < 0.5


async def test_write_proceeds_when_the_lock_is_released(db: Database) -> None:
    with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(db.write(put, "a", "1"))
        await asyncio.sleep(0.3)
        assert not writing.done()
        other.execute("ROLLBACK")
        await writing
    assert await value_of(db, "a") == "1"
    kept = await db.run_bare(lambda connection: connection.execute("PRAGMA busy_timeout").fetchone()[0])
    assert kept == 5000


async def test_reader_connection_cannot_write(db: Database) -> None:
    with pytest.raises(DatabaseError, match="readonly"):
        await db.read(lambda tx: tx.run(tx.q.settings.put, name="x", value="y"))


async def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(ConstraintViolated, match="FOREIGN KEY"):
        await db.write(
            lambda tx: tx.one(
                tx.q.conversations.insert, public_id="x", user_id=99, title="t", model="m", now=1
            )
        )


async def test_long_branch_can_be_deleted(db: Database) -> None:
    """SQLite stops at a thousand levels of recursion, which a cascade along the tree would exceed."""

    def fill(tx: Transaction) -> None:
        q = tx.q
        names = dict(username="a", username_key="a", email="a@b.c", email_key="a@b.c", password_hash="")
        rest = dict(password_is_default=0, role="user", subscription_type="free", is_active=1)
        user = tx.all(q.users.insert, **names, **rest, now=1)[0].id
        conversation = tx.one(
            q.conversations.insert, public_id="long", user_id=user, title="t", model="m", now=1
        )
        parent = None
        for _ in range(3000):
            (message,) = tx.all(
                q.messages.insert_prompt,
                conversation_id=conversation.id,
                parent_id=parent,
                content="x",
                options="",
                is_incomplete=False,
                now=1,
            )
            parent = message.id
        tx.run(
            q.conversations.add_turn,
            head_id=parent,
            model="m",
            more=3000,
            now=1,
            conversation_id=conversation.id,
        )

    await db.write(fill)
    head = (await db.fetch_all(db.q.conversations.get_by_public_id, public_id="long"))[0].head_id
    assert len(await db.fetch_all(db.q.messages.list_branch_ids, newest_id=head, limit=9999)) == 3000
    await db.write(lambda tx: branches.delete_message(tx, 1, 1, now=2))
    while await db.write(removal.remove_batch):
        pass
    assert await db.fetch_all(db.q.messages.list_branch_ids, newest_id=head, limit=9999) == []


def test_aiosqlite_has_the_internals_that_our_connection_uses() -> None:
    assert callable(aiosqlite.Connection._execute)
    assert isinstance(aiosqlite.Connection._conn, property)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1\n-- name: a\nSELECT 1", "text before"),
        ("-- name: a\n-- only a comment\n", "empty"),
        ("-- name: a\nSELECT 1\n-- name: a\nSELECT 2", "twice"),
    ],
)
def test_malformed_query_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "x.sql"
    path.write_text(text)
    with pytest.raises(QueryError, match=problem):
        parse(path)


def test_a_file_whose_statements_are_not_those_declared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.sql"
    path.write_text("-- name: get\nSELECT 1 AS value\n-- name: more\nSELECT 1")
    with pytest.raises(QueryError, match=r"settings\.sql .* delete, more, put"):
        Settings("settings", parse(path))


async def test_writes_of_others_are_told_apart_from_the_servers_own(tmp_path: Path) -> None:
    config = Config(database=tmp_path / "chathub.db")
    async with open_database(config, creates=True) as db:
        await db.write(lambda tx: tx.run(tx.q.settings.put, name="a", value="own"))
        seen = await db.outside_version()
        await db.execute(db.q.settings.put, name="a", value="own again")
        assert await db.fetch_all(db.q.settings.get, name="a")
        assert await db.outside_version() == seen
        async with open_beside(config) as other:
            assert await db.outside_version() == seen
            await other.execute(other.q.settings.put, name="a", value="another's")
        assert await db.outside_version() != seen
