"""Clients of /v1 that leave: the usage is read on for a while, estimated where it does not come, and in the
ledger before the last byte of a response.
"""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from gateway import ONE, TWO, Headers, add, add_pool, by_key, key_of, key_states
from scripted import DONE, Provider, Script, chunk, data, reply, usage
from scripted_formats import anthropic, refusal, replying, streamed, whole

from chathub.app_keys import RUNNING
from chathub.config import Config
from chathub.running.registry import of_user

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}
Row = dict[str, Any]
Leave = Callable[..., Awaitable[None]]
each_way = pytest.mark.parametrize(
    ("path", "protocol"),
    [(CHAT, "openai"), (CHAT, "anthropic"), (CHAT, "gemini"), (MESSAGES, "anthropic"), (MESSAGES, "openai")],
)


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    """A server that reads on for longer than any test lasts."""
    return await connect(replace(config, usage_seconds=30, heartbeat_seconds=0.2))


@pytest.fixture
async def leave(client: TestClient, admin: Headers, provider: Provider) -> Leave:
    """Send a request and leave once the provider has it; with ``after`` once that text has come."""

    async def go(path: str = CHAT, after: bytes = b"", **body: Any) -> None:
        known = len(provider.bodies)
        sending = asyncio.create_task(client.post(path, json=ASKED | body, headers=admin))
        await until(lambda: len(provider.bodies) > known)
        if after:
            response = await sending
            async with asyncio.timeout(30):
                while after not in await response.content.readany():
                    pass
            response.close()
        sending.cancel()
        await until(lambda: any(run.has_left for run in runs(client)))

    return go


def runs(client: TestClient) -> list[Any]:
    assert client.app is not None
    return list(client.app[RUNNING]._runs)


async def ledger(client: TestClient, headers: Headers, attempts: int = 1) -> list[Row]:
    """The entries of the ledger, once there are so many; the newest first."""
    async with asyncio.timeout(30):
        while True:
            async with client.get("/api/usage?limit=50", headers=headers) as response:
                rows: list[Row] = (await response.json())["data"]
            if len(rows) >= attempts:
                return rows
            await asyncio.sleep(0.02)


def tokens(row: Row) -> tuple[int, int, str]:
    return row["prompt_tokens"], row["completion_tokens"], row["usage_source"]


def stalled(provider: Provider, protocol: str) -> Script:
    """A stream that stalls after its first text until the gate opens."""
    return provider.stream(streamed(protocol, "word "), stall_after=3 if protocol == "anthropic" else 1)


def later(provider: Provider, answer: web.Response | Any) -> Script:
    """A whole response when the gate opens."""

    async def run(request: web.Request) -> web.StreamResponse:
        await provider.gate.wait()
        return web.json_response(answer)

    return run


# --- reading on


@each_way
async def test_usage_that_comes_after_the_client_left_is_charged(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = stalled(provider, protocol)
    await leave(path, b"word", stream=True)
    assert (await ledger(client, admin, 0)) == [] and provider.closed == 0
    provider.gate.set()
    (row,) = await ledger(client, admin)
    assert (*tokens(row), row["end_reason"]) == (7, 3, "reported", "disconnected")


@each_way
async def test_whole_reply_that_comes_after_the_client_left_is_charged(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = later(provider, whole(protocol, "hello"))
    await leave(path)
    provider.gate.set()
    (row,) = await ledger(client, admin)
    assert (*tokens(row), row["end_reason"]) == (7, 3, "reported", "disconnected")


async def test_embeddings_that_come_after_the_client_left_are_charged(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave
) -> None:
    await add(client, admin, provider.base_url, name="vectors", model_type="embedding")
    vectors = {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 25, "total_tokens": 25}}
    provider.script = later(provider, vectors)
    await leave(EMBEDDINGS, model="vectors", input="hi")
    provider.gate.set()
    (row,) = await ledger(client, admin)
    assert (*tokens(row), row["kind"]) == (25, 0, "reported", "embedding")


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_reading_on_ends_with_the_usage_though_the_stream_goes_on(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave, path: str
) -> None:
    await add(client, admin, provider.base_url)
    seen = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk("word "))
        await provider.gate.wait()
        await response.write(chunk(finish="stop") + usage(70, 9))
        await seen.wait()
        return response

    provider.script = script
    await leave(path, b"word", stream=True)
    provider.gate.set()
    assert tokens((await ledger(client, admin))[0]) == (70, 9, "reported")
    await until(lambda: provider.closed == 1)


