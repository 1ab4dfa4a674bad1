"""Saves of a running reply: what reaches the database while it is generated, also when writes fail for a
while.
"""

import asyncio
import dataclasses
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model, ended, held, messages_of, opened, resume, stream, until
from scripted import Provider, chunk, reply

from chathub.config import Config


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, save_seconds=0.05)


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


def rows(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as other:
        return other.execute(sql).fetchall()


@contextmanager
def refused(database: Path, event: str) -> Iterator[None]:
    """Let one kind of write fail while the context lasts, as on a full disk."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        name = "full_for_" + event.split()[0]
        other.execute(f"CREATE TRIGGER {name} BEFORE {event} BEGIN SELECT raise(ABORT, 'disk full'); END")
        yield
        other.execute(f"DROP TRIGGER {name}")


def saved(database: Path) -> str:
    return "".join(text for (text,) in rows(database, "SELECT text FROM message_parts ORDER BY sequence"))


async def test_failed_save_is_repeated_with_the_next_one(
    client: TestClient, config: Config, user: Headers, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script = provider.stream([chunk("一"), chunk("二"), *reply("三")], stall_after=2)
    with refused(config.database, "INSERT ON message_parts"):
        response = await opened(client, user, "二", conversation_id="c")
        await until(lambda: "could not be saved" in caplog.text)
        assert saved(config.database) == ""
    await until(lambda: saved(config.database) == "一二")
    provider.gate.set()
    await response.read()
    assert (await ended(client, user, "c"))["content"] == "一二三"


async def test_no_part_is_saved_after_the_end_of_a_reply(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    """A reply ends while the database is locked: its end waits, and no save is written after it."""
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    response = await opened(client, user, conversation_id="c")
    await until(lambda: saved(config.database) == "前")
    with held(config.database):
        provider.gate.set()
        await asyncio.sleep(0.4)
    await response.read()
    await asyncio.sleep(0.2)
    kept = (await messages_of(client, user, "c"))[1]
    assert (kept["content"], kept["status"]) == ("前后", "done")
    assert saved(config.database) == ""


async def test_reply_that_waits_for_its_settling_leaves_no_saved_part(
    client: TestClient, config: Config, user: Headers, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed save of another reply at the same time does not matter."""
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    response = await opened(client, user, conversation_id="c")
    await until(lambda: saved(config.database) == "前")
    end, part = "UPDATE OF status ON messages", "INSERT ON message_parts"
    with refused(config.database, end), refused(config.database, part):
        provider.gate.set()
        await until(lambda: "is tried again" in caplog.text)
        provider.gate.clear()
        other = await opened(client, user, conversation_id="other")
        await until(lambda: "could not be saved" in caplog.text)
    await response.read()
    provider.gate.set()
    await other.read()
    assert (await ended(client, user, "c"))["content"] == "前后"
    await ended(client, user, "other")
    assert saved(config.database) == ""


async def test_reply_that_cannot_be_settled_ends_for_its_followers_with_503(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好"))
    with refused(config.database, "UPDATE OF status ON messages"):
        async with asyncio.timeout(30):
            events = await stream(client, user, conversation_id="c")
        assert (events[-1]["type"], events[-1]["status"]) == ("error", 503)
        assert await active(client, user) == []
        async with asyncio.timeout(30):
            again = await resume(client, user, events[0]["message_id"])
        assert (again[-1][1]["type"], again[-1][1]["status"]) == ("error", 503) and again[-1][1]["error"]
    # and the conversation continues
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
