"""Shared by the chat tests: a model at the scripted provider, and reading ChatHub's own streams."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

Headers = dict[str, str]
# an event's id and its payload
Event = tuple[str, dict[str, Any]]


async def add_model(
    client: TestClient, admin: Headers, base_url: str, name: str = "test-model", **fields: Any
) -> None:
    """Add a model of a provider at ``base_url`` that needs no API key; its prices are those of GPT-4o."""
    key = "p_" + name.replace("-", "_").replace(".", "_").lower()
    provider = {
        "provider_key": key,
        "display_name": "测试商",
        "default_base_url": base_url,
        "needs_key": False,
    }
    response = await client.post("/api/providers", json=provider, headers=admin)
    assert response.status == 200, await response.text()
    model = {"model_name": name, "display_name": name, "model_provider": key}
    prices = {"input_price_per_1k": 0.0025, "output_price_per_1k": 0.01}
    response = await client.post("/api/models", json=model | prices | fields, headers=admin)
    assert response.status == 200, await response.text()


async def read_events(response: ClientResponse) -> list[dict[str, Any]]:
    """All events of a stream, read as the front end reads them: each non-empty line is one of JSON."""
    assert response.status == 200, await response.text()
    events = []
    for line in (await response.read()).decode().split("\n"):
        if line.strip():
            assert line.startswith("data: {"), line
            events.append(json.loads(line[6:]))
    return events


async def stream(
    client: TestClient, headers: Headers, message: str = "你好", **body: Any
) -> list[dict[str, Any]]:
    wanted = {"message": message, "model": "test-model", **body}
    async with client.post("/api/chat/stream", json=wanted, headers=headers) as response:
        return await read_events(response)


async def opened(
    client: TestClient, headers: Headers, wanted: str = "前", *, path: str = "/api/chat/stream", **body: Any
) -> ClientResponse:
    """Open a stream and read it up to a text; the stream stays open."""
    asked = {"message": "你好", "model": "test-model", **body} if path == "/api/chat/stream" else body
    response = await client.post(path, json=asked, headers=headers)
    assert response.status == 200, await response.text()
    async with asyncio.timeout(30):
        while wanted not in (line := (await response.content.readline()).decode()):
            assert line, "the stream ended early"
    return response


def text_of(events: list[dict[str, Any]], kind: str = "content") -> str:
    return "".join(event["content"] for event in events if event["type"] == kind)


async def messages_of(client: TestClient, headers: Headers, conversation_id: str) -> list[dict[str, Any]]:
    response = await client.get(f"/api/conversations/{conversation_id}/messages", headers=headers)
    assert response.status == 200, await response.text()
    found: list[dict[str, Any]] = await response.json()
    return found


async def chat(client: TestClient, headers: Headers, message: str = "你好", **body: Any) -> Any:
    wanted = {"message": message, "model": "test-model", **body}
    async with client.post("/api/chat", json=wanted, headers=headers) as response:
        return response.status, await response.json(), response.headers


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def active(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await (await client.get("/api/chat/active", headers=headers)).json()
    return found


async def ended(client: TestClient, headers: Headers, conversation_id: str) -> dict[str, Any]:
    """The conversation's last message, once its reply has ended."""
    async with asyncio.timeout(30):
        while (kept := await messages_of(client, headers, conversation_id))[-1]["status"] == "streaming":
            await asyncio.sleep(0.02)
    return kept[-1]


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Lock the database for writing; requests sent meanwhile wait at their first write."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def parse(raw: str) -> list[Event]:
    """Events with their ids, as an EventSource reads them."""
    events = []
    for block in raw.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "data" in lines:
            events.append((lines.get("id", ""), json.loads(lines["data"])))
    return events


async def resume(
    client: TestClient, headers: Headers, message_id: int, last: str | None = None, *, by_query: bool = False
) -> list[Event]:
    url, more = f"/api/chat/stream/{message_id}", {}
    if last is not None and by_query:
        url += f"?last_event_id={last}"
    elif last is not None:
        more = {"Last-Event-ID": last}
    async with client.get(url, headers=headers | more) as response:
        assert response.status == 200, await response.text()
        return parse((await response.read()).decode())


def joined(events: list[Event], kind: str) -> str:
    return text_of([event for _, event in events], kind)


async def resumable(client: TestClient, user: Headers, **body: Any) -> list[Event]:
    """A whole resumable stream."""
    wanted = {"message": "hi", "model": "test-model", "resumable": True, **body}
    async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
        return parse((await response.read()).decode())
