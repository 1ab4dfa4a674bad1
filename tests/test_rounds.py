"""Periodic background tasks: no error ends them, and an error at shutdown skips no other step."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from conftest import Connect

from chathub import app_keys
from chathub.billing.settlement_queue import SettlementQueue
from chathub.config import Config
from chathub.database import periodic
from chathub.database.errors import DatabaseUnavailable
from chathub.database.periodic import background_tasks, restart_on_error

SEEN = 2**62
REFUSING = (
    "CREATE TRIGGER refusing BEFORE UPDATE OF last_seen_at ON sessions"
    " BEGIN SELECT raise(ABORT, 'not today'); END"
)


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic, "_LONGEST", 0.01)


class Failing:
    """A background task that fails with each of these errors, then runs on without end."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.goes_on = asyncio.Event()

    async def run(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.goes_on.set()
        await asyncio.Event().wait()


async def test_background_task_continues_after_any_error_and_logs_each_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    damaged = DatabaseUnavailable("of the file", "damaged")
    failing = Failing(KeyError("a"), KeyError("a"), damaged, TypeError("b"), damaged)
    task = asyncio.create_task(restart_on_error(failing.run, 0.001))
    async with asyncio.timeout(30):
        await failing.goes_on.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [type(record.exc_info[1]) for record in told if record.exc_info] == [KeyError, TypeError]
    assert len(told) == 2 and "Failing.run" in told[0].getMessage()


async def test_background_task_without_work_ends_and_the_others_continue() -> None:
    async def nothing() -> None:
        pass

    other = Failing(KeyError("a"))
    async with asyncio.timeout(30), background_tasks(nothing, other.run):
        await other.goes_on.wait()


def query(config: Config, statement: str) -> list[Any]:
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        return other.execute(statement).fetchall()


async def test_last_uses_are_written_after_a_failed_write(connect: Connect, config: Config) -> None:
    client = await connect(config)
    assert client.app is not None
    (session_id,) = query(config, "SELECT min(id) FROM sessions")[0]
    query(config, REFUSING)
    client.app[app_keys.LAST_USES].add_session(session_id, SEEN)
    # the task has met the error
    await asyncio.sleep(0.3)
    query(config, "DROP TRIGGER refusing")
    async with asyncio.timeout(30):
        while query(config, f"SELECT 1 FROM sessions WHERE last_seen_at = {SEEN}") == []:
            await asyncio.sleep(0.02)


async def test_shutdown_completes_its_other_steps_although_one_fails(
    connect: Connect, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SettlementQueue, "close", _failing)
    client = await connect(config)
    assert client.app is not None
    (session_id,) = query(config, "SELECT min(id) FROM sessions")[0]
    client.app[app_keys.LAST_USES].add_session(session_id, SEEN)
    with pytest.raises(RuntimeError, match="a step of the end"):
        await client.close()
    assert query(config, f"SELECT count(*) FROM sessions WHERE last_seen_at = {SEEN}") == [(1,)]


async def _failing(it: SettlementQueue) -> None:
    raise RuntimeError("a step of the end")
