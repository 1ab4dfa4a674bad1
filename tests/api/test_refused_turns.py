"""A refused turn (budget used up, invalid model) stores its text without large parts and is marked
incomplete.
"""

import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, read_events, stream, text_of
from scripted import Provider
from scripted_formats import calls

from chathub.config import Config

PNG = b"\x89PNG\r\n\x1a\n" + b"the tests' own"
IMAGES = ["data:image/png;base64," + b64encode(PNG).decode(), "https://images.example.com/cat.png"]
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "w" * 10_000, "parameters": {"type": "object"}},
}
SHAPE = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": "s" * 10_000}}}
LARGE = {
    "images": {"images": IMAGES},
    "tools": {"tools": [TOOL]},
    "tool_choice": {"tool_choice": {"type": "function", "function": {"name": "w" * 10_000}}},
    "response_format": {"response_format": SHAPE},
}
# reason of the refusal → fields of the request that cause it
REFUSALS: dict[str, dict[str, Any]] = {"no budget": {}, "no such model": {"model": "nonsense"}}
refusals = pytest.mark.parametrize("why", REFUSALS)


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True, supports_function_calling=True)


@pytest.fixture
async def poor(client: TestClient, admin: Headers, user: Headers) -> Headers:
    """A user without any budget."""
    await limit(client, admin, 0)
    return user


async def limit(client: TestClient, admin: Headers, tokens: int) -> None:
    response = await client.put("/api/users/2", json={"usage_limit": tokens}, headers=admin)
    assert response.status == 200


async def again(client: TestClient, headers: Headers, message_id: int, **more: Any) -> Any:
    url = f"/api/messages/{message_id}/regenerate"
    return await client.post(url, json={}, headers={**headers, **more})


def rows(config: Config, sql: str) -> list[Any]:
    with closing(sqlite3.connect(config.database)) as connection:
        return connection.execute(sql).fetchall()


@refusals
@pytest.mark.parametrize("large", LARGE)
async def test_refused_turn_stores_only_its_text_and_is_marked_incomplete(
    client: TestClient, config: Config, poor: Headers, provider: Provider, why: str, large: str
) -> None:
    body = {"system_prompt": "短", "temperature": 0.5, **LARGE[large], **REFUSALS[why]}
    events = await stream(client, poor, message="问题", conversation_id="c", **body)
    assert events[-1]["status"] == (429 if why == "no budget" else 400) and provider.bodies == []
    question, answer = await messages_of(client, poor, "c")
    assert (question["content"], question["images"], question["incomplete"]) == ("问题", [], True)
    assert (answer["status"], answer["incomplete"]) == ("error", False)
    assert rows(config, "SELECT count(*) FROM files") == [(0,)]
    (options,) = rows(config, "SELECT options FROM messages WHERE role = 'user'")[0]
    assert "短" in options and "0.5" in options and len(options) < 100


@refusals
async def test_refused_turn_without_large_parts_is_complete_and_can_be_regenerated(
    client: TestClient, admin: Headers, poor: Headers, provider: Provider, why: str
) -> None:
    body = {"system_prompt": "短", **REFUSALS[why]}
    await stream(client, poor, message="问题", conversation_id="c", **body)
    assert [row["incomplete"] for row in await messages_of(client, poor, "c")] == [False, False]
    await limit(client, admin, 10_000)
    question = (await messages_of(client, poor, "c"))[0]["id"]
    url = f"/api/messages/{question}/regenerate"
    async with client.post(url, json={"model": "test-model"}, headers=poor) as response:
        assert (await read_events(response))[-1]["type"] == "end"
    assert [message["content"] for message in provider.last["messages"]] == ["短", "问题"]


async def test_accepted_turn_stores_everything_and_is_complete(client: TestClient, user: Headers) -> None:
    await stream(client, user, conversation_id="c", images=IMAGES, tools=[TOOL])
    question, answer = await messages_of(client, user, "c")
    assert len(question["images"]) == 2 and not question["incomplete"] and not answer["incomplete"]
    async with await again(client, user, question["id"]) as response:
        assert (await read_events(response))[-1]["type"] == "end"


