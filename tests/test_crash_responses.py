"""ChatHub as a killed process while a stored response is generated: what its client saw is on disk."""

import json
import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from crashes import Dictation, again, ready
from processes import ChatHub
from scripted import Provider
from stored import PATH, lacking, storage_in

BODY = {"model": "test-model", "input": "hi", "background": True, "stream": True}


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
