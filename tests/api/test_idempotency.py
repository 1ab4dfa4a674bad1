"""Once is once: a repeated request attaches to the reply that the first one got."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, read_events, stream, text_of
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


async def test_a_repeat_after_the_end_gets_the_stored_reply_and_nothing_is_billed_twice(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    _, first = await chat(client, user, "k1")
    used = await tokens_used(client, user)
    _, second = await chat(client, user, "k1")
    same = ("conversation_id", "message_id", "response", "model", "usage", "cost", "finish_reason")
    assert [first[name] for name in same] == [second[name] for name in same]
    assert len(provider.bodies) == 1 and await tokens_used(client, user) == used == 10
    assert len(await messages_of(client, user, first["conversation_id"])) == 2


async def test_the_header_and_the_field_are_one_key_and_a_stream_attaches_too(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    _, first = await chat(client, user, "k2")
    events = await stream(client, user, client_message_id="k2", resumable=False)
    assert text_of(events) == first["response"] and events[0]["message_id"] == first["message_id"]
    assert len(provider.bodies) == 1


async def test_a_repeat_while_the_reply_is_written_attaches_to_it(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    first = asyncio.create_task(stream(client, user, client_message_id="k3", conversation_id="c"))
    async with asyncio.timeout(5):
        while not provider.bodies:
            await asyncio.sleep(0.01)
    second = asyncio.create_task(stream(client, user, client_message_id="k3", conversation_id="c"))
    await asyncio.sleep(0.1)
    provider.gate.set()
    one, two = await first, await second
    assert text_of(one) == text_of(two) == "前后" and one[0] == two[0] and one[-1] == two[-1]
    assert len(provider.bodies) == 1 and len(await messages_of(client, user, "c")) == 2


@pytest.mark.parametrize("conversation_id", [None, "given"])
async def test_many_repeats_at_once_are_one_turn(
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


async def test_a_repeat_after_a_lost_connection_gets_all_of_it(
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


async def test_the_same_key_with_another_body_is_a_409(client: TestClient, user: Headers) -> None:
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


async def test_only_the_way_of_delivery_may_differ(client: TestClient, user: Headers) -> None:
    _, first = await chat(client, user, "k5", temperature=1)
    status, again = await chat(client, user, "k5", temperature=1.0, on_disconnect="stop", resumable=True)
    assert status == 200 and again["message_id"] == first["message_id"]


async def test_keys_are_per_user(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    _, mine = await chat(client, user, "same")
    _, theirs = await chat(client, admin, "same")
    assert mine["message_id"] != theirs["message_id"] and len(provider.bodies) == 2


async def test_a_turn_that_failed_before_any_output_may_be_asked_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.answer(500, {"error": {"message": "boom"}})
    assert (await chat(client, user, "retry"))[0] == 502
    provider.script = provider.stream(reply("好"))
    status, body = await chat(client, user, "retry")
    assert status == 200 and body["response"] == "好"


async def test_a_turn_that_failed_after_some_output_is_not_asked_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("半句")], cut=True)
    status, first = await chat(client, user, "half")
    provider.script = provider.stream(reply("好"))
    again_status, again = await chat(client, user, "half")
    assert status == again_status == 502 and first["message_id"] == again["message_id"]
    assert len(provider.bodies) == 1


async def test_a_key_lasts_a_day(connect: Any, config: Config, provider: Provider, tmp_path: Any) -> None:
    import dataclasses

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
async def test_an_odd_key_is_refused(client: TestClient, user: Headers, key: str) -> None:
    assert (await chat(client, user, key))[0] == 400
    assert (await chat(client, user, client_message_id=key))[0] == 400
