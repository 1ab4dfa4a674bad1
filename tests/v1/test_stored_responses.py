"""Stored responses: begun, left, resumed, cancelled, continued, deleted and removed."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, official, spent, token
from scripted import Provider, reply
from scripted_formats import PROTOCOLS, replying
from stored import (
    BACKGROUND,
    PATH,
    STORED,
    begun,
    decoded,
    events_of,
    got,
    lacking,
    rows,
    storage,
    text_of,
    until,
    waiting,
)

from chathub.config import Config

openai = official("openai")

Hub = Callable[..., Awaitable[Any]]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


@pytest.fixture
async def hub(client: TestClient, admin: Headers) -> AsyncIterator[Any]:
    """OpenAI's client with an access token."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
    key = await token(client, admin)
    base_url = str(client.make_url("/v1"))
    made = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30, http_client=http)
    yield made
    await made.close()


# stored or not


async def test_nothing_is_stored_unless_the_request_asks(
    client: TestClient, admin: Headers, config: Config
) -> None:
    for body in ({"store": False}, {"store": None}):
        response = await begun(client, admin, **body)
        assert response["store"] is False
        unknown = await client.get(f"{PATH}/{response['id']}", headers=admin)
        assert unknown.status == 404
        assert "store: true" in (await unknown.json())["error"]["message"]
    assert rows(config.database) == (0, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_stored_response_is_the_same_when_it_is_read_again(
    client: TestClient, admin: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol, "other", provider="other")
    provider.script = lacking(replying(provider, protocol, "你好，世界"))
    response = await begun(client, admin, model="other", metadata={"a": "b"})
    assert response["status"] == "completed" and response["store"] is True
    assert text_of(response) == "你好，世界" and response["metadata"] == {"a": "b"}
    assert await got(client, admin, response["id"]) == response
    assert await got(client, admin, response["id"], "?include=reasoning.encrypted_content") == response
    assert (await spent(client, admin, 1))["today"]["requests"] == 1


async def test_a_stream_is_stored_byte_for_byte(client: TestClient, admin: Headers) -> None:
    async with client.post(PATH, json=STORED | {"stream": True}, headers=admin) as response:
        stream = await response.read()
    events = decoded(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    id = events[0]["response"]["id"]
    assert {event["response"]["id"] for event in events if "response" in event} == {id}
    assert await events_of(client, admin, id) == stream
    for after in range(len(events)):
        rest = await events_of(client, admin, id, after)
        assert stream.endswith(rest) and len(decoded(rest)) == len(events) - after - 1
    assert await got(client, admin, id) == events[-1]["response"]


async def test_fields_that_exclude_each_other_are_refused(client: TestClient, admin: Headers) -> None:
    for body, param in (
        (BACKGROUND | {"store": False}, "store"),
        (BACKGROUND | {"background": "yes"}, "background"),
        (STORED | {"previous_response_id": 5}, "previous_response_id"),
    ):
        response = await client.post(PATH, json=body, headers=admin)
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_a_request_that_fails_before_its_reply_is_not_stored(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.answer(400, {"error": {"message": "no", "code": "bad"}})
    for body in (STORED, STORED | {"stream": True}, STORED | {"model": "none"}):
        response = await client.post(PATH, json=body, headers=admin)
        assert response.status in (400, 404)
    assert rows(config.database) == (0, 0)
    assert storage(config.database)[0] == 0


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"message": "no", "code": "bad"}, "invalid_prompt"),
        (400, {"message": "no", "code": "invalid_image_url"}, "invalid_image_url"),
        (429, {"message": "slow down"}, "rate_limit_exceeded"),
        # the key is ChatHub's
        (401, {"message": "wrong key", "code": "invalid_api_key"}, "server_error"),
        (500, {"message": "broken"}, "server_error"),
    ],
)
@pytest.mark.parametrize("is_forwarded", [False, True])
async def test_a_background_response_that_fails_says_so(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    status: int,
    error: dict[str, str],
    code: str,
    is_forwarded: bool,
) -> None:
    script = provider.answer(status, {"error": error})
    provider.script = script if is_forwarded else lacking(script)
    queued = await begun(client, admin, background=True)
    assert queued["background"] is True
    failed = await until(client, admin, queued["id"], lambda found: found["status"] == "failed")
    assert failed["error"]["message"] and failed["error"]["code"] == code
    events = decoded(await events_of(client, admin, queued["id"]))
    assert [events[0]["type"], events[-1]["type"]] == ["response.created", "response.failed"]


async def test_a_background_response_that_cannot_be_translated_says_so(
    client: TestClient, admin: Headers
) -> None:
    bad = [
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "ftp://a/b"}]}
    ]
    queued = await begun(client, admin, background=True, input=bad)
    failed = await until(client, admin, queued["id"], lambda found: found["status"] == "failed")
    assert failed["error"]["code"] == "invalid_prompt" and failed["error"]["message"]


