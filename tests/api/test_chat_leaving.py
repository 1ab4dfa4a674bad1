"""Disconnected clients, stopped replies, and conversations whose reply still runs."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream, text_of, until
from conftest import sign_in
from scripted import DONE, Provider, chunk, reply, usage

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


# --- disconnecting, stopping


async def test_client_that_disconnects_does_not_stop_its_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    body = {"message": "hi", "model": "test-model", "conversation_id": "left"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        while "前" not in (await response.content.readline()).decode():
            pass
        response.close()
    await asyncio.sleep(0.1)
    provider.gate.set()
    async with asyncio.timeout(30):
        while (await messages_of(client, user, "left"))[1]["status"] == "streaming":
            await asyncio.sleep(0.02)
    kept = await messages_of(client, user, "left")
    assert (kept[1]["content"], kept[1]["status"]) == ("前后", "done") and provider.closed == 0


async def test_running_reply_is_listed_with_its_text_so_far(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    body = {"message": "hi", "model": "test-model", "conversation_id": "live"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        while "前" not in (await response.content.readline()).decode():
            pass
        kept = await messages_of(client, user, "live")
        assert (kept[1]["content"], kept[1]["status"]) == ("前", "streaming")
        provider.gate.set()
        await response.read()


async def test_stop_closes_the_providers_connection_and_keeps_the_text(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user, conversation_id="stopped"))
    await until(lambda: len(provider.bodies) == 1)
    await asyncio.sleep(0.1)
    wanted = {"conversation_id": "stopped"}
    assert (await client.post("/api/chat/stop", json=wanted, headers=admin)).status == 404
    response = await client.post("/api/chat/stop", json=wanted, headers=user)
    assert response.status == 200
    await until(lambda: provider.closed == 1)
    events = await running
    assert events[-1]["type"] == "end" and events[-1]["finish_reason"] == "stopped"
    kept = await messages_of(client, user, "stopped")
    assert (kept[1]["content"], kept[1]["status"]) == ("前", "stopped")
    assert (await client.post("/api/chat/stop", json=wanted, headers=user)).status == 404


async def test_save_partial_stops_the_reply_and_keeps_one_message(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    """Defect 17, as the page sends the request: with its own message id and text, after the disconnect."""
    provider.script = provider.stream(reply("前半", "后半"), stall_after=1)
    body = {"message": "hi", "model": "test-model", "conversation_id": "partial"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        while "前半" not in (await response.content.readline()).decode():
            pass
        response.close()
    page = {"conversation_id": "partial", "message_id": 1700000000001, "content": "前", "reasoning": ""}
    assert (await client.post("/api/chat/save-partial", json=page, headers=admin)).status == 404
    assert (await client.post("/api/chat/save-partial", json=page, headers=user)).status == 200
    await until(lambda: provider.closed == 1)
    for content in ("对话已被用户停止", "别的文字很长很长", ""):
        await client.post("/api/chat/save-partial", json=page | {"content": content}, headers=user)
    kept = await messages_of(client, user, "partial")
    assert [(m["content"], m["status"]) for m in kept] == [("hi", "done"), ("前半", "stopped")]
    longer = page | {"content": "前半句话"}
    await client.post("/api/chat/save-partial", json=longer, headers=user)
    assert (await messages_of(client, user, "partial"))[1]["content"] == "前半句话"


async def test_save_partial_without_a_conversation_succeeds(client: TestClient, user: Headers) -> None:
    page = {"conversation_id": None, "message_id": 1, "content": "对话已被用户停止", "reasoning": ""}
    assert (await client.post("/api/chat/save-partial", json=page, headers=user)).status == 200
    assert (await client.post("/api/chat/save-partial", json=page)).status == 401


async def test_turn_in_a_conversation_with_a_followed_reply_gets_409(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    first = asyncio.create_task(stream(client, user, conversation_id="busy"))
    await until(lambda: len(provider.bodies) == 1)
    status, body, _ = await chat(client, user, "again", conversation_id="busy")
    assert status == 409 and isinstance(body["message_id"], int)
    provider.gate.set()
    assert (await first)[-1]["type"] == "end"
    assert len(await messages_of(client, user, "busy")) == 2


async def test_reply_without_followers_is_stopped_by_the_next_turn(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """The page's stop button in a first turn only closes the connection."""
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    body = {"message": "hi", "model": "test-model", "conversation_id": "next"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        while "前" not in (await response.content.readline()).decode():
            pass
        response.close()
    await asyncio.sleep(0.1)
    provider.script = provider.stream(reply("新"))
    status, answer, _ = await chat(client, user, "again", conversation_id="next")
    assert status == 200 and answer["response"] == "新"
    kept = await messages_of(client, user, "next")
    assert [(m["content"], m["status"]) for m in kept[1:]] == [
        ("前", "stopped"),
        ("again", "done"),
        ("新", "done"),
    ]
    assert provider.last["messages"][1] == {"role": "assistant", "content": "前"}


async def test_concurrent_turns_in_one_conversation_are_one_turn_and_409s(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好"), pause=0.05)
    answers = await asyncio.gather(*(chat(client, user, conversation_id="race") for _ in range(8)))
    assert sorted(status for status, _, _ in answers).count(200) == 1
    assert {status for status, _, _ in answers} == {200, 409}
    assert len(await messages_of(client, user, "race")) == 2


async def test_deleting_a_conversation_stops_its_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user, conversation_id="gone"))
    await until(lambda: len(provider.bodies) == 1)
    assert (await client.delete("/api/conversations/gone", headers=user)).status == 200
    await until(lambda: provider.closed == 1)
    await running
    assert (await client.get("/api/conversations/gone/messages", headers=user)).status == 404


