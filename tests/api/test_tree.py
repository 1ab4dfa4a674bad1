"""Messages form a tree: regenerated replies, edited messages, the current branch, and deletion of
subtrees.
"""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import (
    Headers,
    active,
    add_model,
    messages_of,
    opened,
    parse,
    read_events,
    resume,
    stream,
    text_of,
)
from scripted import Provider, reply

CONVERSATION = "tree"


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def say(
    client: TestClient, user: Headers, provider: Provider, question: str, answer: str, **body: Any
) -> Any:
    provider.script = provider.stream(reply(answer))
    return await stream(client, user, question, conversation_id=CONVERSATION, **body)


async def again(client: TestClient, user: Headers, message_id: int, **body: Any) -> list[dict[str, Any]]:
    url = f"/api/messages/{message_id}/regenerate"
    async with client.post(url, json=body, headers=user) as response:
        return await read_events(response)


async def edit(client: TestClient, user: Headers, message_id: int, content: str, **body: Any) -> Any:
    url = f"/api/messages/{message_id}"
    async with client.put(url, json={"content": content, **body}, headers=user) as response:
        return await read_events(response)


async def branch(client: TestClient, user: Headers) -> list[str]:
    return [message["content"] for message in await messages_of(client, user, CONVERSATION)]


async def listed(client: TestClient, user: Headers) -> dict[str, Any]:
    (conversation,) = await (await client.get("/api/conversations", headers=user)).json()
    found: dict[str, Any] = conversation
    return found


async def test_linear_chat_is_a_single_branch(client: TestClient, user: Headers, provider: Provider) -> None:
    await say(client, user, provider, "问一", "答一")
    await say(client, user, provider, "问二", "答二")
    messages = await messages_of(client, user, CONVERSATION)
    assert [m["content"] for m in messages] == ["问一", "答一", "问二", "答二"]
    ids = [m["id"] for m in messages]
    assert [m["parent_id"] for m in messages] == [None, *ids[:-1]]
    assert [m["sibling_ids"] for m in messages] == [[number] for number in ids]
    assert (await listed(client, user))["head_id"] == ids[-1]