# it goes on


async def test_a_client_that_leaves_resumes_where_it_was(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你", "好")
    seen = b""
    async with client.post(PATH, json=STORED | {"stream": True}, headers=admin) as response:
        while b"\xe5\xa5\xbd" not in seen:
            seen += await response.content.readany()
    # a part of an event counts as not seen
    seen = seen[: seen.rindex(b"\n\n") + 2]
    first = decoded(seen)
    id, last = first[0]["response"]["id"], first[-1]["sequence_number"]
    assert text_of(await until(client, admin, id, lambda found: found["output"])) == "你好"
    following = asyncio.ensure_future(events_of(client, admin, id, last))
    others = [asyncio.ensure_future(events_of(client, admin, id)) for _ in range(50)]
    await asyncio.sleep(0)
    provider.gate.set()
    rest = await following
    whole = seen + rest
    assert {await other for other in others} == {whole}
    assert [event["sequence_number"] for event in decoded(whole)] == list(range(len(decoded(whole))))
    assert text_of(decoded(whole)[-1]["response"]) == "你好，世界"
    assert provider.closed == 0


async def test_what_nobody_follows_ends_after_a_while(
    connect: Any, config: Config, client: TestClient, admin: Headers, provider: Provider
) -> None:
    await client.close()
    client = await connect(replace(config, unfollowed_seconds=0.05))
    waiting(provider, "你好")
    async with client.post(PATH, json=STORED | {"stream": True}, headers=admin) as response:
        head = decoded(await response.content.readuntil(b"\n\n"))[0]
    ended = await until(client, admin, head["response"]["id"], lambda found: found["status"] == "cancelled")
    assert text_of(ended) == "你好"


async def test_a_silent_response_has_heartbeats(
    connect: Any, config: Config, client: TestClient, admin: Headers, provider: Provider
) -> None:
    await client.close()
    client = await connect(replace(config, heartbeat_seconds=0.05))
    provider.script = provider.hang()
    async with client.post(PATH, json=STORED | {"stream": True}, headers=admin) as response:
        assert response.status == 200
        assert (await response.content.readuntil(b"\n\n")).startswith(b":")
    queued = await begun(client, admin, background=True)
    path = f"{PATH}/{queued['id']}?stream=true&starting_after=1"
    async with client.get(path, headers=admin) as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b":")


# it is cancelled and deleted


async def test_cancel_keeps_the_text_and_closes_the_connection(
    client: TestClient, admin: Headers, provider: Provider, hub: Any
) -> None:
    waiting(provider, "你好")
    stream = await hub.responses.create(**BACKGROUND, stream=True)
    id = (await anext(stream)).response.id
    await until(client, admin, id, lambda found: found["output"])
    cancelled = await hub.responses.cancel(id)
    assert cancelled.status == "cancelled" and cancelled.output_text == "你好"
    events = [event async for event in stream]
    assert events[-1].type == "response.incomplete" and events[-1].response.status == "cancelled"
    async with asyncio.timeout(10):
        while not provider.closed:
            await asyncio.sleep(0.01)
    assert (await hub.responses.cancel(id)).model_dump() == cancelled.model_dump()
    assert (await hub.responses.retrieve(id)).output_text == "你好"


async def test_only_a_background_response_can_be_cancelled(client: TestClient, admin: Headers) -> None:
    response = await begun(client, admin)
    refused = await client.post(f"{PATH}/{response['id']}/cancel", headers=admin)
    assert refused.status == 400


async def test_delete_stops_and_removes(
    client: TestClient, admin: Headers, provider: Provider, hub: Any, config: Config
) -> None:
    waiting(provider, "你好")
    queued = await hub.responses.create(**BACKGROUND)
    following = asyncio.ensure_future(events_of(client, admin, queued.id))
    await until(client, admin, queued.id, lambda found: found["output"])
    await hub.responses.delete(queued.id)
    assert decoded(await following)[-1]["response"]["status"] == "cancelled"
    assert rows(config.database) == (0, 0) and storage(config.database) == (0, 0)
    with pytest.raises(openai.NotFoundError):
        await hub.responses.delete(queued.id)
    provider.gate.set()
    path = f"{PATH}/{(await begun(client, admin))['id']}"
    deleted = await (await client.delete(path, headers=admin)).json()
    assert deleted == {"id": path.rpartition("/")[2], "object": "response", "deleted": True}


# OpenAI's client


