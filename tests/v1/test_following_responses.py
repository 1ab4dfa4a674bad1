"""Followers of stored responses: several at once, slow ones, and those of a response that is cancelled or
deleted, or that did not end well."""

import asyncio
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add
from scripted import DONE, Provider, chunk, data, reply, usage
from scripted_formats import anthropic, gemini
from stored import BACKGROUND, PATH, STORED, begun, decoded, events_of, got, lacking, text_of, until, waiting

from chathub.config import Config


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


async def streamed(client: TestClient, headers: Headers, **body: Any) -> bytes:
    async with (
        asyncio.timeout(30),
        client.post(PATH, json=STORED | {"stream": True} | body, headers=headers) as it,
    ):
        assert it.status == 200, await it.text()
        return await it.read()


def follow(client: TestClient, headers: Headers, id: str, after: int = -1) -> Any:
    return client.get(f"{PATH}/{id}?stream=true&starting_after={after}", headers=headers)


async def test_two_followers_of_one_response_get_the_same_bytes(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你", "好")
    id = (await begun(client, admin, background=True))["id"]
    early = asyncio.ensure_future(events_of(client, admin, id))
    await until(client, admin, id, lambda found: found["output"])
    late = asyncio.ensure_future(events_of(client, admin, id, 3))
    await asyncio.sleep(0)
    provider.gate.set()
    whole = await early
    assert whole.endswith(await late) and whole == await events_of(client, admin, id)
    assert [event["sequence_number"] for event in decoded(whole)] == list(range(len(decoded(whole))))


async def test_all_followers_get_the_end_of_a_response_that_is_cancelled(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    id = (await begun(client, admin, background=True))["id"]
    await until(client, admin, id, lambda found: found["output"])
    following = [asyncio.ensure_future(events_of(client, admin, id)) for _ in range(5)]
    cancelled = await client.post(f"{PATH}/{id}/cancel", headers=admin)
    assert (await cancelled.json())["status"] == "cancelled"
    assert len({await each for each in following}) == 1
    last = decoded(await following[0])[-1]
    assert last["type"] == "response.incomplete" and last["response"] == await got(client, admin, id)


async def test_two_cancels_at_once_give_the_same_response(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    id = (await begun(client, admin, background=True))["id"]
    await until(client, admin, id, lambda found: found["output"])
    both = await asyncio.gather(*(client.post(f"{PATH}/{id}/cancel", headers=admin) for _ in range(2)))
    assert [each.status for each in both] == [200, 200]
    one, other = [await each.json() for each in both]
    assert one == other and one["status"] == "cancelled"


async def test_number_to_start_after_is_checked(client: TestClient, admin: Headers) -> None:
    id = (await begun(client, admin))["id"]
    whole = await events_of(client, admin, id)
    last = decoded(whole)[-1]["sequence_number"]
    for beyond in (last, last + 1, 2**53):
        assert await events_of(client, admin, id, beyond) == b""
    for wrong in ("-2", "x", "1.5", str(2**70), "1 2", "true"):
        async with client.get(
            f"{PATH}/{id}", params={"stream": "true", "starting_after": wrong}, headers=admin
        ) as refused:
            assert refused.status == 400, wrong
            assert "starting_after" in (await refused.json())["error"]["message"]
    async with client.get(f"{PATH}/{id}", params={"stream": "perhaps"}, headers=admin) as refused:
        assert refused.status == 400


async def test_who_follows_from_beyond_the_end_waits_for_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    id = (await begun(client, admin, background=True))["id"]
    following = asyncio.ensure_future(events_of(client, admin, id, 10_000))
    await until(client, admin, id, lambda found: found["output"])
    assert not following.done()
    provider.gate.set()
    assert await following == b""


# what they follow goes away


async def _stuck(client: TestClient, admin: Headers, id: str) -> aiohttp.ClientResponse:
    """A follower that reads only the head: the rest waits until ``read``."""
    response: aiohttp.ClientResponse = await follow(client, admin, id)
    assert response.status == 200
    return response


@pytest.fixture
async def large(client: TestClient, admin: Headers, provider: Provider) -> dict[str, Any]:
    """A response that does not fit into the buffers of a connection."""
    provider.script = lacking(provider.stream(reply(*["字" * 100_000] * 18)))
    return await begun(client, admin)


async def test_follower_of_a_deleted_response_sees_that_it_is_not_whole(
    client: TestClient, admin: Headers, large: dict[str, Any]
) -> None:
    async with await _stuck(client, admin, large["id"]) as following:
        async with client.delete(f"{PATH}/{large['id']}", headers=admin) as deleted:
            assert deleted.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await following.read()


async def test_slow_followers_take_little_memory(
    client: TestClient, admin: Headers, large: dict[str, Any]
) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        stuck = [await _stuck(client, admin, large["id"]) for _ in range(12)]
        await asyncio.sleep(0.5)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    whole = len(json.dumps(large["output"], ensure_ascii=False).encode())
    assert taken < 12 * whole / 2, (taken, whole)
    # they read on where they were
    texts = [await each.read() for each in stuck]
    assert len(set(texts)) == 1 and decoded(texts[0])[-1]["response"] == large


async def test_a_stream_whose_client_does_not_read_is_dropped_and_the_response_goes_on(
    connect: Connect, config: Config, client: TestClient, admin: Headers, provider: Provider
) -> None:
    await client.close()
    client = await connect(replace(config, write_seconds=0.3))
    provider.script = lacking(provider.stream(reply(*["字" * 100_000] * 18), pause=0.02))
    response = await client.post(PATH, json=BACKGROUND | {"stream": True}, headers=admin)
    head = decoded(await response.content.readuntil(b"\n\n"))[0]
    whole = await until(client, admin, head["response"]["id"], lambda found: found["status"] == "completed")
    assert len(text_of(whole)) == 1_800_000
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


# how it ended

ENDS = ("completed", "incomplete", "failed")


def ending(protocol: str, kind: str) -> list[bytes]:
    """A stream that says some text and ends early."""
    if protocol == "anthropic":
        stop = {"length": "max_tokens", "filter": "refusal"}.get(kind, "end_turn")
        parts = anthropic({"type": "text", "text": "some text"}, stop=stop)
        return parts[:-2] if kind == "cut" else parts
    if protocol == "gemini":
        finish = {"length": "MAX_TOKENS", "filter": "SAFETY"}.get(kind, "STOP")
        parts = gemini({"text": "some text"}, finish=finish)
        return parts[:-1] if kind == "cut" else parts
    if kind == "cut":
        return [chunk("some text")]
    if kind == "error":
        return [chunk("some text"), data({"error": {"message": "it broke", "code": 502}})]
    finish = {"length": "length", "filter": "content_filter"}[kind]
    return [chunk("some text"), chunk(finish=finish), usage(7, 3), DONE]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(
    ("protocol", "kind", "status", "reason"),
    [
        *((each, "length", "incomplete", "max_output_tokens") for each in ("openai", "anthropic", "gemini")),
        *((each, "filter", "incomplete", "content_filter") for each in ("openai", "anthropic", "gemini")),
        *((each, "cut", "failed", None) for each in ("openai", "anthropic", "gemini")),
        ("openai", "error", "failed", None),
    ],
)
async def test_response_that_did_not_end_well_is_resumed_to_its_end(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    protocol: str,
    kind: str,
    status: str,
    reason: str | None,
    streams: bool,
) -> None:
    await add(client, admin, provider.base_url, protocol, "other", provider="other")
    provider.script = lacking(provider.stream(ending(protocol, kind), cut=kind == "cut"))
    if streams:
        stream = await streamed(client, admin, model="other")
        final = decoded(stream)[-1]["response"]
        assert await events_of(client, admin, final["id"]) == stream
    else:
        final = await begun(client, admin, model="other")
        stream = await events_of(client, admin, final["id"])
    events = decoded(stream)
    assert (events[-1]["type"], events[-1]["response"]) == (f"response.{status}", final)
    assert await got(client, admin, final["id"]) == final
    assert final["status"] == status and text_of(final) == "some text"
    assert final["incomplete_details"] == (reason and {"reason": reason})
    assert bool(final["error"]) == (status == "failed")
    for after in range(len(events)):
        rest = await events_of(client, admin, final["id"], after)
        assert stream.endswith(rest) and len(decoded(rest)) == len(events) - after - 1
    # what was said is the history of what continues it
    provider.script = lacking(provider.stream(ending(protocol, "length")))
    await begun(client, admin, model="other", input="more", previous_response_id=final["id"])
    assert "some text" in json.dumps(provider.last)


def forwarded(kind: str) -> list[bytes]:
    """The events of a provider that has Responses, up to an early end."""
    response = {"id": "resp_theirs", "object": "response", "created_at": 1, "model": "m", "error": None}
    part = {"type": "output_text", "text": "some text", "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete", "content": [part]}
    begun_item = {**item, "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    failed = {**response, "status": "failed", "error": {"code": "server_error", "message": "it broke"}}
    incomplete = {**response, "status": "incomplete", "output": [item]}
    ends = {
        "length": {"response": {**incomplete, "incomplete_details": {"reason": "max_output_tokens"}}},
        "filter": {"response": {**incomplete, "incomplete_details": {"reason": "content_filter"}}},
        "failed": {"response": {**failed, "output": [item]}},
        "error": {"code": "server_error", "message": "it broke", "param": None},
    }
    names = {"length": "response.incomplete", "filter": "response.incomplete", "failed": "response.failed"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun_item},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "some text", "logprobs": []},
    ]
    if kind in ends:
        events.append({"type": names.get(kind, kind), **ends[kind]})
    return [
        f"event: {event['type']}\n".encode() + data({**event, "sequence_number": number})
        for number, event in enumerate(events)
    ]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("kind", ["length", "filter", "failed", "error", "cut", "end"])
async def test_forwarded_response_that_did_not_end_well_is_resumed_to_its_end(
    client: TestClient, admin: Headers, provider: Provider, kind: str, streams: bool
) -> None:
    provider.script = provider.stream(forwarded(kind), cut=kind == "cut")
    if streams:
        stream = await streamed(client, admin)
        final = decoded(stream)[-1]["response"]
    else:
        final = await begun(client, admin)
        stream = await events_of(client, admin, final["id"])
    events = decoded(stream)
    status = "incomplete" if kind in ("length", "filter") else "failed"
    assert (events[-1]["type"], events[-1]["response"]) == (f"response.{status}", final)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert sum(event["type"].startswith("response.") and event["type"][9:] in ENDS for event in events) == 1
    assert final["id"] != "resp_theirs" and final["status"] == status and text_of(final) == "some text"
    assert bool(final["error"]) == (status == "failed")
    assert await events_of(client, admin, final["id"]) == stream
    assert await got(client, admin, final["id"]) == final
    provider.script = provider.stream(forwarded("length"))
    await begun(client, admin, input="more", previous_response_id=final["id"])
    assert provider.last["input"][1]["content"][0]["text"] == "some text"