async def test_regenerate_adds_a_sibling_reply_to_the_same_message(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问一", "答一")
    await say(client, user, provider, "问二", "答二", system_prompt="S", temperature=0.5)
    old = await messages_of(client, user, CONVERSATION)
    provider.script = provider.stream(reply("另一个答二"))
    events = await again(client, user, old[3]["id"])
    assert text_of(events) == "另一个答二" and events[0]["user_message_id"] == old[2]["id"]
    assert provider.last["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "问一"},
        {"role": "assistant", "content": "答一"},
        {"role": "user", "content": "问二"},
    ]
    assert provider.last["temperature"] == 0.5
    new = await messages_of(client, user, CONVERSATION)
    assert [m["content"] for m in new] == ["问一", "答一", "问二", "另一个答二"]
    assert new[3]["sibling_ids"] == [old[3]["id"], new[3]["id"]] and new[3]["sibling_index"] == 1
    assert (await listed(client, user))["message_count"] == 4


async def test_regenerate_accepts_another_model_and_other_parameters(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "other-model")
    await say(client, user, provider, "问", "答", temperature=0.5)
    message = (await messages_of(client, user, CONVERSATION))[1]
    events = await again(client, user, message["id"], model="other-model", temperature=0)
    assert events[0]["model"] == "other-model" and provider.last["temperature"] == 0
    # without a model in the request, the model of the named reply is used
    await again(client, user, message["id"])
    assert provider.last["model"] == "test-model"


async def test_edited_message_is_a_sibling_with_its_own_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问一", "答一")
    await say(client, user, provider, "问二", "答二")
    await say(client, user, provider, "问三", "答三")
    old = await messages_of(client, user, CONVERSATION)
    provider.script = provider.stream(reply("新答"))
    events = await edit(client, user, old[2]["id"], "改问二")
    assert text_of(events) == "新答"
    assert [m["content"] for m in provider.last["messages"]] == ["问一", "答一", "改问二"]
    assert await branch(client, user) == ["问一", "答一", "改问二", "新答"]
    assert (await listed(client, user))["message_count"] == 4
    new = await messages_of(client, user, CONVERSATION)
    assert new[2]["sibling_ids"] == [old[2]["id"], new[2]["id"]] and new[2]["parent_id"] == old[1]["id"]
    # nothing was overwritten: the old branch is complete
    response = await client.put(
        f"/api/conversations/{CONVERSATION}", json={"head_id": old[2]["id"]}, headers=user
    )
    body = await response.json()
    assert response.status == 200 and body["conversation"]["head_id"] == old[5]["id"]
    assert await branch(client, user) == ["问一", "答一", "问二", "答二", "问三", "答三"]
    assert body["conversation"]["message_count"] == 6


async def test_next_message_continues_the_current_branch(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问一", "答一")
    first = await messages_of(client, user, CONVERSATION)
    await edit(client, user, first[0]["id"], "改问一")
    await client.put(f"/api/conversations/{CONVERSATION}", json={"head_id": first[1]["id"]}, headers=user)
    await say(client, user, provider, "问二", "答二")
    assert [m["content"] for m in provider.last["messages"]] == ["问一", "答一", "问二"]
    assert await branch(client, user) == ["问一", "答一", "问二", "答二"]


async def test_first_message_can_be_edited_and_roots_are_siblings(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问一", "答一")
    (await stream(client, user, "别的对话", conversation_id="elsewhere"))
    old = await messages_of(client, user, CONVERSATION)
    await edit(client, user, old[0]["id"], "改")
    new = await messages_of(client, user, CONVERSATION)
    assert new[0]["parent_id"] is None and new[0]["sibling_ids"] == [old[0]["id"], new[0]["id"]]


async def test_failed_reply_can_be_regenerated(client: TestClient, user: Headers, provider: Provider) -> None:
    provider.script = provider.answer(500, {"error": {"message": "boom"}})
    failed = await stream(client, user, "问", conversation_id=CONVERSATION)
    provider.script = provider.stream(reply("这次好了"))
    events = await again(client, user, failed[0]["message_id"])
    assert text_of(events) == "这次好了"
    assert [m["content"] for m in provider.last["messages"]] == ["问"]
    # the same by the id of the user message
    events = await again(client, user, failed[0]["user_message_id"])
    assert events[0]["model"] == "test-model" and len(await messages_of(client, user, CONVERSATION)) == 2


async def test_deleting_a_message_deletes_its_descendants(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    for number in "一二三":
        await say(client, user, provider, "问" + number, "答" + number)
    messages = await messages_of(client, user, CONVERSATION)
    response = await client.delete(f"/api/messages/{messages[2]['id']}", headers=user)
    body = await response.json()
    assert response.status == 200 and (body["deleted"], body["head_id"]) == (4, messages[1]["id"])
    assert await branch(client, user) == ["问一", "答一"]
    assert (await listed(client, user))["message_count"] == 2
    await say(client, user, provider, "问四", "答四")
    assert [m["content"] for m in provider.last["messages"]] == ["问一", "答一", "问四"]
    await client.delete(f"/api/messages/{messages[0]['id']}", headers=user)
    assert await branch(client, user) == [] and (await listed(client, user))["message_count"] == 0
    await say(client, user, provider, "从头", "好")
    assert await branch(client, user) == ["从头", "好"]


async def test_message_whose_reply_was_deleted_can_be_regenerated(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问一", "答一")
    question, answer = await messages_of(client, user, CONVERSATION)
    await client.delete(f"/api/messages/{answer['id']}", headers=user)
    await say(client, user, provider, "问二", "答二")
    events = await again(client, user, question["id"])
    assert events[-1]["type"] == "end" and events[0]["model"] == "test-model"


async def test_deleting_the_current_reply_selects_its_newest_sibling(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    old = await messages_of(client, user, CONVERSATION)
    provider.script = provider.stream(reply("另一个"))
    events = await again(client, user, old[1]["id"])
    await client.delete(f"/api/messages/{events[0]['message_id']}", headers=user)
    assert await branch(client, user) == ["问", "答"]
    # and deleting outside of the current branch does not change the branch
    provider.script = provider.stream(reply("第三个"))
    await again(client, user, old[1]["id"])
    await client.delete(f"/api/messages/{old[1]['id']}", headers=user)
    assert await branch(client, user) == ["问", "第三个"]


async def test_deleting_a_message_stops_the_reply_below_it(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user, conversation_id=CONVERSATION))
    async with asyncio.timeout(30):
        while not provider.bodies:
            await asyncio.sleep(0.01)
    question = (await messages_of(client, user, CONVERSATION))[0]["id"]
    assert (await client.delete(f"/api/messages/{question}", headers=user)).status == 200
    assert (await running)[-1]["finish_reason"] == "stopped" and provider.closed == 1
    assert await branch(client, user) == []


async def test_usage_remains_after_its_message_is_deleted(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    question = (await messages_of(client, user, CONVERSATION))[0]["id"]
    await client.delete(f"/api/messages/{question}", headers=user)
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["tokens_used"] == 10 and stats["total_messages"] == 0


async def test_messages_of_another_user_are_not_found(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    await stream(client, admin, "别人", conversation_id="admins")
    mine, theirs = await messages_of(client, user, CONVERSATION), await messages_of(client, admin, "admins")
    asked = len(provider.bodies)
    for method, path, body in [
        ("POST", f"/api/messages/{mine[1]['id']}/regenerate", {}),
        ("PUT", f"/api/messages/{mine[0]['id']}", {"content": "改"}),
        ("DELETE", f"/api/messages/{mine[0]['id']}", None),
        ("PUT", f"/api/conversations/{CONVERSATION}", {"head_id": mine[0]["id"]}),
        ("PUT", "/api/conversations/admins", {"head_id": mine[0]["id"]}),
        ("PUT", "/api/conversations/admins", {"head_id": 999999}),
        ("POST", "/api/messages/999999/regenerate", {}),
        ("DELETE", "/api/messages/x", None),
    ]:
        response = await client.request(method, path, json=body, headers=admin)
        assert response.status == 404, (method, path, await response.text())
    assert len(provider.bodies) == asked
    assert await messages_of(client, user, CONVERSATION) == mine
    assert await messages_of(client, admin, "admins") == theirs


async def test_editing_a_reply_or_to_an_empty_message_gets_400(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    messages = await messages_of(client, user, CONVERSATION)
    for message_id, body in [(1, {"content": "改"}), (0, {"content": "  "}), (0, {}), (0, {"content": None})]:
        url = f"/api/messages/{messages[message_id]['id']}"
        assert (await client.put(url, json=body, headers=user)).status == 400
    assert await messages_of(client, user, CONVERSATION) == messages


async def test_conversation_with_a_running_reply_refuses_edit_and_regeneration(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    old = await messages_of(client, user, CONVERSATION)
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user, conversation_id=CONVERSATION))
    async with asyncio.timeout(30):
        while len(provider.bodies) < 2:
            await asyncio.sleep(0.01)
    for method, path, body in [
        ("POST", f"/api/messages/{old[1]['id']}/regenerate", {}),
        ("PUT", f"/api/messages/{old[0]['id']}", {"content": "改"}),
    ]:
        response = await client.request(method, path, json=body, headers=user)
        assert response.status == 409 and "message_id" in await response.json()
    provider.gate.set()
    await running


async def test_regeneration_with_an_idempotency_key_happens_once(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    await say(client, user, provider, "问", "答")
    message_id = (await messages_of(client, user, CONVERSATION))[1]["id"]
    first = await again(client, user, message_id, client_message_id="k")
    second = await again(client, user, message_id, client_message_id="k")
    assert first[0] == second[0] and len(provider.bodies) == 2


async def test_regenerated_and_edited_streams_can_be_resumed(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    start = (await say(client, user, provider, "问", "答"))[0]
    for method, path, body in (
        ("POST", f"/api/messages/{start['message_id']}/regenerate", {"resumable": True}),
        ("PUT", f"/api/messages/{start['user_message_id']}", {"resumable": True, "content": "另问"}),
    ):
        async with client.request(method, path, json=body, headers=user) as response:
            events = parse((await response.read()).decode())
        assert [event_id for event_id, _ in events] == ["0-0", "1-0", "1-0"]
        assert await resume(client, user, events[0][1]["message_id"], "0-0") == events


async def test_reply_continues_while_a_sibling_is_deleted(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    start = (await say(client, user, provider, "问", "答"))[0]
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    path = f"/api/messages/{start['message_id']}/regenerate"
    response = await opened(client, user, path=path)
    assert (await client.delete(f"/api/messages/{start['message_id']}", headers=user)).status == 200
    assert len(await active(client, user)) == 1
    provider.gate.set()
    assert '"finish_reason":"stop"' in (await response.read()).decode()
    assert await branch(client, user) == ["问", "前后"] and provider.closed == 0