async def test_the_official_client_resumes_a_background_response(provider: Provider, hub: Any) -> None:
    waiting(provider, "你好")
    stream = await hub.responses.create(**BACKGROUND, stream=True)
    seen = [await anext(stream) for _ in range(4)]
    await stream.close()
    id = seen[0].response.id
    assert [event.type for event in seen[:2]] == ["response.created", "response.queued"]
    resumed = await hub.responses.retrieve(id, stream=True, starting_after=seen[-1].sequence_number)
    provider.gate.set()
    events = seen + [event async for event in resumed]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed" and events[-1].response.output_text == "你好，世界"
    async with hub.responses.stream(response_id=id) as accumulated:
        assert (await accumulated.get_final_response()).output_text == "你好，世界"


async def test_input_items_are_listed_in_pages(hub: Any) -> None:
    given = [{"role": "user", "content": f"{number}"} for number in range(5)]
    response = await hub.responses.create(model="m", input=given, store=True)
    page = await hub.responses.input_items.list(response.id, limit=2, order="asc")
    assert page.has_more and [item.content[0].text for item in page.data] == ["0", "1"]
    listed = [item async for item in page]
    assert [item.content[0].text for item in listed] == ["0", "1", "2", "3", "4"]
    assert len({item.id for item in listed}) == 5
    newest = await hub.responses.input_items.list(response.id, limit=1)
    assert newest.data[0].content[0].text == "4"
    with pytest.raises(openai.BadRequestError):
        await hub.responses.input_items.list(response.id, after="msg_none")


async def test_input_items_are_listed_as_the_format_has_them(client: TestClient, admin: Headers) -> None:
    given = [{"role": "user", "content": "one", "id": None}, {"role": "assistant", "content": "two"}]
    response = await begun(client, admin, input=given)
    listed = (await got(client, admin, response["id"], "/input_items?order=asc"))["data"]
    assert [item["content"][0] for item in listed] == [
        {"type": "input_text", "text": "one"},
        {"type": "output_text", "text": "two"},
    ]
    assert all(item["id"].startswith("msg_") and item["type"] == "message" for item in listed)


# it is continued


async def test_a_response_continues_a_chain(provider: Provider, hub: Any, config: Config) -> None:
    first = await hub.responses.create(model="m", input="one", instructions="be brief", store=True)
    second = await hub.responses.create(model="m", input="two", previous_response_id=first.id)
    assert second.store and second.previous_response_id == first.id
    await hub.responses.delete(first.id)
    third = await hub.responses.create(model="m", input="x", previous_response_id=second.id, store=False)
    assert third.store is False and rows(config.database)[0] == 2
    said = [(message["role"], _plain(message["content"])) for message in provider.last["messages"]]
    answer = ("assistant", "你好，世界")
    assert said == [("user", "one"), answer, ("user", "two"), answer, ("user", "x")]
    for id in (first.id, third.id, "resp_none"):
        with pytest.raises(openai.BadRequestError) as refused:
            await hub.responses.create(model="m", input="x", previous_response_id=id)
        assert refused.value.code == "previous_response_not_found"
        assert refused.value.param == "previous_response_id" and "store: true" in str(refused.value)


