"""Stopping a reply: at once, only the named one, and with the text that the page still had."""

import asyncio

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model, ended, messages_of, opened, resume, stream, until
from scripted import Provider, reply


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def test_stop_by_message_id_ends_every_followers_stream(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user))
    await until(lambda: len(provider.bodies) == 1)
    (live,) = await active(client, user)
    message_id = live["message_id"]
    others = [asyncio.create_task(resume(client, user, message_id)) for _ in range(3)]
    await asyncio.sleep(0.2)
    response = await client.post("/api/chat/stop", json={"message_id": message_id}, headers=user)
    assert response.status == 200
    # the provider stalls: nothing else would end the reply for two minutes
    await until(lambda: provider.closed == 1)
    for task in others:
        assert (await task)[-1][1]["finish_reason"] == "stopped"
    assert (await running)[-1] == {**(await running)[-1], "type": "end", "finish_reason": "stopped"}


async def test_deleting_an_api_key_stops_the_replies_that_use_it(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    key = {"model_provider": "p_test_model", "api_key": "a-key-that-will-go-0123456789"}
    saved = await (await client.post("/api/apikeys", json=key, headers=user)).json()
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user))
    await until(lambda: len(provider.bodies) == 1)
    assert (await client.delete(f"/api/apikeys/{saved['apikey']['id']}", headers=user)).status == 200
    assert (await running)[-1]["finish_reason"] == "stopped" and provider.closed == 1


@pytest.mark.parametrize("name", ["message_id", "conversation_id"])
@pytest.mark.parametrize("number", [0, 1])
async def test_only_the_named_reply_of_two_is_stopped(
    client: TestClient, user: Headers, provider: Provider, name: str, number: int
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    for place in ("one", "two"):
        await opened(client, user, conversation_id=place)
    named = (await active(client, user))[number]
    response = await client.post("/api/chat/stop", json={name: named[name]}, headers=user)
    assert (await response.json())["message_id"] == named["message_id"]
    (left,) = await active(client, user)
    assert left["message_id"] != named["message_id"]
    assert (await ended(client, user, named["conversation_id"]))["status"] == "stopped"


async def test_running_reply_does_not_fail_over_to_a_deleted_api_key(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    ids = []
    for label, priority in (("first", 2), ("second", 1)):
        key = {"model_provider": "p_test_model", "api_key": f"the-{label}-key-0123456789"}
        body = key | {"label": label, "priority": priority}
        saved = await (await client.post("/api/apikeys", json=body, headers=user)).json()
        ids.append(saved["apikey"]["id"])
    # the provider answers 503 when the gate opens
    provider.script = provider.hang()
    running = asyncio.create_task(stream(client, user))
    await until(lambda: len(provider.bodies) == 1)
    assert (await client.delete(f"/api/apikeys/{ids[1]}", headers=user)).status == 200
    provider.gate.set()
    assert (await running)[-1]["type"] == "error"
    assert [headers["Authorization"] for headers in provider.headers] == ["Bearer the-first-key-0123456789"]


# --- what the page saves


async def test_placeholder_text_of_the_page_is_not_stored(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.hang()
    await opened(client, user, '"start"', conversation_id="c")
    page = {"conversation_id": "c", "content": "对话已被用户停止"}
    for _ in range(2):
        assert (await client.post("/api/chat/save-partial", json=page, headers=user)).status == 200
    kept = await ended(client, user, "c")
    assert (kept["content"], kept["status"]) == ("", "stopped")


async def test_save_partial_does_not_change_a_finished_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前"))
    await stream(client, user, conversation_id="c")
    page = {"conversation_id": "c", "content": "前后"}
    assert (await client.post("/api/chat/save-partial", json=page, headers=user)).status == 200
    kept = (await messages_of(client, user, "c"))[1]
    assert (kept["content"], kept["status"]) == ("前", "done")