async def test_no_further_attempt_begins_for_a_client_that_left(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave
) -> None:
    await add_pool(client, admin, provider, "openai")

    async def refuse(request: web.Request) -> web.StreamResponse:
        await provider.gate.wait()
        return web.json_response(refusal("openai", 500, "down"), status=500)

    provider.script = by_key({ONE: refuse, TWO: replying(provider, "openai", "two")})
    await leave(CHAT, stream=True)
    provider.gate.set()
    (row,) = await ledger(client, admin)
    # a refusal costs nothing
    assert tokens(row) == (0, 0, "") and [key_of(each) for each in provider.headers] == [ONE]


async def test_client_that_leaves_before_the_request_is_sent_pays_nothing(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    accepted, ended = asyncio.Event(), asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()
        ended.set()

    # a TLS handshake that is never answered
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await add(client, admin, f"https://127.0.0.1:{port}/v1")
        sending = asyncio.create_task(client.post(CHAT, json=ASKED, headers=admin))
        await accepted.wait()
        sending.cancel()
        (row,) = await ledger(client, admin)
        await ended.wait()
    assert (*tokens(row), row["end_reason"]) == (0, 0, "", "disconnected")


# --- what ends it, and what it holds


async def test_client_that_left_holds_its_slot_and_its_reservation_until_it_is_settled(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(replace(config, usage_seconds=30, streams_per_user=1))
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url)
    provider.script = stalled(provider, "openai")
    response = await client.post(CHAT, json=ASKED | {"stream": True}, headers=admin)
    await response.content.readany()
    response.close()
    await until(lambda: any(run.has_left for run in runs(client)))
    refused = await client.post(CHAT, json=ASKED, headers=admin)
    assert (refused.status, refused.headers["X-ChatHub-Code"]) == (429, "too_many_streams")
    provider.gate.set()
    assert tokens((await ledger(client, admin))[0]) == (7, 3, "reported")
    await until(lambda: not runs(client))
    assert (await client.post(CHAT, json=ASKED, headers=admin)).status == 200


@pytest.mark.parametrize("trouble", ["key", "user", "drain"])
async def test_removed_api_key_a_disabled_user_and_the_servers_end_close_what_is_read_on(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave, trouble: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = stalled(provider, "openai")
    await leave(CHAT, b"word", stream=True)
    assert client.app is not None
    if trouble == "key":
        key_id = (await key_states(client, admin))["one"]["id"]
        assert (await client.delete(f"/api/apikeys/{key_id}", headers=admin)).status == 200
    elif trouble == "user":
        await client.app[RUNNING].stop(of_user(1))
    else:
        await client.app[RUNNING].drain(30)
    assert runs(client) == []
    await until(lambda: provider.closed == 1)
    (row,) = await ledger(client, admin)
    prompt, completion, source = tokens(row)
    assert prompt > 0 and completion > 0 and source == "estimated"


# --- estimates


async def test_leaver_pays_by_time_until_the_models_reports_show_that_it_does_not_reason(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url)

    async def left() -> tuple[int, int, str]:
        provider.script = stalled(provider, "openai")
        rows = len(await ledger(client, admin, 0))
        response = await client.post(CHAT, json=ASKED | {"stream": True}, headers=admin)
        await response.content.readany()
        response.close()
        return tokens((await ledger(client, admin, rows + 1))[0])

    prompt, completion, source = await left()
    # 0.2 seconds at least, 200 tokens each while nothing is known, and at most the 99 that are reserved
    assert (prompt > 0, source) == (True, "estimated") and 40 <= completion <= 99
    provider.script = provider.stream(reply("word " * 20, completion=21))
    for _ in range(10):
        async with client.post(CHAT, json=ASKED | {"stream": True}, headers=admin) as response:
            await response.read()
    # what was seen: "word "
    assert (await left())[1] == 2
    # one reply with reasoning that nobody saw
    provider.script = provider.stream(reply("word", completion=900))
    async with client.post(CHAT, json=ASKED | {"stream": True}, headers=admin) as response:
        await response.read()
    assert (await left())[1] > 2


async def test_count_that_begins_anthropics_stream_is_no_count_of_the_output(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url, "anthropic")
    first, *rest = anthropic({"type": "text", "text": "some words of a reply " * 5})
    start = json.loads(first.partition(b"data: ")[2])
    start["message"]["usage"] = {"input_tokens": 70, "output_tokens": 1}
    provider.script = provider.stream([b"event: message_start\n" + data(start), *rest], stall_after=3)
    response = await client.post(MESSAGES, json=ASKED | {"stream": True}, headers=admin)
    async with asyncio.timeout(30):
        while b"words" not in await response.content.readany():
            pass
    response.close()
    prompt, completion, source = tokens((await ledger(client, admin))[0])
    assert (prompt, source) == (70, "mixed") and completion >= 27


@pytest.mark.parametrize("streams", [False, True])
async def test_provider_that_closes_without_a_word_is_asked_once_and_its_prompt_charged(
    client: TestClient, admin: Headers, provider: Provider, streams: bool
) -> None:
    await add_pool(client, admin, provider, "openai")

    async def close(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    provider.script = close
    response = await client.post(CHAT, json=ASKED | {"stream": streams}, headers=admin)
    assert response.status == 502 and len(provider.bodies) == 1
    (row,) = await ledger(client, admin)
    prompt, completion, source = tokens(row)
    assert (prompt > 0, completion, source, row["end_reason"]) == (True, 0, "estimated", "cut")


async def test_attempt_without_a_response_is_charged_its_prompt_beside_the_one_that_replied(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(replace(config, first_byte_seconds=0.3))
    admin = await sign_in(client, "admin", "admin123")
    await add_pool(client, admin, provider, "openai")
    provider.script = by_key({ONE: provider.hang(), TWO: replying(provider, "openai", "two")})
    async with client.post(CHAT, json=ASKED | {"stream": True}, headers=admin) as response:
        assert response.status == 200 and b"two" in await response.read()
    replied, silent = await ledger(client, admin, 2)
    assert tokens(replied) == (7, 3, "reported")
    prompt, completion, source = tokens(silent)
    assert (prompt > 0, completion, source, silent["end_reason"]) == (True, 0, "estimated", "no_response")


# --- before the last byte

LAST = {CHAT: b"[DONE]", MESSAGES: b'"message_stop"'}


@each_way
@pytest.mark.parametrize("supports_streaming", [True, False])
async def test_usage_is_in_the_ledger_before_the_last_event_goes_out(
    client: TestClient,
    config: Config,
    admin: Headers,
    provider: Provider,
    path: str,
    protocol: str,
    supports_streaming: bool,
) -> None:
    """Also of a whole reply that is sent to a client that requested a stream."""
    await add(client, admin, provider.base_url, protocol, supports_streaming=supports_streaming)
    provider.script = replying(provider, protocol, "hello")
    with closing(sqlite3.connect(config.database)) as database:
        async with client.post(path, json=ASKED | {"stream": True}, headers=admin) as response:
            async with asyncio.timeout(30):
                while LAST[path] not in await response.content.readany():
                    pass
            statement = "SELECT prompt_tokens, completion_tokens FROM ledger"
            assert database.execute(statement).fetchall() == [(7, 3)]
            response.close()


async def test_failure_after_heartbeats_is_in_the_ledger_before_its_event_goes_out(
    client: TestClient, config: Config, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    beaten = asyncio.Event()

    async def refuse(_: web.Request) -> web.StreamResponse:
        await beaten.wait()
        return web.json_response({"error": {"message": "no"}}, status=400)

    provider.script = refuse
    with closing(sqlite3.connect(config.database)) as database:
        async with client.post(MESSAGES, json=ASKED | {"stream": True}, headers=admin) as response:
            received = await response.content.readany()
            beaten.set()
            async with asyncio.timeout(30):
                while b'"error"' not in received:
                    received += await response.content.readany()
            assert database.execute("SELECT http_status FROM ledger").fetchall() == [(400,)]


@each_way
async def test_text_and_at_last_the_end_go_out_while_the_database_is_locked(
    client: TestClient, config: Config, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.stream(streamed(protocol, "hello"), stall_after=0)
    response = asyncio.create_task(client.post(path, json=ASKED | {"stream": True}, headers=admin))
    await until(lambda: len(provider.bodies) == 1)
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        provider.gate.set()
        got = b""
        async with asyncio.timeout(30):
            while b"hello" not in got:
                got += await (await response).content.readany()
            assert LAST[path] not in got
            while LAST[path] not in got:
                got += await (await response).content.readany()
        other.execute("ROLLBACK")
    assert tokens((await ledger(client, admin))[0]) == (7, 3, "reported")


async def test_unread_usage_chunk_and_the_end_in_one_write_are_both_forwarded(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    parts = chunk("one ") + chunk("two") + chunk(finish="stop") + usage(7, 3) + DONE
    provider.script = provider.stream([parts])
    asked = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
    async with client.post(CHAT, json=asked, headers=admin) as response:
        assert await response.read() == parts
    assert len(await ledger(client, admin)) == 1


async def test_model_that_is_deleted_while_its_client_is_gone_is_still_charged(
    client: TestClient, admin: Headers, provider: Provider, leave: Leave
) -> None:
    await add(client, admin, provider.base_url, input_price_per_1k=1)
    provider.script = stalled(provider, "openai")
    await leave(CHAT, b"word", stream=True)
    listed = await (await client.get("/api/models", headers=admin)).json()
    (model_id,) = [model["id"] for model in listed if model["model_name"] == "m"]
    assert (await client.delete(f"/api/models/{model_id}", headers=admin)).status == 200
    provider.gate.set()
    (row,) = await ledger(client, admin)
    assert tokens(row) == (7, 3, "reported") and row["cost"] > 0
