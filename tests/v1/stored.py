"""Shared by the tests of stored responses: begin, read, follow, and count what is stored."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers
from scripted import Provider, Script, chunk, reply

from chathub.app_keys import DB

PATH = "/v1/responses"
STORED = {"model": "m", "input": "hi", "store": True}
BACKGROUND = {"model": "m", "input": "hi", "background": True}


async def begun(client: TestClient, headers: Headers, **body: Any) -> dict[str, Any]:
    response = await client.post(PATH, json={**STORED, **body}, headers=headers)
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def got(client: TestClient, headers: Headers, id: str, tail: str = "") -> dict[str, Any]:
    response = await client.get(f"{PATH}/{id}{tail}", headers=headers)
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def events_of(client: TestClient, headers: Headers, id: str, after: int = -1) -> bytes:
    path = f"{PATH}/{id}?stream=true&starting_after={after}"
    async with asyncio.timeout(30), client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def until(client: TestClient, headers: Headers, id: str, ready: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(30):
        while not ready(found := await got(client, headers, id)):
            await asyncio.sleep(0.02)
    return found


def decoded(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream, whose names are their types."""
    blocks = [block.split(b"\n") for block in stream.split(b"\n\n") if block and block[:1] != b":"]
    events = [json.loads(data.removeprefix(b"data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [b"event: " + event["type"].encode() for event in events]
    return events


def text_of(response: Any) -> str:
    parts = [part for item in response["output"] for part in item.get("content") or []]
    return "".join(part["text"] for part in parts)


def waiting(provider: Provider, *texts: str) -> None:
    """The provider sends some text, and the rest when its gate opens."""
    parts = [*map(chunk, texts), *reply("，世界")]
    provider.script = lacking(provider.stream(parts, stall_after=len(texts)))


def lacking(script: Script) -> Script:
    """A provider of chats alone: it has no path of Responses."""

    async def run(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/responses"):
            return web.json_response({"error": {"message": "Not Found"}}, status=404)
        return await script(request)

    return run


def rows(database: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(database)) as connection:
        tables = ("responses", "response_events")
        found = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    return found[0], found[1]


def storage(database: Path) -> tuple[int, int]:
    """What the users store by the triggers, and by the rows of responses."""
    with closing(sqlite3.connect(database)) as connection:
        return storage_in(connection)


def storage_in(connection: sqlite3.Connection) -> tuple[int, int]:
    kept, counted = storage_by_user(connection)
    return sum(kept.values()), sum(counted.values())


def storage_by_user(connection: sqlite3.Connection) -> tuple[dict[int, int], dict[int, int]]:
    """The same for each user that stores something."""
    kept = dict(connection.execute("SELECT id, storage_used FROM users WHERE storage_used <> 0"))
    rows = (
        "user_id, length(input) FROM responses",
        "user_id, length(data) FROM response_events JOIN responses ON responses.id = response_id",
        # an item that is found by its id counts as 40 bytes
        "user_id, 40 FROM response_items",
    )
    counted: Counter[int] = Counter()
    for each in rows:
        for user_id, size in connection.execute(f"SELECT {each}"):
            counted[user_id] += size
    return kept, dict(counted)


async def running(client: TestClient, headers: Headers, provider: Provider, **body: Any) -> str:
    """The id of a response in the background that has said 你好 and waits."""
    waiting(provider, "你好")
    id: str = (await begun(client, headers, background=True, **body))["id"]
    await until(client, headers, id, lambda found: found["output"])
    return id


async def completed(client: TestClient, headers: Headers, provider: Provider, id: str) -> Any:
    provider.gate.set()
    whole = await until(client, headers, id, lambda found: found["status"] != "in_progress")
    assert whole["status"] == "completed" and text_of(whole) == "你好，世界"
    return whole


@asynccontextmanager
async def full_disk(client: TestClient) -> AsyncIterator[None]:
    """Every write fails meanwhile."""
    assert client.app is not None
    db = client.app[DB]
    await db.run_bare(lambda connection: connection.execute("PRAGMA query_only = ON"))
    yield
    await db.run_bare(lambda connection: connection.execute("PRAGMA query_only = OFF"))
