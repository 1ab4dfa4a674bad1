"""Idempotency keys: a retried request is attached to the reply of the original request."""

import asyncio
import dataclasses
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, ended, messages_of, opened, read_events, stream, text_of
from conftest import sign_in
from scripted import Provider, chunk, reply

from chathub.clock import Clock
from chathub.config import Config


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def chat(client: TestClient, headers: Headers, key: str | None = None, **body: Any) -> tuple[int, Any]:
    wanted = {"message": "你好", "model": "test-model", **body}
    more = {"Idempotency-Key": key} if key else {}
    async with client.post("/api/chat", json=wanted, headers=headers | more) as response:
        return response.status, await response.json()


async def tokens_used(client: TestClient, headers: Headers) -> int:
    return int((await (await client.get("/api/stats", headers=headers)).json())["tokens_used"])


async def test_repeat_after_the_end_gets_the_stored_reply_and_is_not_charged_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    _, first = await chat(client, user, "k1")
    used = await tokens_used(client, user)
    _, second = await chat(client, user, "k1")
    same = ("conversation_id", "message_id", "response", "model", "usage", "cost", "finish_reason")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert len(provider.bodies) == 1 and await tokens_used(client, user) == used == 10
    assert len(await messages_of(client, user, first["conversation_id"])) == 2


