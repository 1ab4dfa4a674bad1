"""Requests that meet a turn while its user message is still being stored."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model, ended, held, messages_of, opened, read_events, stream, until
from conftest import sign_in
from scripted import Provider, reply

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]
HIS_KEY = "a-key-that-will-go-0123456789"
once_or_not = pytest.mark.parametrize("key", [None, "once"])


@pytest.fixture
def logins() -> dict[str, Headers]:
    # the last use of a session is written after a minute, and that write must wait for the lock too
    return {}


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(reply("前", "后"), stall_after=1)


async def save_key(client: TestClient, user: Headers) -> int:
    body = {"model_provider": "p_test_model", "api_key": HIS_KEY}
    saved = await (await client.post("/api/apikeys", json=body, headers=user)).json()
    return int(saved["apikey"]["id"])


async def at_once(config: Config, *requests: Callable[[], Awaitable[Any]]) -> list[asyncio.Task[Any]]:
    """Send requests in this order while the database is locked for writing; then release the lock."""
    tasks = []
    with held(config.database):
        for request in requests:
            tasks.append(asyncio.ensure_future(request()))
            await asyncio.sleep(0.1)
    return tasks


def asking(client: TestClient, user: Headers, **body: Any) -> Callable[[], Awaitable[Any]]:
    """A chat request to send; returns its events, or its status."""

    async def ask() -> Any:
        wanted = {"message": "hi", "model": "test-model", "conversation_id": "c", **body}
        async with asyncio.timeout(30):
            async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
                return await read_events(response) if response.status == 200 else response.status

    return ask


# --- stopped


@once_or_not
@pytest.mark.parametrize("path", ["stop", "save-partial"])
async def test_stop_during_the_beginning_of_a_turn_stops_its_reply(
    client: TestClient, config: Config, user: Headers, provider: Provider, path: str, key: str | None
) -> None:
    provider.script = provider.one_after_the_other(provider.stream(reply("一")), provider.script)
    await stream(client, user, conversation_id="c")
    page = {"conversation_id": "c", "content": ""}
    chat, stop = await at_once(
        config,
        asking(client, user, client_message_id=key),
        lambda: client.post(f"/api/chat/{path}", json=page, headers=user),
    )
    assert (await stop).status == 200
    assert (await chat)[-1]["finish_reason"] == "stopped"
    assert (await messages_of(client, user, "c"))[-1]["status"] == "stopped"
    assert await active(client, user) == []


@once_or_not
@pytest.mark.parametrize("before", ["nothing", "a reply that nobody follows"])
async def test_api_key_deleted_while_a_turn_begins_is_not_used(
    client: TestClient, config: Config, user: Headers, provider: Provider, key: str | None, before: str
) -> None:
    key_id = await save_key(client, user)
    if before != "nothing":
        (await opened(client, user, conversation_id="c")).close()
        await asyncio.sleep(0.1)
    _, chat = await at_once(
        config,
        lambda: client.delete(f"/api/apikeys/{key_id}", headers=user),
        asking(client, user, client_message_id=key),
    )
    assert (await chat)[-1]["type"] in ("end", "error")
    assert await active(client, user) == []
    await until(lambda: provider.closed == len(provider.bodies))


@once_or_not
async def test_api_key_deleted_just_after_the_turn_was_requested_is_not_used(
    client: TestClient, config: Config, user: Headers, provider: Provider, key: str | None
) -> None:
    key_id = await save_key(client, user)
    chat, deleting = await at_once(
        config,
        asking(client, user, client_message_id=key),
        lambda: client.delete(f"/api/apikeys/{key_id}", headers=user),
    )
    assert (await deleting).status == 200
    assert (await chat)[-1]["type"] in ("end", "error")
    await until(lambda: provider.closed == len(provider.bodies))


async def test_api_key_deleted_during_a_gateway_request_is_not_used(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    key_id = await save_key(client, user)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    _, asked = await at_once(
        config,
        lambda: client.delete(f"/api/apikeys/{key_id}", headers=user),
        lambda: client.post("/v1/chat/completions", json=body, headers=user),
    )
    assert (await asked).status == 502 and provider.bodies == []


@once_or_not
@pytest.mark.parametrize("first", ["chat", "disabling"])
async def test_user_disabled_while_a_turn_begins_gets_no_reply(
    client: TestClient,
    config: Config,
    user: Headers,
    admin: Headers,
    provider: Provider,
    key: str | None,
    first: str,
) -> None:
    acts = [
        asking(client, user, client_message_id=key),
        lambda: client.put("/api/users/2", json={"is_active": False}, headers=admin),
    ]
    tasks = await at_once(config, *(acts if first == "chat" else acts[::-1]))
    outcome = await tasks[0 if first == "chat" else 1]
    # stopped if the turn had begun, refused if it had not
    assert outcome == 401 or outcome[-1]["finish_reason"] == "stopped"
    await until(lambda: provider.closed == len(provider.bodies))


@pytest.mark.parametrize("path", ["/api/chat/stream", "/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_user_disabled_while_the_request_body_arrives_gets_401(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, path: str
) -> None:
    rest = asyncio.Event()
    question = b'{"model": "test-model", "max_tokens": 9, '
    question += b'"messages": [{"role": "user", "content": "hi"}]}' if "v1" in path else b'"message": "hi"}'

    async def body() -> AsyncIterator[bytes]:
        yield question[:10]
        await rest.wait()
        yield question[10:]

    headers = user | {"Content-Type": "application/json"}
    asked = asyncio.create_task(client.post(path, data=body(), headers=headers))
    await asyncio.sleep(0.1)
    assert (await client.delete("/api/users/2", headers=admin)).status == 200
    rest.set()
    async with asyncio.timeout(30):
        assert (await asked).status == 401
    assert provider.bodies == []
    kept = await client.get("/api/conversations?user_id=2", headers=admin)
    assert await kept.json() == []


# --- disconnected


async def left_while_held(client: TestClient, config: Config, headers: Headers, **body: Any) -> None:
    with held(config.database):
        task = asyncio.ensure_future(asking(client, headers, **body)())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        # until the server has noticed it
        await asyncio.sleep(0.1)


@once_or_not
async def test_client_that_disconnects_while_its_turn_begins_counts_as_disconnected(
    client: TestClient, config: Config, user: Headers, provider: Provider, key: str | None
) -> None:
    await left_while_held(client, config, user, client_message_id=key, on_disconnect="stop")
    async with asyncio.timeout(30):
        while (await client.get("/api/conversations/c/messages", headers=user)).status == 404:
            await asyncio.sleep(0.02)
    kept = await ended(client, user, "c")
    assert (kept["status"], kept["finish_reason"]) == ("stopped", "disconnected")
    assert provider.closed == len(provider.bodies)


@pytest.mark.parametrize("when", ["while it is begun", "before any text"])
async def test_reply_without_followers_and_without_text_ends_after_the_time_limit(
    connect: Connect, config: Config, provider: Provider, when: str
) -> None:
    other = dataclasses.replace(
        config, unfollowed_seconds=0.5, database=config.database.with_name("other.db")
    )
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.hang()
    if when == "before any text":
        (await opened(client, admin, '"start"', conversation_id="c")).close()
    else:
        await left_while_held(client, other, admin)
    await until(lambda: len(provider.bodies) == 1)
    assert (await messages_of(client, admin, "c"))[-1]["status"] == "streaming"
    assert (await ended(client, admin, "c"))["finish_reason"] == "unfollowed"
    assert provider.closed == 1


# --- concurrent requests


async def test_turn_that_waits_for_the_deletion_of_its_conversation_gets_410(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("一"))
    await stream(client, user, conversation_id="c")
    deleting, chat = await at_once(
        config,
        lambda: client.delete("/api/conversations/c", headers=user),
        asking(client, user),
    )
    assert (await deleting).status == 200 and await chat == 410
    assert await (await client.get("/api/conversations", headers=user)).json() == []
    assert len(provider.bodies) == 1


async def test_concurrent_turn_with_the_same_idempotency_key_and_another_body_gets_409(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好"))
    first, second, third = await at_once(
        config,
        asking(client, user, client_message_id="k"),
        asking(client, user, client_message_id="k", message="别的"),
        asking(client, user, client_message_id="k"),
    )
    assert await second == 409
    assert (await first)[0] == (await third)[0]
    assert len(provider.bodies) == 1 and len(await messages_of(client, user, "c")) == 2
