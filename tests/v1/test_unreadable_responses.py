"""Stored responses of providers, and requests of clients, that hold what cannot be read: the response is
kept as far as it can be read, its client gets no error of the server, and the server starts again."""

import json
import sqlite3
import zlib
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add
from scripted import Provider, data
from stored import BACKGROUND, PATH, STORED, begun, decoded, events_of, got, text_of, until

from chathub.config import Config

RUNNING = ("queued", "in_progress")
AT: dict[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
PART: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
ITEM: dict[str, Any] = {"type": "message", "id": "msg_1", "role": "assistant"}
GROWS: dict[str, Any] = {"status": "in_progress", "content": []}
BEGUN: dict[str, Any] = {"id": "resp_theirs", "object": "response", "status": "in_progress", "output": []}
BEGINNING = [
    {"type": "response.created", "response": BEGUN},
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM | GROWS},
    {"type": "response.content_part.added", **AT, "part": PART},
    {"type": "response.output_text.delta", **AT, "delta": "hello"},
]
MORE = {"type": "response.output_text.delta", **AT, "delta": " world"}
WHOLE = {**ITEM, "status": "completed", "content": [PART | {"text": "hello world"}]}
END = {"type": "response.completed", "response": BEGUN | {"status": "completed", "output": [WHOLE]}}


def raw(fields: bytes, kind: bytes = b"response.output_text.delta") -> bytes:
    return b'data: {"type":"%b",%b}\n\n' % (kind, fields)


# what a provider may send among its events, and what is no reason to lose any other event
ODD = [
    raw(b'"item_id":"msg_1","output_index":0,"content_index":0,"delta":"\xff"'),
    raw(b'"item_id":"msg_1","output_index":1,"content_index":0,"delta":"\\ud83d"'),
    raw(b'"a":1e999', b"response.new"),
    raw(b'"a":%b' % (b"[" * 900 + b"]" * 900), b"response.new"),
    raw(b'"a":1', b"a\\n\\ndata: b"),
    raw(b'"a":1', b"\xff"),
    b'data: {\ndata:\ndata: "type": "response.new", "a": [\ndata:\ndata: 1]}\n\n',
    data({"type": 5, "delta": "x"}),
    data({"type": ["x"]}),
    data({"type": "response.in_progress", "response": 5}),
    data({"type": "response.in_progress", "response": BEGUN | {"output": [1, "x"]}}),
    data({"type": "response.output_item.added", "output_index": {"a": 1}, "item": ITEM}),
    data({"type": "response.output_item.added", "output_index": 9, "item": ITEM | {"content": 5}}),
    data({"type": "response.content_part.added", **AT, "output_index": 9, "part": PART}),
    data({"type": "response.content_part.added", **AT, "content_index": -7, "part": PART}),
    data({"type": "response.refusal.delta", **AT, "content_index": [0], "delta": "x"}),
    data({"type": "response.refusal.delta", **AT, "content_index": 0.0, "delta": "x"}),
    data({"type": "response.function_call_arguments.delta", "output_index": 9, "delta": {"a": 1}}),
]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)


@pytest.mark.parametrize("number", range(len(ODD)))
async def test_what_a_provider_sends_besides_does_not_harm_a_stored_response(
    client: TestClient, admin: Headers, provider: Provider, number: int
) -> None:
    parts = [data(event) for event in (*BEGINNING[:3], BEGINNING[3])]
    provider.script = provider.stream([*parts, ODD[number] + data(MORE), data(END)], stall_after=5)
    id = (await begun(client, admin, background=True))["id"]
    running = await until(client, admin, id, lambda found: "world" in json.dumps(found))
    assert running["status"] in RUNNING
    provider.gate.set()
    ended = await until(client, admin, id, lambda found: found["status"] not in RUNNING)
    assert ended["status"] == "completed" and text_of(ended) == "hello world"
    stream = await events_of(client, admin, id)
    events = decoded(stream)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert decoded(await events_of(client, admin, id, after=3)) == events[4:]
    await begun(client, admin, previous_response_id=id, input="more")
    assert provider.last["input"][-1]["content"] == [{"type": "input_text", "text": "more"}]


@pytest.mark.parametrize(
    "last",
    [
        b"",
        b"data: [DONE]\n\n",
        data({"type": "response.completed", "response": "x"}),
        data({"type": "response.completed", "response": None}),
        raw(b'"response":{"output":[],"a":%b}' % (b"[" * 900 + b"]" * 900), b"response.completed"),
        data({"type": "response.failed", "response": BEGUN | {"status": "failed", "error": {"code": "x"}}}),
        data({"type": "error", "code": "server_error", "message": "it broke"}),
    ],
)
async def test_a_stored_response_without_a_readable_end_keeps_what_had_come(
    client: TestClient, admin: Headers, provider: Provider, last: bytes
) -> None:
    provider.script = provider.stream([*map(data, BEGINNING), last])
    whole = await begun(client, admin)
    assert whole["status"] == "failed" and text_of(whole) == "hello"
    assert whole["output"][0]["status"] == "incomplete"
    assert "Internal" not in whole["error"].get("message", "")
    assert whole == await got(client, admin, whole["id"])
    assert decoded(await events_of(client, admin, whole["id"]))[-1]["type"] == "response.failed"