async def test_header_and_field_are_the_same_idempotency_key_also_for_a_stream(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    _, first = await chat(client, user, "k2")
    events = await stream(client, user, client_message_id="k2", resumable=False)
    assert text_of(events) == first["response"] and events[0]["message_id"] == first["message_id"]
    assert len(provider.bodies) == 1


async def test_repeat_during_the_reply_follows_the_running_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    first = asyncio.create_task(stream(client, user, client_message_id="k3", conversation_id="c"))
    async with asyncio.timeout(30):
        while not provider.bodies:
            await asyncio.sleep(0.01)
    second = asyncio.create_task(stream(client, user, client_message_id="k3", conversation_id="c"))
    await asyncio.sleep(0.1)
    provider.gate.set()
    one, two = await first, await second
    assert text_of(one) == text_of(two) == "前后" and one[0] == two[0] and one[-1] == two[-1]
    assert len(provider.bodies) == 1 and len(await messages_of(client, user, "c")) == 2


@pytest.mark.parametrize("conversation_id", [None, "given"])
async def test_concurrent_repeats_are_one_turn(
    client: TestClient, user: Headers, provider: Provider, conversation_id: str | None
) -> None:
    provider.script = provider.stream(reply("好"), pause=0.02)
    answers = await asyncio.gather(
        *(chat(client, user, "storm", conversation_id=conversation_id) for _ in range(12))
    )
    assert {status for status, _ in answers} == {200}
    assert len({answer["message_id"] for _, answer in answers}) == 1
    assert len(provider.bodies) == 1
    assert len(await (await client.get("/api/conversations", headers=user)).json()) == 1


async def test_repeat_after_a_lost_connection_gets_the_whole_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    body = {"message": "hi", "model": "test-model", "client_message_id": "lost"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        await response.content.readline()
        response.close()
    provider.gate.set()
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        events = await read_events(response)
    assert text_of(events) == "前后" and len(provider.bodies) == 1


async def test_same_idempotency_key_with_another_body_gets_409(client: TestClient, user: Headers) -> None:
    await chat(client, user, "k4")
    for change in (
        {"message": "别的"},
        {"temperature": 1},
        {"conversation_id": "other"},
        {"model": "gpt-4o"},
    ):
        status, body = await chat(client, user, "k4", **change)
        assert status == 409 or change == {"model": "gpt-4o"} and status == 400, body
    assert len(await (await client.get("/api/conversations", headers=user)).json()) == 1


async def test_repeat_may_differ_only_in_delivery_options(client: TestClient, user: Headers) -> None:
    _, first = await chat(client, user, "k5", temperature=1)
    status, again = await chat(client, user, "k5", temperature=1.0, on_disconnect="stop", resumable=True)
    assert status == 200 and again["message_id"] == first["message_id"]


async def test_idempotency_keys_are_per_user(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    _, mine = await chat(client, user, "same")
    _, theirs = await chat(client, admin, "same")
    assert mine["message_id"] != theirs["message_id"] and len(provider.bodies) == 2


async def test_turn_that_failed_before_any_output_may_be_retried(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.answer(500, {"error": {"message": "boom"}})
    assert (await chat(client, user, "retry"))[0] == 502
    provider.script = provider.stream(reply("好"))
    status, body = await chat(client, user, "retry")
    assert status == 200 and body["response"] == "好"


async def test_turn_that_failed_after_some_output_is_not_retried(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("半句")], cut=True)
    status, first = await chat(client, user, "half")
    provider.script = provider.stream(reply("好"))
    again_status, again = await chat(client, user, "half")
    assert status == again_status == 502 and first["message_id"] == again["message_id"]
    assert len(provider.bodies) == 1


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
HALF_A_CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}}


@pytest.mark.parametrize(
    "output",
    [chunk(reasoning_content="想"), chunk(tool_calls=[HALF_A_CALL])],
    ids=["thoughts", "half a call"],
)
async def test_reasoning_and_partial_tool_calls_count_as_output(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, output: bytes
) -> None:
    await add_model(client, admin, provider.base_url, "tool-model", supports_function_calling=True)
    provider.script = provider.stream([output], cut=True)
    wanted = {"model": "tool-model", "tools": [TOOL]}
    _, first = await chat(client, user, "half", **wanted)
    used = await tokens_used(client, user)
    provider.script = provider.stream(reply("好"))
    status, again = await chat(client, user, "half", **wanted)
    assert status == 502 and first["message_id"] == again["message_id"]
    assert len(provider.bodies) == 1 and await tokens_used(client, user) == used > 0


async def test_turn_disconnected_before_any_output_may_be_retried(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """The disconnect stopped the reply, as the request wanted: there was no output and no usage."""
    provider.script = provider.hang()
    wanted = {"conversation_id": "c", "client_message_id": "lost", "on_disconnect": "stop"}
    (await opened(client, user, '"start"', **wanted)).close()
    assert (await ended(client, user, "c"))["finish_reason"] == "disconnected"
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    (await opened(client, user, **wanted)).close()
    first = await ended(client, user, "c")
    # now there was output
    again = await stream(client, user, **wanted)
    assert again[0]["message_id"] == first["id"] and text_of(again) == "前"
    assert len(provider.bodies) == 2


async def test_turn_that_the_user_stopped_is_not_retried(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.hang()
    wanted = {"conversation_id": "c", "client_message_id": "stopped"}
    await opened(client, user, '"start"', **wanted)
    await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=user)
    provider.script = provider.stream(reply("好"))
    again = await stream(client, user, **wanted)
    assert again[-1]["finish_reason"] == "stopped" and len(provider.bodies) == 1


async def test_turn_interrupted_by_a_restart_before_any_output_may_be_retried(
    connect: Any, config: Config, provider: Provider
) -> None:
    other = dataclasses.replace(config, database=config.database.with_name("other.db"))
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    wanted = {"conversation_id": "c", "client_message_id": "again"}
    provider.script = provider.hang()
    await opened(client, admin, '"start"', **wanted)
    await client.close()
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    assert (await messages_of(client, admin, "c"))[1]["status"] == "interrupted"
    provider.script = provider.stream(reply("好"))
    assert text_of(await stream(client, admin, **wanted)) == "好"


async def test_repeat_gets_the_stored_reply_although_the_model_is_disabled(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    _, first = await chat(client, user, "k")
    models = await (await client.get("/api/models", headers=admin)).json()
    (model_id,) = [model["id"] for model in models if model["model_name"] == "test-model"]
    response = await client.put(f"/api/models/{model_id}", json={"is_active": False}, headers=admin)
    assert response.status == 200
    assert (await chat(client, user, "new"))[0] == 400
    status, again = await chat(client, user, "k")
    assert status == 200 and again["message_id"] == first["message_id"]


# --- regeneration and editing


async def again(client: TestClient, headers: Headers, message_id: int, **body: Any) -> Any:
    path = f"/api/messages/{message_id}/regenerate"
    async with client.post(path, json=body, headers=headers) as response:
        return await read_events(response) if response.status == 200 else response.status


async def test_regeneration_is_idempotent_whichever_model_replied(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    """By then the newest reply, and with it the default model, is another one."""
    async with Provider() as broken:
        await add_model(client, admin, broken.base_url, "first-model", fallback_model="test-model")
        start = (await stream(client, user, model="first-model"))[0]
        broken.script = broken.answer(500, {"error": {"message": "down"}})
        first = await again(client, user, start["user_message_id"], client_message_id="k")
        assert (first[0]["model"], first[-1]["model"]) == ("first-model", "test-model")
        second = await again(client, user, start["user_message_id"], client_message_id="k")
    assert (second[0], second[-1]) == (first[0], first[-1]) and len(provider.bodies) == 1


async def test_idempotency_key_is_bound_to_one_message_and_one_operation(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    one, two = [(await stream(client, user, text))[0] for text in ("一", "二")]
    assert (await again(client, user, one["message_id"], client_message_id="k"))[-1]["type"] == "end"
    assert await again(client, user, two["message_id"], client_message_id="k") == 409
    assert (await chat(client, user, "k"))[0] == 409
    body = {"content": "一", "client_message_id": "k"}
    path = f"/api/messages/{one['user_message_id']}"
    assert (await client.put(path, json=body, headers=user)).status == 409
    assert len(provider.bodies) == 3


async def test_idempotency_key_expires_after_a_day(
    connect: Any, config: Config, provider: Provider, tmp_path: Any
) -> None:
    now = [1_800_000_000.0]
    other = dataclasses.replace(config, database=tmp_path / "other.db", token_seconds=10 * 86400)
    client = await connect(other, clock=Clock(seconds=lambda: now[0]))
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    _, first = await chat(client, admin, "day")
    now[0] += 86_000
    assert (await chat(client, admin, "day"))[1]["message_id"] == first["message_id"]
    now[0] += 1_000
    assert (await chat(client, admin, "day"))[1]["message_id"] != first["message_id"]


@pytest.mark.parametrize("key", ["x" * 256, "a\tb"])
async def test_invalid_idempotency_key_gets_400(client: TestClient, user: Headers, key: str) -> None:
    assert (await chat(client, user, key))[0] == 400
    assert (await chat(client, user, client_message_id=key))[0] == 400
