"""The ChatHub process when its database cannot be written: how it ends, and what the next start finds."""

import asyncio
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from api.chats import Headers, messages_of, read_events
from crashes import again, ask, counts, follow_until, ready, rest_of, within
from processes import ChatHub
from scripted import Provider, chunk, reply


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Lock the database for writing by another program."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def saved(database: Path, text: str) -> None:
    """Wait until the text of a running reply was saved."""

    async def found() -> bool:
        with closing(sqlite3.connect(database)) as other:
            return other.execute("SELECT 1 FROM message_parts WHERE text = ?", (text,)).fetchone() is not None

    await within(30, found)


@pytest.mark.parametrize("ends", [False, True], ids=["still being written", "just ended"])
async def test_shutdown_ends_within_the_drain_time_while_the_database_is_locked(
    database: Path, provider: Provider, ends: bool
) -> None:
    provider.script = provider.stream([chunk("存下的"), chunk("未存的"), *reply("末尾")], stall_after=2)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="1.5") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "未存的")
        await saved(database, "存下的未存的")
        # writes of users and of the server itself that wait for the lock when the shutdown begins
        with locked(database):
            writing = asyncio.create_task(client.put("/api/users/profile", json={"email": ""}, headers=admin))
            if ends:
                provider.gate.set()
                await follow_until(response, "末尾")
            await asyncio.sleep(0.5)
            began = time.monotonic()
            hub.signal(signal.SIGTERM)
            last = (await rest_of(response))[-1]
            assert (last["type"], last["status"], last["code"]) == ("error", 503, "not_stored")
            assert await hub.ended() == 0
            took = time.monotonic() - began
            await asyncio.gather(writing, return_exceptions=True)
        assert took < 1.5 + 2, f"it took {took:.1f} s"
        told = [line for line in hub.errors.splitlines() if "not stored when the server ended" in line]
        assert len(told) == 1 and "1 reply" in told[0]
        assert "Traceback" not in hub.errors
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        part = (await messages_of(client, admin, "c"))[1]
        assert (part["content"], part["status"]) == ("存下的未存的", "interrupted")
    assert counts(database) == (0, 0)


async def test_reply_that_can_be_stored_within_the_drain_time_is_stored(
    database: Path, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="30") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "前")
        with locked(database):
            provider.gate.set()
            await follow_until(response, "后")
            hub.signal(signal.SIGTERM)
            await asyncio.sleep(1)
            assert hub.exit_code is None
        assert (await rest_of(response))[-1]["type"] == "end"
        assert await hub.ended() == 0
        assert "not stored when" not in hub.errors
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        assert (await messages_of(client, admin, "c"))[1]["content"] == "前后"


async def filled_up(hub: ChatHub, database: Path, provider: Provider, text: str) -> tuple[Any, Headers, Any]:
    """A reply that ends after the disk has become full: the limit of the file size is the kernel's own.

    Returns a client, its headers, and the last event.
    """
    client, admin = await ready(hub, provider)
    provider.script = provider.stream([chunk("前"), *reply(text)], stall_after=1)
    response = await ask(client, admin, "说", conversation_id="c")
    await follow_until(response, "前")
    await saved(database, "前")
    full = max(path.stat().st_size for path in database.parent.glob("chathub.db*"))
    resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    provider.gate.set()
    events = await read_events(response)
    return client, admin, events[-1]


async def test_full_disk_at_the_end_of_a_reply_loses_nothing_once_space_is_free(
    database: Path, provider: Provider
) -> None:
    long = "长" * 100_000
    async with ChatHub(database) as hub:
        client, admin, last = await filled_up(hub, database, provider, long)
        assert (last["type"], last["status"], last["code"]) == ("error", 503, "not_stored")
        meanwhile = (await messages_of(client, admin, "c"))[1]
        assert (meanwhile["content"], meanwhile["finish_reason"]) == ("前" + long, "not_stored")
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        async def is_done() -> bool:
            return (await messages_of(client, admin, "c"))[1]["status"] == "done"

        await within(30, is_done)
        after = (await messages_of(client, admin, "c"))[1]
        assert (after["content"], after["usage"]["total_tokens"]) == ("前" + long, 10)
        stats = await (await client.get("/api/stats", headers=admin)).json()
        assert all(pot["reserved"] == 0 for pot in stats["budgets"])
        assert "Traceback" not in hub.errors
    assert counts(database) == (0, 0)


async def test_kill_before_a_reply_could_be_stored_keeps_its_last_save(
    database: Path, provider: Provider
) -> None:
    async with ChatHub(database) as hub:
        _, _, last = await filled_up(hub, database, provider, "长" * 100_000)
        assert last["code"] == "not_stored"
        hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        part = (await messages_of(client, admin, "c"))[1]
        assert (part["content"], part["status"]) == ("前", "interrupted")
        assert part["usage"]["estimated"]
    assert counts(database) == (0, 0)
