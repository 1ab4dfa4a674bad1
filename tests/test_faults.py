"""Faults of the disk, the database, the clock and providers: each gives a clear error, loses nothing, and the
server continues.
"""

import asyncio
import dataclasses
import gzip
import json
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, read_events, stream, text_of
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, chunk, reply

from chathub.app_keys import DB
from chathub.clock import Clock
from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]


@pytest.fixture
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def refused(response: aiohttp.ClientResponse) -> str:
    """The message of a 503 of the database."""
    body = await response.json()
    assert response.status == 503 and body["success"] is False and body["error"] == body["message"], body
    sentence: str = body["error"]
    return sentence


# --- the disk


async def test_full_disk_gives_503_and_earlier_data_is_there_afterwards(
    tmp_path: Path, provider: Provider
) -> None:
    """The limit of the file size is the kernel's own, set on the running process."""
    database = tmp_path / "chathub.db"
    async with ChatHub(database) as hub:
        client: Any = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url)
        await stream(client, admin, message="之前", conversation_id="c")
        full = max(path.stat().st_size for path in tmp_path.iterdir())
        unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (full, unlimited[1]))
        body = {"message": "满" * 50_000, "model": "test-model", "conversation_id": "c"}
        for path in ("/api/chat", "/api/chat/stream"):
            async with client.post(path, json=body, headers=admin) as response:
                assert "数据库" in await refused(response)
        asked = len(provider.bodies)
        # nothing is stored in part, nothing sent, and requests that write nothing succeed
        assert asked == 1 and len(await messages_of(client, admin, "c")) == 2
        async with client.get("/api/health") as response:
            assert response.status == 200
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)
        assert (await stream(client, admin, message="之后", conversation_id="c"))[-1]["type"] == "end"
        kept = [row["content"] for row in await messages_of(client, admin, "c")]
        assert kept == ["之前", "你好，世界", "之后", "你好，世界"]
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_reply_survives_a_disk_that_is_full_for_a_while(tmp_path: Path, provider: Provider) -> None:
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client: Any = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url)
        long = "长" * 100_000
        provider.script = provider.stream([chunk("前"), *reply(long)], stall_after=1)
        body = {"message": "问", "model": "test-model", "conversation_id": "c"}
        async with client.post("/api/chat/stream", json=body, headers=admin) as response:
            await response.content.readline()
            full = max(path.stat().st_size for path in tmp_path.iterdir())
            unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (full, unlimited[1]))
            provider.gate.set()
            async with asyncio.timeout(30):
                while "is tried again" not in hub.errors:
                    await asyncio.sleep(0.02)
            resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)
            events = (await response.read()).decode()
        assert '"type":"end"' in events
        question, answer = await messages_of(client, admin, "c")
        assert (question["content"], answer["content"]) == ("问", "前" + long)


async def test_read_only_database_gives_503_for_writes(
    client: TestClient, user: Headers, provider: Provider, model: None
) -> None:
    await stream(client, user, conversation_id="c")
    await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA query_only = ON"))
    body = {"message": "x", "model": "test-model", "conversation_id": "c"}
    for method, path in (
        ("POST", "/api/chat"),
        ("POST", "/api/chat/stream"),
        ("DELETE", "/api/conversations/c"),
    ):
        response = await client.request(method, path, json=body, headers=user)
        assert "数据库" in await refused(response)
    assert len(await messages_of(client, user, "c")) == 2 and len(provider.bodies) == 1
    await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA query_only = OFF"))
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"


# --- another process holds the database