async def test_incomplete_message_cannot_be_regenerated_but_can_be_edited(
    client: TestClient, admin: Headers, poor: Headers, provider: Provider
) -> None:
    await stream(client, poor, message="看图", conversation_id="c", images=IMAGES, temperature=0.5)
    question, answer = await messages_of(client, poor, "c")
    await limit(client, admin, 100_000)
    for message_id in (question["id"], answer["id"]):
        response = await again(client, poor, message_id, **{"Idempotency-Key": "once"})
        body = await response.json()
        assert response.status == 409 and "修改后重新提问" in body["error"] and not body["success"]
    assert len(await messages_of(client, poor, "c")) == 2 and provider.bodies == []
    url = f"/api/messages/{question['id']}"
    async with client.put(url, json={"content": "不看图了"}, headers=poor) as response:
        assert text_of(await read_events(response)) == "你好，世界"
    assert [row["incomplete"] for row in await messages_of(client, poor, "c")] == [False, False]
    assert provider.last["temperature"] == 0.5


async def test_refused_regeneration_leaves_the_user_message_unchanged(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await stream(client, user, conversation_id="c", images=IMAGES)
    question = (await messages_of(client, user, "c"))[0]["id"]
    await limit(client, admin, 0)
    async with await again(client, user, question) as response:
        assert (await read_events(response))[-1]["status"] == 429
    kept = (await messages_of(client, user, "c"))[0]
    assert not kept["incomplete"] and len(kept["images"]) == 2
    await limit(client, admin, 100_000)
    async with await again(client, user, question) as response:
        assert (await read_events(response))[-1]["type"] == "end"


async def test_refused_tool_results_are_stored_up_to_a_limit_and_can_be_sent_again(
    client: TestClient, config: Config, admin: Headers, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(calls("openai", *((f"call_{n}", "get_weather", {}) for n in range(3))))
    await stream(client, user, conversation_id="c", tools=[TOOL])
    await limit(client, admin, 0)
    given = [{"tool_call_id": f"call_{n}", "content": str(n) * 150_000} for n in range(3)]
    body = {
        "model": "test-model",
        "tool_results": given,
        "conversation_id": "c",
        "system_prompt": "s" * 90_000,
    }
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        assert (await read_events(response))[-1]["status"] == 429
    kept = [row for row in await messages_of(client, user, "c") if row["role"] == "tool"]
    assert [len(row["content"]) for row in kept] == [150_000, 50_000, 0]
    assert all(row["incomplete"] for row in kept)
    lengths = [row[0] for row in rows(config, "SELECT length(options) FROM messages WHERE role = 'tool'")]
    assert lengths[:2] == [0, 0] and lengths[2] > 90_000
    answer = (await messages_of(client, user, "c"))[-1]["id"]
    assert (await again(client, user, answer)).status == 409
    await limit(client, admin, 10_000_000)
    provider.script = provider.stream([])
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        await read_events(response)
    assert [m["content"] for m in provider.last["messages"] if m["role"] == "tool"] == [
        result["content"] for result in given
    ]


async def test_refused_text_of_many_parts_is_stored_up_to_the_length_of_one_message(
    client: TestClient, poor: Headers
) -> None:
    parts = [{"type": "text", "text": str(n) * 150_000} for n in range(3)]
    await stream(client, poor, message=parts, conversation_id="c")  # type: ignore[arg-type]
    question = (await messages_of(client, poor, "c"))[0]
    assert len(question["content"]) == 200_000 and question["incomplete"]


@refusals
async def test_refused_turn_does_not_use_its_idempotency_key(
    client: TestClient, admin: Headers, poor: Headers, provider: Provider, why: str
) -> None:
    body = {"message": "问题", "model": "test-model", "images": IMAGES} | REFUSALS[why]
    headers = {**poor, "Idempotency-Key": "once"}
    async with client.post("/api/chat/stream", json=body, headers=headers) as response:
        assert (await read_events(response))[-1]["type"] == "error"
    await limit(client, admin, 100_000)
    if why == "no such model":
        await add_model(client, admin, provider.base_url, "nonsense", supports_vision=True)
    async with client.post("/api/chat/stream", json=body, headers=headers) as response:
        assert text_of(await read_events(response)) == "你好，世界"
    assert len(provider.bodies) == 1


async def test_refused_whole_reply_stores_no_more_than_a_refused_stream(
    client: TestClient, config: Config, poor: Headers
) -> None:
    status, body, _ = await chat(client, poor, conversation_id="c", images=IMAGES)
    question, answer = await messages_of(client, poor, "c")
    assert (status, body["message_id"], question["incomplete"]) == (429, answer["id"], True)
    assert rows(config, "SELECT count(*) FROM files") == [(0,)]