def _plain(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def test_a_running_response_cannot_be_continued(provider: Provider, hub: Any) -> None:
    waiting(provider, "你好")
    queued = await hub.responses.create(**BACKGROUND)
    with pytest.raises(openai.ConflictError):
        await hub.responses.create(model="m", input="x", previous_response_id=queued.id)


# access, storage, and the end


async def test_a_response_is_its_users_alone(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="n")
    id = (await begun(client, admin))["id"]
    limited = {"Authorization": f"Bearer {await token(client, admin, allowed_models=['n'])}"}
    for headers in (user, limited):
        for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
            response = await client.request(method, f"{PATH}/{id}{tail}", headers=headers)
            assert response.status == 404
    assert (await got(client, admin, id))["id"] == id


async def test_storage_that_is_full_refuses_before_anything_is_sent(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE users SET storage_limit = 0 WHERE role <> 'admin'")
    response = await client.post(PATH, json=STORED, headers=user)
    assert response.status == 507 and not provider.bodies
    assert (await response.json())["error"]["code"] == "storage_full"
    response = await client.post(PATH, json=STORED | {"store": False}, headers=user)
    assert response.status == 200
    assert rows(config.database) == (0, 0)


async def test_storage_is_what_the_rows_take(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    ids: list[str] = []
    for number in range(24):
        if number % 4 == 3:
            await client.delete(f"{PATH}/{ids.pop(number % len(ids))}", headers=admin)
        else:
            more = {"previous_response_id": ids[-1]} if number % 3 == 2 and ids else {}
            provider.script = lacking(provider.stream(reply("长" * 100 * number, "完")))
            ids.append((await begun(client, admin, input="问" * number + "?", **more))["id"])
        used, stored = storage(config.database)
        assert used == stored > 0
    for id in ids:
        await client.delete(f"{PATH}/{id}", headers=admin)


async def test_old_responses_are_removed_unless_they_are_continued(
    connect: Any, config: Config, client: TestClient, admin: Headers
) -> None:
    old = (await begun(client, admin))["id"]
    continued = (await begun(client, admin))["id"]
    newer = (await begun(client, admin, previous_response_id=continued))["id"]
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE responses SET created_at = 1 WHERE public_id IN (?, ?)", (old, continued))
    await client.close()
    client = await connect(config)
    async with asyncio.timeout(10):
        while rows(config.database)[0] > 2:
            await asyncio.sleep(0.02)
    assert (await client.get(f"{PATH}/{old}", headers=admin)).status == 404
    for id in (continued, newer):
        await got(client, admin, id)


async def test_a_server_that_keeps_nothing_says_so(
    connect: Any, config: Config, client: TestClient, admin: Headers
) -> None:
    await client.close()
    client = await connect(replace(config, responses_days=0))
    response = await client.post(PATH, json=STORED, headers=admin)
    assert response.status == 400
    assert "CHATHUB_RESPONSES_DAYS" in (await response.json())["error"]["message"]


def said(kind: str, number: int, **fields: Any) -> bytes:
    event = {"type": kind, "sequence_number": number, **fields}
    return f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()


async def test_a_forwarded_response_is_stored_with_our_id_and_numbers(
    client: TestClient, admin: Headers, provider: Provider, hub: Any
) -> None:
    part = {"type": "output_text", "text": "hello", "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    begun_item = {**item, "status": "in_progress", "content": []}
    response = {
        **{"id": "resp_theirs", "object": "response", "created_at": 1, "model": "m", "store": False},
        **{"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None},
    }
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    running = {**response, "status": "in_progress", "output": []}
    whole = {**response, "status": "completed", "output": [item]}
    parts = [
        said("response.created", 7, response=running),
        said("response.output_item.added", 8, output_index=0, item=begun_item),
        said("response.content_part.added", 9, **place, part={**part, "text": ""}),
        said("response.output_text.delta", 10, **place, delta="hello", logprobs=[]),
        said("response.output_item.done", 12, output_index=0, item=item),
        said("response.completed", 13, response=whole),
    ]
    provider.script = provider.stream(parts, stall_after=4)
    stream = await hub.responses.create(**STORED, stream=True)
    seen = [await anext(stream) for _ in range(4)]
    id = seen[0].response.id
    assert id.startswith("resp_") and len(id) == 53 and seen[0].response.store
    running_now = await got(client, admin, id)
    assert running_now["status"] == "in_progress" and text_of(running_now) == "hello"
    assert provider.last["store"] is False and provider.last["stream"] is True
    provider.gate.set()
    events = seen + [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(6))
    assert events[-1].response.id == id and text_of(await got(client, admin, id)) == "hello"
    # what is continued has no id that the provider does not know
    provider.script = provider.stream(parts)
    await hub.responses.create(model="m", input="more", previous_response_id=id)
    assert [each.get("id") for each in provider.last["input"]] == [None, None, None]
    assert "previous_response_id" not in provider.last


ITEM = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": []}],
}
OTHER = {**ITEM, "id": "msg_2"}


async def test_a_last_event_without_its_output_gets_the_items_that_were_done(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    for output in ({"output": []}, {"output": None}, {}):
        response = {"id": "resp_theirs", "object": "response", "created_at": 1, "model": "m", "error": None}
        provider.script = provider.stream(
            [
                said("response.created", 0, response={**response, "status": "in_progress", "output": []}),
                said("response.output_item.done", 1, output_index=0, item=ITEM),
                said("response.output_item.done", 2, output_index=1, item=OTHER),
                said("response.completed", 3, response={**response, "status": "completed", **output}),
            ]
        )
        stored = await begun(client, admin)
        assert stored["output"] == [ITEM, OTHER] and await got(client, admin, stored["id"]) == stored
        # it is what a later response continues
        await begun(client, admin, input="more", previous_response_id=stored["id"])
        assert [item["content"] for item in provider.last["input"][1:3]] == [ITEM["content"]] * 2


async def test_a_disabled_users_response_is_stopped(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    waiting(provider, "你好")
    queued = await begun(client, user, background=True)
    await until(client, user, queued["id"], lambda found: found["output"])

    def now() -> tuple[int, str]:
        with closing(sqlite3.connect(config.database)) as connection:
            row = connection.execute("SELECT user_id, status FROM responses").fetchone()
            return row[0], row[1]

    response = await client.delete(f"/api/users/{now()[0]}", headers=admin)
    assert response.status == 200, await response.text()
    async with asyncio.timeout(10):
        while now()[1] != "failed":
            await asyncio.sleep(0.02)
        while not provider.closed:
            await asyncio.sleep(0.02)