async def test_disabling_a_user_stops_their_replies(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user))
    await until(lambda: len(provider.bodies) == 1)
    assert (await client.delete("/api/users/2", headers=admin)).status == 200
    await until(lambda: provider.closed == 1)
    assert (await running)[-1]["finish_reason"] == "stopped"


async def test_heartbeats_are_bare_newlines_also_before_the_first_byte(
    connect: Connect, config: Config, provider: Provider
) -> None:

    quick = dataclasses.replace(config, heartbeat_seconds=0.1, database=config.database.with_name("quick.db"))
    client = await connect(quick)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.hang()
    body = {"message": "hi", "model": "test-model"}
    async with client.post("/api/chat/stream", json=body, headers=admin) as response:
        lines = [await response.content.readline() for _ in range(8)]
        assert lines[0].startswith(b'data: {"type":"start"') and lines[1:] == [b"\n"] * 7


async def test_server_shutdown_stores_the_text_so_far(
    connect: Connect, config: Config, provider: Provider
) -> None:

    other = dataclasses.replace(config, database=config.database.with_name("other.db"))
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, admin, conversation_id="kept"))
    await until(lambda: len(provider.bodies) == 1)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(30):
        await client.server.app.shutdown()
        events = await running
        await client.close()
    assert events[-1]["type"] == "error" and events[-1]["status"] == 503
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    kept = await messages_of(client, admin, "kept")
    assert (kept[1]["content"], kept[1]["status"]) == ("前", "interrupted")


async def test_tool_calls_and_unknown_events_do_not_break_a_stream(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    provider.script = provider.stream(
        [b": comment\n\n", chunk(tool_calls=[call]), b"event: ping\ndata: {}\n\n", *reply("好")]
    )
    events = await stream(client, user)
    assert text_of(events) == "好" and events[-1]["type"] == "end"


async def test_usage_repeated_in_every_chunk_is_not_added_up(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = [chunk("好"), usage(10, 1), chunk("的"), usage(10, 2), chunk(finish="stop"), usage(10, 3), DONE]
    provider.script = provider.stream(parts)
    assert (await stream(client, user))[-1]["usage"]["total_tokens"] == 13


async def test_reply_above_the_maximum_length_is_cut(
    connect: Connect, config: Config, provider: Provider
) -> None:

    small = dataclasses.replace(config, reply_characters=10, database=config.database.with_name("small.db"))
    client = await connect(small)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("12345678")] * 1000, pause=0.005)
    events = await stream(client, admin)
    assert text_of(events) == "1234567812" and "过长" in events[-1]["error"]
    await until(lambda: provider.closed == 1)


async def test_tool_call_above_the_maximum_length_is_cut(
    connect: Connect, config: Config, provider: Provider
) -> None:
    small = dataclasses.replace(config, reply_characters=500, database=config.database.with_name("small.db"))
    client = await connect(small)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url, supports_function_calling=True)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "123456789 "}}
    rest = {"index": 0, "function": {"arguments": "123456789 "}}
    parts = [chunk(tool_calls=[call]), *[chunk(tool_calls=[rest])] * 1000]
    provider.script = provider.stream(parts, pause=0.005)
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    events = await stream(client, admin, tools=[tool])
    assert (events[-1]["status"], events[-1]["finish_reason"]) == (502, "size_limit")
    await until(lambda: provider.closed == 1)
