"""Followers of a reply: what happens when the last one disconnects, and how long a reply runs without any."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import (
    Headers,
    active,
    add_model,
    ended,
    joined,
    messages_of,
    opened,
    resume,
    stream,
    text_of,
    until,
)
from conftest import sign_in
from scripted import Provider, chunk, reply, usage

from chathub.app_keys import OUTPUT_RATES, REPLIES, RUNNING
from chathub.billing.output_rates import Lesson
from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def other_server(
    connect: Connect, config: Config, provider: Provider, **settings: Any
) -> tuple[TestClient, Headers]:
    """A server with other settings and the same model; returns a client and its administrator."""
    client = await connect(
        dataclasses.replace(config, database=config.database.with_name("other.db"), **settings)
    )
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    return client, admin


async def test_on_disconnect_stop_stops_the_reply_when_the_last_follower_disconnects(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, user, conversation_id="left", on_disconnect="stop")).close()
    kept = await ended(client, user, "left")
    assert (kept["content"], kept["status"], kept["finish_reason"]) == ("前", "stopped", "disconnected")
    assert provider.closed == 1


async def test_remaining_follower_keeps_the_reply_running(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    wanted = {"message": "hi", "model": "test-model", "conversation_id": "kept", "on_disconnect": "stop"}
    async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
        while "前" not in (await response.content.readline()).decode():
            pass
        (running,) = await active(client, user)
        other = asyncio.create_task(resume(client, user, running["message_id"]))
        await asyncio.sleep(0.1)
        response.close()
    await asyncio.sleep(0.2)
    provider.gate.set()
    assert joined(await other, "content") == "前后"
    assert (await ended(client, user, "kept"))["status"] == "done"


async def test_server_setting_can_stop_replies_whose_client_disconnected(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, on_disconnect="stop")
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, admin, conversation_id="left")).close()
    assert (await ended(client, admin, "left"))["finish_reason"] == "disconnected"


async def test_reply_without_followers_ends_after_the_time_limit(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, unfollowed_seconds=0.5)
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, admin, conversation_id="left")).close()
    kept = await ended(client, admin, "left")
    assert (kept["content"], kept["finish_reason"], provider.closed) == ("前", "unfollowed", 1)
    # a follower that returns in time stops the countdown
    (await opened(client, admin, conversation_id="back")).close()
    (running,) = await active(client, admin)
    back = asyncio.create_task(resume(client, admin, running["message_id"]))
    await asyncio.sleep(0.8)
    provider.gate.set()
    events = await back
    assert (joined(events, "content"), events[-1][1]["finish_reason"]) == ("前后", "stop")


async def test_every_reply_ends_after_the_reply_time_limit(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, reply_seconds=0.5)
    provider.script = provider.stream([chunk("字")] * 1000, pause=0.02)
    events = await stream(client, admin)
    assert events[-1]["status"] == 504 and events[-1]["finish_reason"] == "time_limit"
    kept = await messages_of(client, admin, events[0]["conversation_id"])
    assert kept[1]["content"] == text_of(events) != ""


async def test_follower_that_returned_and_disconnected_again_is_not_counted(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, unfollowed_seconds=0.5)
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, admin, conversation_id="left")).close()
    (running,) = await active(client, admin)
    async with client.get(f"/api/chat/stream/{running['message_id']}", headers=admin) as response:
        await response.content.readline()
        response.close()
    async with asyncio.timeout(30):
        while (found := await active(client, admin)) and found[0]["followers"]:
            await asyncio.sleep(0.02)
    assert (await ended(client, admin, "left"))["finish_reason"] == "unfollowed"


async def test_on_disconnect_of_the_request_overrides_the_server_setting(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, on_disconnect="stop")
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, admin, conversation_id="left", on_disconnect="continue")).close()
    await asyncio.sleep(0.2)
    provider.gate.set()
    assert (await ended(client, admin, "left"))["content"] == "前后" and provider.closed == 0


@pytest.mark.parametrize("said", ["前", ""])
async def test_silent_provider_ends_the_reply_with_504_and_reason_idle(
    connect: Connect, config: Config, provider: Provider, said: str
) -> None:
    client, admin = await other_server(connect, config, provider, idle_seconds=0.4)
    provider.script = provider.stream(reply("前", "后"), stall_after=1) if said else provider.hang()
    events = await stream(client, admin, conversation_id="c")
    assert (events[-1]["status"], events[-1]["finish_reason"]) == (504, "idle")
    kept = (await messages_of(client, admin, "c"))[1]
    assert (kept["content"], kept["status"], kept["finish_reason"]) == (said, "error", "idle")


# --- the usage of a reply that was left


async def rows(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    async with client.get("/api/usage", headers=headers) as response:
        found: list[dict[str, Any]] = (await response.json())["data"]
    return found


@pytest.mark.parametrize("begun", [0, 1])
async def test_reply_that_was_left_is_read_on_for_its_usage_also_before_its_first_token(
    connect: Connect, config: Config, provider: Provider, begun: int
) -> None:
    client, admin = await other_server(connect, config, provider, usage_seconds=30)
    provider.script = provider.stream(reply("前", "后"), stall_after=begun)
    body = {"conversation_id": "left", "on_disconnect": "stop"}
    (await opened(client, admin, "前" if begun else "start", **body)).close()
    (running,) = client.app[REPLIES].of_user(1)  # type: ignore[index]
    await until(lambda: running.has_left)
    assert provider.closed == 0
    provider.gate.set()
    kept = await ended(client, admin, "left")
    assert (kept["content"], kept["finish_reason"]) == ("前" * begun, "disconnected")
    (row,) = await rows(client, admin)
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (7, 3, "reported")


async def test_text_that_comes_after_the_client_left_is_not_kept_but_charged(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client, admin = await other_server(connect, config, provider, usage_seconds=30)
    for _ in range(10):
        client.app[OUTPUT_RATES].learn(Lesson("p_test_model", "test-model", None, True))  # type: ignore[index]
    provider.script = provider.stream([chunk("前"), chunk("后" * 40), chunk(finish="stop")], stall_after=1)
    (await opened(client, admin, conversation_id="left", on_disconnect="stop")).close()
    (running,) = client.app[REPLIES].of_user(1)  # type: ignore[index]
    await until(lambda: running.has_left)
    provider.gate.set()
    assert (await ended(client, admin, "left"))["content"] == "前"
    (row,) = await rows(client, admin)
    # the model does not reason: what was seen, and not the time
    assert (row["completion_tokens"], row["usage_source"]) == (33, "estimated")


async def test_count_from_before_the_first_token_is_no_count_of_what_a_stopped_reply_used(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([usage(7, 0), chunk("后")], stall_after=1)
    await opened(client, user, '"start"', conversation_id="c")
    (running,) = client.app[REPLIES].of_user(2)  # type: ignore[index]
    await until(lambda: running.reply.decoder is not None and running.reply.decoder._usage().prompt_tokens)
    assert (await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=user)).status == 200
    await until(lambda: provider.closed == 1)
    (row,) = await rows(client, user)
    assert (row["prompt_tokens"], row["usage_source"]) == (7, "mixed") and row["completion_tokens"] > 0


@pytest.mark.parametrize("way", ["/api/chat/stop", "/api/chat/save-partial", "delete", "next turn"])
async def test_stop_before_the_first_token_is_charged_with_the_prompt(
    client: TestClient, user: Headers, provider: Provider, way: str
) -> None:
    client.app[RUNNING].usage_seconds = 30  # type: ignore[index]
    provider.script = provider.hang()
    response = await opened(client, user, '"start"', conversation_id="c")
    await until(lambda: len(provider.bodies) == 1)
    if way == "delete":
        await client.delete("/api/conversations/c", headers=user)
    elif way == "next turn":
        response.close()
        (running,) = client.app[REPLIES].of_user(2)  # type: ignore[index]
        await until(lambda: not running.followers)
        provider.script = provider.stream(reply("好"))
        assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
    else:
        assert (await client.post(way, json={"conversation_id": "c"}, headers=user)).status == 200
    await until(lambda: provider.closed == 1)
    row = (await rows(client, user))[-1]
    assert row["prompt_tokens"] > 0 and row["completion_tokens"] > 0
    assert (row["usage_source"], row["end_reason"]) == ("estimated", "stopped")


async def test_next_turn_follows_a_stop_whose_usage_is_still_read(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    client.app[RUNNING].usage_seconds = 30  # type: ignore[index]
    provider.script = provider.stream([chunk("前"), chunk(finish="stop")], stall_after=2)
    response = await opened(client, user, conversation_id="c")
    (running,) = client.app[REPLIES].of_user(2)  # type: ignore[index]
    await until(lambda: running.reply.has_finish)
    assert (await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=user)).status == 200
    provider.script = provider.stream(reply("后"))
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
    assert [message["content"] for message in await messages_of(client, user, "c")][1::2] == ["前", "后"]
    response.close()
