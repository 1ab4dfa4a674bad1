"""Regression tests for the defects that an outside security review found."""

import asyncio
import dataclasses
import gzip
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, stream, text_of, until
from conftest import sign_in
from scripted import DONE, Provider, chunk, data, reply, usage

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]
KEY = "sk-canary-of-the-attack-0123456789"


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def answers_meanwhile(client: TestClient, work: "asyncio.Task[Any]") -> float:
    """The longest time in seconds that another request waited while a task ran."""
    longest = 0.0
    while not work.done():
        began = time.monotonic()
        assert (await client.get("/api/health")).status == 200
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.01)
    return longest


async def test_compressed_flood_is_refused_and_delays_no_other_request(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """290 KB of gzip became 300 MB of line ends and blocked the server for a minute."""
    packed = gzip.compress(b"\n" * 50_000_000)

    async def flood(request: web.Request) -> web.Response:
        return web.Response(
            body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "text/event-stream"}
        )

    provider.script = flood
    async with asyncio.timeout(30):
        work = asyncio.create_task(stream(client, user))
        print(f"others waited {await answers_meanwhile(client, work):.3f} s at most")
    assert (await work)[-1]["status"] == 502 and "压缩" in (await work)[-1]["error"]


async def test_compressed_json_reply_is_read_up_to_the_limit(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    whole = b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}'

    def packed(body: bytes) -> Any:
        headers = {"Content-Encoding": "gzip"}
        return provider.answer(200, gzip.compress(body), headers)

    provider.script = packed(whole % b"hi")
    assert text_of(await stream(client, user)) == "hi"
    provider.script = packed(whole % (b"x" * 40_000_000))
    assert "数据过大" in (await stream(client, user))[-1]["error"]


async def test_api_key_in_a_providers_error_does_not_reach_a_v1_client(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await client.post("/api/apikeys", json={"model_provider": "p_test_model", "api_key": KEY}, headers=admin)
    bad = data({"error": {"message": f"Incorrect API key provided: {KEY}"}})
    question = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    for parts in ([bad], [chunk("text"), bad]):
        for path in ("/v1/messages", "/v1/chat/completions"):
            for streamed in (True, False):
                provider.script = provider.stream(parts)
                response = await client.post(path, json=question | {"stream": streamed}, headers=user)
                assert KEY not in await response.text(), (path, streamed, parts)
                keys = await (await client.get("/api/apikeys", headers=admin)).json()
                await client.post(
                    "/api/apikeys", json={"model_provider": "p_test_model", "api_key": KEY}, headers=admin
                )
                assert KEY not in str(keys)


async def test_conversation_deleted_while_a_turn_begins_leaves_no_active_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("前"), *reply("后")], pause=0.3)
    for number in range(25):
        place = f"ghost-{number}"
        asking = asyncio.create_task(stream(client, user, conversation_id=place))
        await asyncio.sleep(number * 0.0004)
        await client.delete(f"/api/conversations/{place}", headers=user)
        listed = {
            c["conversation_id"] for c in await (await client.get("/api/conversations", headers=user)).json()
        }
        active = {
            r["conversation_id"] for r in await (await client.get("/api/chat/active", headers=user)).json()
        }
        assert active <= listed
        asking.cancel()
        await asyncio.wait([asking])


async def test_deleting_an_api_key_stops_only_the_replies_that_use_it(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    async def save(label: str, priority: int) -> int:
        body = {
            "model_provider": "p_test_model",
            "api_key": KEY + label,
            "label": label,
            "priority": priority,
        }
        return int(
            (await (await client.post("/api/apikeys", json=body, headers=admin)).json())["apikey"]["id"]
        )

    first, second = await save("a", 2), await save("b", 1)
    going = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    provider.script = provider.one_after_the_other(provider.answer(500, {}), going)
    running = asyncio.create_task(stream(client, user, conversation_id="c"))
    await until(lambda: len(provider.bodies) == 2)
    await asyncio.sleep(0.1)
    await client.delete(f"/api/apikeys/{first}", headers=admin)
    await asyncio.sleep(0.1)
    assert not running.done() and provider.closed == 0
    await client.delete(f"/api/apikeys/{second}", headers=admin)
    assert (await running)[-1]["finish_reason"] == "stopped" and provider.closed == 1


async def test_absurd_reported_usage_is_replaced_by_an_estimate_and_the_text_is_kept(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("text"), chunk(finish="stop"), usage(2**62, 10**14), DONE])
    events = await stream(client, user)
    assert events[-1]["type"] == "end" and events[-1]["usage"]["estimated"] is True
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert (kept[1]["content"], kept[1]["status"]) == ("text", "done")


async def test_nul_in_a_known_field_is_refused_and_in_an_unknown_field_ignored(
    client: TestClient, admin: Headers
) -> None:
    body = {"model_orders": [{"id": 1, "sort_order": 2}], "zzz": "\0"}
    assert (await client.post("/api/models/batch-update-order", json=body, headers=admin)).status == 200
    body = {"message": [{"type": "text", "text": "a\0b"}], "model": "test-model"}
    response = await client.post("/api/chat", json=body, headers=admin)
    assert response.status == 400 and "message.0.text" in (await response.json())["error"]


async def test_nul_in_a_reply_is_removed(client: TestClient, user: Headers, provider: Provider) -> None:
    provider.script = provider.stream(reply("a\0b"))
    events = await stream(client, user)
    assert text_of(events) == "ab"
    assert (await messages_of(client, user, events[0]["conversation_id"]))[1]["content"] == "ab"


async def test_registered_user_can_log_in_with_any_unicode_name(client: TestClient) -> None:
    for name in ("ﷺ" * 13, "ﷺ" * 11, "ß" * 50):
        body = {"username": name, "email": f"{len(name)}{ord(name[0])}@example.com", "password": "password1"}
        response = await client.post("/api/auth/register", json=body)
        if response.status == 200:
            await sign_in(client, name, "password1")


async def test_password_reset_revokes_access_tokens_too(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    made = await (await client.post("/api/tokens", json={"name": "t"}, headers=user)).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await client.get("/v1/models", headers=headers)).status == 200
    await client.post("/api/users/2/reset-password", headers=admin)
    assert (await client.get("/v1/models", headers=headers)).status == 401


async def test_v1_stream_is_cut_at_the_configured_size(
    connect: Connect, config: Config, provider: Provider
) -> None:
    small = dataclasses.replace(config, reply_characters=1000, database=config.database.with_name("small.db"))
    client = await connect(small)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    question = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    for path in ("/v1/messages", "/v1/chat/completions"):
        provider.script = provider.stream([chunk("x" * 500)] * 2000, pause=0.001)
        closed = provider.closed
        response = await client.post(path, json=question | {"stream": True}, headers=admin)
        assert "too long" in await response.text()
        await until(lambda closed=closed: provider.closed > closed)
