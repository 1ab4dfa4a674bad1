"""ChatHub as a killed process while a stored response is generated: what its client saw is on disk."""

import asyncio
import json
import re
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from chats import add_model
from crashes import Dictation, again, ready, within
from processes import ChatHub
from scripted import Provider, chunk, reply
from stored import PATH, lacking, storage_in

STORED = {"model": "test-model", "input": "hi", "store": True}
BODY = STORED | {"background": True, "stream": True}


def numbers_in(stream: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb'"sequence_number":(\d+)', stream)]


async def whole(client: ClientSession, headers: dict[str, str], id: str, after: int = -1) -> bytes:
    path = f"{PATH}/{id}?stream=true&starting_after={after}"
    async with client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def test_a_killed_server_resumes_every_event_that_its_client_saw(
    database: Path, provider: Provider
) -> None:
    dictation = Dictation(200)
    provider.script = lacking(dictation)
    seen = b""
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        async with client.post(PATH, json=BODY, headers=admin) as response:
            assert response.status == 200, await response.text()
            while seen.count(b"output_text.delta\n") < 60:
                seen += await response.content.readany()
            hub.kill()
    seen = seen[: seen.rindex(b"\n\n") + 2]
    id = re.findall(rb"resp_[0-9a-f]{48}", seen)[0].decode()
    last = numbers_in(seen)[-1]

    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        rest = await whole(client, admin, id, last)
        assert numbers_in(seen + rest) == list(range(len(numbers_in(seen + rest))))
        # the same bytes for what it had seen
        log = await whole(client, admin, id)
        assert log == seen + rest
        final = json.loads(rest[rest.rindex(b"data: ") + 6 :])
        assert final["type"] == "response.failed" and final["response"]["status"] == "failed"
        found: Any = await (await client.get(f"{PATH}/{id}", headers=admin)).json()
        assert found == final["response"]
        said = "".join(part["text"] for part in found["output"][0]["content"])
        assert len(said) > 60 and dictation.text.startswith(said)
        # its reservation is settled, once
        stats = await (await client.get("/api/stats", headers=admin)).json()
        assert stats["today"]["requests"] == 1
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM reservations").fetchone() == (0,)
        used, stored = storage_in(connection)
        assert used == stored


async def test_a_killed_server_leaves_no_call_that_is_not_whole(database: Path, provider: Provider) -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}
    parts = [chunk("前"), chunk(tool_calls=[call])]
    provider.script = lacking(provider.stream(parts, stall_after=len(parts)))
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        tools = [{"type": "function", "name": "f", "parameters": {}}]
        body = STORED | {"model": "caller", "background": True, "tools": tools}
        await add_model(client, admin, provider.base_url, "caller", supports_function_calling=True)
        answer = await (await client.post(PATH, json=body, headers=admin)).json()
        path = f"{PATH}/{answer['id']}"

        async def calls() -> bool:
            return len((await (await client.get(path, headers=admin)).json())["output"]) == 2

        await within(30, calls)
        hub.kill()
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        found = await (await client.get(path, headers=admin)).json()
        assert found["status"] == "failed" and [item["type"] for item in found["output"]] == ["message"]


async def test_a_server_that_ends_keeps_the_text_so_far(database: Path, provider: Provider) -> None:
    provider.script = lacking(Dictation(200))
    seen = b""
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.2") as hub:
        client, admin = await ready(hub, provider)
        async with client.post(PATH, json=BODY, headers=admin) as response:
            while seen.count(b"output_text.delta\n") < 20:
                seen += await response.content.readany()
            hub.signal(signal.SIGTERM)
            seen += await response.read()
        assert await hub.ended() == 0
    assert b"event: response.failed\n" in seen
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        id = re.findall(rb"resp_[0-9a-f]{48}", seen)[0].decode()
        assert await whole(client, admin, id) == seen


def stalling(provider: Provider, *texts: str) -> None:
    """The provider says some texts, and nothing more."""
    provider.script = lacking(provider.stream([chunk(each) for each in texts], stall_after=len(texts)))


async def test_shutdown_lets_a_response_that_ends_in_time_finish(database: Path, provider: Provider) -> None:
    provider.script = lacking(provider.stream(reply("前", "后"), stall_after=1))
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="60") as hub:
        client, admin = await ready(hub, provider)
        waits = asyncio.ensure_future(client.post(PATH, json=STORED, headers=admin))
        body = STORED | {"background": True}
        queued = await (await client.post(PATH, json=body, headers=admin)).json()
        await within(30, partial(_said, client, admin, queued["id"]))
        hub.signal(signal.SIGTERM)
        await within(30, partial(_refuses, client, admin))
        provider.gate.set()
        answer = await waits
        assert answer.status == 200 and (await answer.json())["status"] == "completed"
        assert await hub.ended() == 0
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        found = await (await client.get(f"{PATH}/{queued['id']}", headers=admin)).json()
        assert found["status"] == "completed"


async def _said(client: ClientSession, headers: dict[str, str], id: str) -> bool:
    """Whether a response has said something."""
    return bool((await (await client.get(f"{PATH}/{id}", headers=headers)).json())["output"])


async def _refuses(client: ClientSession, headers: dict[str, str]) -> bool:
    """Whether the server begins no response any more."""
    async with client.post(PATH, json=STORED | {"background": True}, headers=headers) as response:
        return response.status == 503


async def test_shutdown_tells_who_waits_how_far_a_response_came(database: Path, provider: Provider) -> None:
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.2") as hub:
        client, admin = await ready(hub, provider)
        provider.script = lacking(provider.hang())
        silent = asyncio.ensure_future(client.post(PATH, json=STORED, headers=admin))
        await within(30, partial(_asked, provider, 2))
        stalling(provider, "前")
        spoken = asyncio.ensure_future(client.post(PATH, json=STORED, headers=admin))
        queued = await (await client.post(PATH, json=STORED | {"background": True}, headers=admin)).json()
        await within(30, partial(_said, client, admin, queued["id"]))
        hub.signal(signal.SIGTERM)
        # nothing had come: its client may send it again
        refused = await silent
        assert refused.status == 503 and "Retry-After" in refused.headers
        failed = await (await spoken).json()
        assert failed["status"] == "failed" and failed["output"][0]["content"][0]["text"] == "前"
        assert await hub.ended(30) == 0
        assert "Traceback" not in hub.errors
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT status FROM responses").fetchall() == [("failed",), ("failed",)]
        assert connection.execute("SELECT count(*) FROM reservations").fetchone() == (0,)


async def _asked(provider: Provider, times: int) -> bool:
    return len(provider.bodies) >= times


async def test_shutdown_does_not_wait_for_a_database_that_is_locked(
    database: Path, provider: Provider
) -> None:
    stalling(provider, "前")
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="0.2") as hub:
        client, admin = await ready(hub, provider)
        queued = await (await client.post(PATH, json=STORED | {"background": True}, headers=admin)).json()
        await within(30, partial(_said, client, admin, queued["id"]))
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            hub.signal(signal.SIGTERM)
            assert await hub.ended(30) == 0
            assert time.monotonic() - began < 15
        assert "Traceback" not in hub.errors
    async with ChatHub(database) as hub:
        client, admin = await again(hub)
        found = await (await client.get(f"{PATH}/{queued['id']}", headers=admin)).json()
        assert found["status"] == "failed" and found["output"][0]["content"][0]["text"] == "前"
        log = await whole(client, admin, queued["id"])
        assert numbers_in(log) == list(range(len(numbers_in(log))))