async def test_lock_longer_than_the_wait_gives_503_and_the_next_chat_works(
    client: TestClient, user: Headers, provider: Provider, config: Config, model: None
) -> None:
    """The wait is five seconds; shorter here, or the test would be slow."""
    await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA busy_timeout = 50"))
    other = sqlite3.connect(config.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    status, body, _ = await chat(client, user)
    assert status == 503 and "数据库" in body["error"] and provider.bodies == []
    assert (await client.get("/api/conversations", headers=user)).status == 200
    other.execute("ROLLBACK")
    other.close()
    assert (await chat(client, user))[0] == 200


async def test_database_lock_at_the_end_of_a_reply_loses_none_of_it(
    client: TestClient, user: Headers, provider: Provider, config: Config, model: None
) -> None:
    await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA busy_timeout = 50"))
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    body = {"message": "问", "model": "test-model", "conversation_id": "c"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        await response.content.readline()
        other = sqlite3.connect(config.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        provider.gate.set()
        await asyncio.sleep(0.3)
        other.execute("ROLLBACK")
        other.close()
        assert (await read_events(response))[-1]["type"] == "end"
    assert [row["content"] for row in await messages_of(client, user, "c")] == ["问", "前后"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/embeddings"])
async def test_gateway_usage_during_a_database_lock_is_charged_and_nothing_stays_reserved(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    config: Config,
    model: None,
    path: str,
) -> None:
    await add_model(client, admin, provider.base_url, name="vectors", model_type="embedding")
    await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA busy_timeout = 50"))
    whole = {"data": [{"embedding": [0.5]}], "choices": [{"message": {"content": "h"}}]}
    asked = asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.set()
        await provider.gate.wait()
        return web.json_response(whole | {"usage": {"prompt_tokens": 7, "completion_tokens": 2}})

    provider.script = slowly
    question = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "input": "x"}
    body = question | {"model": "vectors" if "embed" in path else "test-model"}
    asking = asyncio.create_task(client.post(path, json=body, headers=user))
    await asked.wait()
    other = sqlite3.connect(config.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    provider.gate.set()
    await asyncio.sleep(0.4)
    other.execute("ROLLBACK")
    other.close()
    assert (await asking).status == 200
    (row,) = (await (await client.get("/api/usage", headers=user)).json())["data"]
    assert row["prompt_tokens"] == 7
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["budgets"][0]["reserved"] == 0


# --- the clock


class Hand:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0
        self.clock = Clock(lambda: self.seconds)


@pytest.mark.parametrize(
    "jumps", [(-86400 * 30,), (86400 * 3,), (86400 * 3650, -86400 * 3650), (-0.5, -0.5, -0.5)]
)
async def test_chat_works_after_a_clock_jump(
    connect: Connect, provider: Provider, jumps: tuple[float, ...]
) -> None:
    """Small machines start without the time and get it later; a correction may set it back."""
    hand = Hand()
    client = await connect(clock=hand.clock)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    await stream(client, admin, conversation_id="c")
    for jump in jumps:
        hand.seconds += jump
        admin = await sign_in(client, "admin", "admin123")
        assert (await stream(client, admin, conversation_id="c"))[-1]["type"] == "end"
    kept = await messages_of(client, admin, "c")
    assert [row["role"] for row in kept] == ["user", "assistant"] * (len(jumps) + 1)
    assert [row["id"] for row in kept] == sorted(row["id"] for row in kept)
    assert (await client.get("/api/stats", headers=admin)).status == 200


async def test_cooldown_set_by_a_wrong_clock_does_not_last_for_years(
    connect: Connect, provider: Provider
) -> None:
    hand = Hand()
    client = await connect(clock=hand.clock)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    body = {"model_provider": "p_test_model", "api_key": "sk-of-the-clock-0123456789abcdef"}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == "p_test_model"]
    await client.put(f"/api/providers/{row['id']}", json={"needs_key": True}, headers=admin)
    hand.seconds += 86400 * 3650
    admin = await sign_in(client, "admin", "admin123")
    good, provider.script = provider.script, provider.answer(429, {"error": {"message": "slow down"}})
    assert (await chat(client, admin))[0] == 429
    provider.script = good
    hand.seconds -= 86400 * 3650
    admin = await sign_in(client, "admin", "admin123")
    status, answer, _ = await chat(client, admin)
    assert status == 200, answer


# --- providers that send garbage


def raw(body: bytes, content_type: str = "text/event-stream", **headers: str) -> Any:
    async def run(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type, **headers})
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    return run


async def endless_head(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: " + b"x" * 10_000_000)
    await asyncio.sleep(0.1)
    request.transport.close()
    return web.Response()


async def many_headers(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        request.transport.write(b"X-%d: y\r\n" % number)
    await asyncio.sleep(0.1)
    request.transport.close()
    return web.Response()


async def no_http(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x16\x03\x01\x02\x00" + bytes(range(256)) * 10)
    request.transport.close()
    return web.Response()


GARBAGE: dict[str, Any] = {
    "binary": raw(bytes(range(256)) * 1000),
    "binary as events": raw(b"data: " + bytes(range(128, 256)) * 100 + b"\n\n"),
    "binary as JSON": raw(bytes(range(256)), "application/json"),
    "nothing": raw(b""),
    "nothing as JSON": raw(b"", "application/json"),
    "a page": raw(b"<!doctype html><html><body>It works!</body></html>", "text/html"),
    "an image": raw(b"\x89PNG\r\n\x1a\n" + bytes(1000), "image/png"),
    "a packed flood of JSON": raw(
        gzip.compress(b" " * 60_000_000), "application/json", **{"Content-Encoding": "gzip"}
    ),
    "half a packing": raw(
        gzip.compress(b'{"choices":[]}')[:12], "application/json", **{"Content-Encoding": "gzip"}
    ),
    "an unknown packing": raw(b"x", "application/json", **{"Content-Encoding": "zstd"}),
    "a head without end": endless_head,
    "a hundred thousand headers": many_headers,
    "no HTTP": no_http,
    "a line of five megabytes": raw(b"data: " + b"x" * 5_000_000),
    "a million empty lines": raw(b"\n" * 1_000_000),
    "comments only": raw(b": keep-alive\n\n" * 10_000),
    "other JSON": raw(b'data: {"hello": "world"}\n\n' * 50),
    "JSON of other types": raw(b'data: {"choices": {"0": [1]}}\n\ndata: [1]\n\ndata: 5\n\ndata: null\n\n'),
    "deep JSON": raw(b"data: " + b"[" * 200_000 + b"\n\n"),
    "deep JSON at once": raw(b'{"choices":' * 100_000, "application/json"),
    "an encoding that is none": raw(b'{"choices":[]}', "application/json; charset=nonsense"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_from_a_provider_is_a_clear_error_and_the_next_chat_works(
    client: TestClient, user: Headers, provider: Provider, model: None, name: str
) -> None:
    good, provider.script = provider.script, GARBAGE[name]
    async with asyncio.timeout(30):
        events = await stream(client, user, message="不能丢", conversation_id="c")
        status, body, _ = await chat(client, user, message="也不能丢", conversation_id="c")
    assert [event["type"] for event in events] == ["start", "error"] and events[-1]["status"] == 502, events
    assert events[-1]["error"] and events[-1]["code"].startswith("upstream_")
    assert status == 502 and body["error"]
    assert not any(word in events[-1]["error"] for word in ("Traceback", "aiohttp", "Error", "127.0.0.1"))
    provider.script = good
    assert (await stream(client, user, message="好了吗", conversation_id="c"))[-1]["type"] == "end"
    kept = [(row["content"], row["status"]) for row in await messages_of(client, user, "c")]
    assert kept[::2] == [("不能丢", "done"), ("也不能丢", "done"), ("好了吗", "done")]
    assert [status for _, status in kept[1::2]] == ["error", "error", "done"]


async def test_event_line_of_a_megabyte_is_decoded(
    client: TestClient, user: Headers, provider: Provider, model: None
) -> None:
    provider.script = provider.stream(reply("长" * 340_000))
    events = await stream(client, user)
    assert events[-1]["type"] == "end" and text_of(events) == "长" * 340_000


async def test_incomplete_character_at_the_end_loses_no_complete_one(
    client: TestClient, user: Headers, provider: Provider, model: None
) -> None:
    cut = b'data: {"choices":[{"index":0,"delta":{"content":"' + "好".encode()[:2]
    provider.script = provider.stream([chunk("前面"), cut])
    events = await stream(client, user, conversation_id="c")
    assert events[-1]["type"] == "error" and text_of(events) == "前面"
    broken = b'data: {"choices":[{"index":0,"delta":{"content":"a' + "好".encode()[:2] + b'"}}]}\n\n'
    provider.script = provider.stream([chunk("前面"), broken, *reply("后面")])
    events = await stream(client, user, conversation_id="c")
    said = text_of(events)
    assert events[-1]["type"] in ("end", "error") and said.startswith("前面")
    said.encode()
    kept = await messages_of(client, user, "c")
    assert kept[-1]["content"] == said and json.dumps(kept)


@pytest.mark.parametrize("endless", [b": ping\n\n", b"x", b"\n", b'data: {"choices":[]}\n\n'])
async def test_endless_body_ends_at_the_time_limit_and_can_be_stopped(
    connect: Connect, config: Config, provider: Provider, endless: bytes
) -> None:
    client = await connect(dataclasses.replace(config, reply_seconds=1.0))
    user = await sign_in(client, "user", "user123")
    await add_model(client, await sign_in(client, "admin", "admin123"), provider.base_url)
    good, provider.script = provider.script, provider.stream([chunk("前"), *[endless] * 100_000], pause=0.001)
    async with asyncio.timeout(30):
        events = await stream(client, user, conversation_id="c")
    assert events[-1]["type"] == "error" and events[-1]["status"] in (502, 504) and text_of(events) == "前"
    await asyncio.sleep(0.1)
    assert provider.closed == 1, "the connection is not read any further"
    provider.script = good
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