@pytest.mark.parametrize("status", ["completed", "incomplete", "in_progress", None])
async def test_end_of_another_name_and_without_an_output_is_the_end_of_a_stored_response(
    client: TestClient, admin: Headers, provider: Provider, status: str | None
) -> None:
    item = {"type": "response.output_item.done", "output_index": 0, "item": WHOLE}
    end = {"type": "response.done", "response": BEGUN | {"status": status, "output": None}}
    provider.script = provider.stream([*map(data, [*BEGINNING, item, end])])
    whole = await begun(client, admin)
    expected = "incomplete" if status == "incomplete" else "completed"
    assert whole["status"] == expected and text_of(whole) == "hello world"
    last = decoded(await events_of(client, admin, whole["id"]))[-1]
    assert (last["type"], last["response"]["status"]) == (f"response.{expected}", expected)


@pytest.mark.parametrize(
    "field",
    [
        b'"max_tool_calls":1e999',
        b'"metadata":%b1%b' % (b'{"a":' * 900, b"}" * 900),
    ],
)
async def test_fields_of_a_request_that_cannot_be_read_are_not_given_back(
    client: TestClient, admin: Headers, provider: Provider, field: bytes
) -> None:
    provider.script = provider.stream(map(data, BEGINNING), stall_after=4)
    body = json.dumps(BACKGROUND).encode()[:-1] + b"," + field + b"}"
    headers = {**admin, "Content-Type": "application/json"}
    async with client.post(PATH, data=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        id = (await response.json())["id"]
    await until(client, admin, id, lambda found: text_of(found) == "hello")
    async with client.post(f"{PATH}/{id}/cancel", headers=admin) as response:
        assert (await response.json())["status"] == "cancelled"
    assert decoded(await events_of(client, admin, id))[-1]["type"] == "response.incomplete"


async def test_a_log_that_cannot_be_read_does_not_keep_the_server_from_its_start(
    client: TestClient, admin: Headers, provider: Provider, connect: Connect, config: Config
) -> None:
    provider.script = provider.stream(map(data, [*BEGINNING, MORE, END]))
    id = (await begun(client, admin))["id"]
    await client.close()
    unreadable = b'event: response.new\ndata: {"type":"response.new","a":1e999}\n\n'
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE responses SET status = 'in_progress'")
        ((stored,),) = connection.execute("SELECT data FROM response_events").fetchall()
        events = zlib.decompress(stored)
        events = unreadable + events[: events.index(b"event: response.completed")]
        connection.execute("UPDATE response_events SET data = ?, last = last - 1", (zlib.compress(events),))
    again = await connect()
    found = await got(again, admin, id)
    assert found["status"] == "failed" and text_of(found) == "hello world"


@pytest.mark.parametrize("value", [5, {"a": 1}, True, [{"role": "user", "content": "x"}] * 10_001])
async def test_input_that_is_none_is_refused_also_behind_a_history(
    client: TestClient, admin: Headers, provider: Provider, value: Any
) -> None:
    provider.script = provider.stream(map(data, [*BEGINNING, MORE, END]))
    previous = (await begun(client, admin))["id"]
    for more in ({}, {"previous_response_id": previous}, {"previous_response_id": previous, "store": False}):
        async with client.post(PATH, json={**STORED, "input": value, **more}, headers=admin) as response:
            error = (await response.json())["error"]
            assert (response.status, error["param"]) == (400, "input"), error
    assert len(provider.bodies) == 1


async def test_items_of_any_kind_are_listed_and_continued(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(map(data, [*BEGINNING, MORE, END]))
    odd = [1, "x", None, [], {"id": 5}, {"type": 5}, {"type": "reasoning", "encrypted_content": 5}]
    whole = await begun(client, admin, input=[*odd, {"role": "user", "content": "hi"}])
    assert len((await got(client, admin, whole["id"], "/input_items"))["data"]) == len(odd) + 1
    async with client.get(f"{PATH}/{whole['id']}/input_items?after=x", headers=admin) as response:
        assert (response.status, (await response.json())["error"]["message"]) == (400, "The list has no x")
    await begun(client, admin, previous_response_id=whole["id"], input="more")
    assert [each.get("role") for each in provider.last["input"]][-3:] == ["user", "assistant", "user"]


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
@pytest.mark.parametrize("path", [PATH, f"{PATH}/input_tokens"])
async def test_conversation_at_the_provider_is_refused_before_anything_is_sent(
    client: TestClient, admin: Headers, provider: Provider, path: str, conversation: Any
) -> None:
    for more in ({}, {"store": True}):
        body = {"model": "m", "input": "hi", "conversation": conversation, **more}
        async with client.post(path, json=body, headers=admin) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (400, "conversation_unsupported")
            assert error["param"] == "conversation"
    assert not provider.bodies


async def test_a_count_includes_what_the_request_continues(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(map(data, [*BEGINNING, MORE, END]))
    previous = (await begun(client, admin, input="words " * 1000))["id"]
    counts = []
    for more in ({}, {"previous_response_id": previous}):
        body = {"model": "m", "input": "hi", **more}
        async with client.post(f"{PATH}/input_tokens", json=body, headers=admin) as response:
            assert response.status == 200, await response.text()
            counts.append((await response.json())["input_tokens"])
    assert counts[1] > counts[0] + 500
