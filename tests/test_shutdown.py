"""Shutdown of the ChatHub process after a signal."""

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from api.chats import messages_of
from crashes import TEXT, Dictation, again, ask, by_question, counts, follow_until, ready, rest_of
from processes import ChatHub
from scripted import Provider, chunk, reply


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_shutdown_lets_replies_finish_and_refuses_new_ones(
    database: Path, provider: Provider, number: signal.Signals
) -> None:
    provider.script = by_question(
        {
            "会完": provider.stream(reply("前半", "后半"), stall_after=1),
            "不完": Dictation(),
            "新的": provider.stream(reply("不该有")),
        }
    )
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="8") as hub:
        client, admin = await ready(hub, provider)
        ends = await ask(client, admin, "会完", conversation_id="ends")
        await follow_until(ends, "前半")
        lasts = await ask(client, admin, "不完", conversation_id="lasts")
        start = await follow_until(lasts, '"content"')
        began = time.monotonic()
        hub.signal(number)
        await asyncio.sleep(0.5)

        for path in ("/api/chat/stream", "/api/chat"):
            wanted = {"message": "新的", "model": "test-model"}
            async with client.post(path, json=wanted, headers=admin) as response:
                assert response.status == 503, path
                assert int(response.headers["Retry-After"]) > 0
                assert (await response.json())["error"]
        # other pages of the API work, and a running reply may still be followed
        assert (await client.get("/api/conversations", headers=admin)).status == 200
        late = await client.get(f"/api/chat/stream/{start['message_id']}", headers=admin)
        assert hub.exit_code is None

        provider.gate.set()
        assert (await rest_of(ends))[-1]["type"] == "end"
        for response in (lasts, late):
            last = (await rest_of(response))[-1]
            assert (last["type"], last["status"]) == ("error", 503)
            assert last["error"] and last["finish_reason"] == "interrupted"
        assert await hub.ended() == 0
        took = time.monotonic() - began
        assert 7 < took < 8 + 20, f"it took {took:.1f} s"
        assert "Traceback" not in hub.errors and " ERROR " not in hub.errors
    assert counts(database) == (0, 0)

    async with ChatHub(database) as hub:
        assert "cut off" not in hub.errors
        client, admin = await again(hub)
        whole = (await messages_of(client, admin, "ends"))[1]
        assert (whole["content"], whole["status"]) == ("前半后半", "done")
        part = (await messages_of(client, admin, "lasts"))[1]
        assert part["status"] == "interrupted" and part["reason"] and part["usage"]["estimated"]
        listed = await (await client.get("/api/conversations", headers=admin)).json()
        assert {row["conversation_id"] for row in listed} == {"ends", "lasts"}


async def test_all_text_is_stored_when_the_drain_time_is_over(database: Path, provider: Provider) -> None:
    """Not only the last save: what followers received is what is stored."""
    provider.script = provider.stream([chunk(TEXT), chunk("末尾")], stall_after=2)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.2") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "末尾")
        hub.signal(signal.SIGTERM)
        assert (await rest_of(response))[-1]["status"] == 503
        assert await hub.ended() == 0
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        assert (await messages_of(client, admin, "c"))[1]["content"] == TEXT + "末尾"


async def test_shutdown_ends_with_the_last_reply(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="60") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说")
        await follow_until(response, "前")
        hub.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert hub.exit_code is None
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert await hub.ended() == 0


async def test_shutdown_without_work_ends_at_once_despite_idle_connections(database: Path) -> None:
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="60") as hub:
        client = await hub.client()
        assert (await client.get("/api/health")).status == 200
        # a used keep-alive connection, and one that never sent anything
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        try:
            hub.signal(signal.SIGTERM)
            assert await hub.ended(30) == 0
        finally:
            writer.close()
        assert "Traceback" not in hub.errors


async def test_follower_that_does_not_read_does_not_delay_the_shutdown(
    database: Path, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("字" * 10_000)] * 190, stall_after=190)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.5", CHATHUB_REPLY_CHARACTERS="9000000") as hub:
        client, admin = await ready(hub, provider)
        stuck = await hub.client(read_bufsize=1024)
        response = await ask(stuck, admin, "说", conversation_id="c")
        reader = await ask(client, admin, "再说", conversation_id="d")
        async with asyncio.timeout(30):
            seen = 0
            while seen < 190 * 30_000:
                seen += len(await reader.content.readany())
        began = time.monotonic()
        hub.signal(signal.SIGTERM)
        assert (await rest_of(reader))[-1]["status"] == 503
        assert await hub.ended() == 0
        took = time.monotonic() - began
        assert took < 0.5 + 20, f"it took {took:.1f} s"
        response.close()
        assert "Traceback" not in hub.errors
    assert counts(database) == (0, 0)
    with closing(sqlite3.connect(database)) as connection:
        (shortest,) = connection.execute(
            "SELECT min(length(content)) FROM messages WHERE role = 'assistant'"
        ).fetchone()
    assert shortest == 1_900_000


async def test_a_second_signal_changes_nothing(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="30") as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说")
        await follow_until(response, "前")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            hub.signal(number)
            await asyncio.sleep(0.2)
        assert hub.exit_code is None
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert await hub.ended() == 0
        assert "Traceback" not in hub.errors
