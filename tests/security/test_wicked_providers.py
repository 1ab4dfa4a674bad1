"""Hostile providers: whatever a provider sends costs little memory and time, since any user may add one."""

import asyncio
import gzip
import json
import re
import tracemalloc
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream, text_of, until
from scripted import DONE, Provider, chunk, data, reply, usage

from chathub.chat.final_status import FinalStatus
from chathub.chat.turn import Turn
from chathub.formats import anthropic, gemini, openai
from chathub.formats.events import Failure, Reasoning, Text
from chathub.formats.loose_json import ToolCalls
from chathub.replies.cursor import Cursor
from chathub.replies.reply import Reply
from chathub.upstream import http

MIB = 1024 * 1024
KEY = "sk-of-the-tests-0123456789"
CRUMBS = b"[]," * (7 * MIB // 3) + b"1]"
WHOLE = b'{"error":false,"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],"x":['


@pytest.fixture(autouse=True)
async def models(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)
    await add_model(client, admin, provider.base_url, "gemini-x-image")
    await add_model(client, admin, provider.base_url, "vectors", model_type="embedding")


def packed(provider: Provider, body: bytes) -> Any:
    return provider.answer(200, gzip.compress(body), {"Content-Encoding": "gzip"})


async def v1(client: TestClient, headers: Headers, **body: Any) -> tuple[int, str]:
    asked = {"model": "test-model", "messages": [{"role": "user", "content": "x"}], **body}
    response = await client.post("/v1/chat/completions", json=asked, headers=headers)
    return response.status, await response.text()


async def test_small_compressed_reply_that_expands_above_the_limit_is_refused(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = packed(provider, WHOLE + b"[]," * (3 * MIB) + b"1]}")
    status, body, _ = await chat(client, user)
    assert (status, body["code"]) == (502, "upstream_cut") and "数据过大" in body["error"]
    assert (await v1(client, user))[0] == 502
    assert len(provider.bodies) == 2, "the request is not sent again"


async def test_whole_reply_of_eight_mebibytes_costs_little_memory(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    body = WHOLE + CRUMBS + b"}"
    provider.script = packed(provider, body)
    tracemalloc.start()
    status, answered, _ = await chat(client, user)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 200 and answered["response"] == "x"
    # the reply itself a few times, and never a Python object for each of its values (200 MB)
    assert peak < 60 * MIB, peak
    status, text = await v1(client, user)
    assert status == 200 and len(text) == len(body)


async def test_replies_with_media_or_vectors_may_be_larger(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    message = {"content": "x", "audio": {"data": "A" * (10 * MIB)}}
    provider.script = provider.answer(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (await v1(client, user))[0] == 502
    assert (await v1(client, user, modalities=["text", "audio"]))[0] == 200
    assert (await v1(client, user, model="gemini-x-image"))[0] == 200
    provider.script = provider.answer(200, b'{"data":[{"embedding":[' + b"0.1," * (4 * MIB) + b"0]}]}")
    response = await client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}, headers=user)
    assert response.status == 200 and len(await response.read()) > 16 * MIB


@pytest.mark.parametrize("begun", [b"", chunk("so far")], ids=["before the answer", "within it"])
@pytest.mark.parametrize("piece", [b":\n" * 32_768, b"\n" * 65_536, b"event: x\n" * 8_192, b"x" * 65_536])
async def test_stream_without_events_is_cut_after_a_megabyte(
    client: TestClient, user: Headers, provider: Provider, begun: bytes, piece: bytes
) -> None:
    async def run(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(begun or b":\n")
        for _ in range(4_000):
            await response.write(piece)
        return response

    provider.script = run
    async with asyncio.timeout(20):
        events = await stream(client, user)
        status, text = await v1(client, user, stream=True)
    assert events[-1]["type"] == "error" and events[-1]["status"] == 502
    await until(lambda: provider.closed == 2)
    assert "[DONE]" not in text
    # the response headers may have been sent with the earlier text
    assert status in (200, 502) and re.search("too (long|large)", text) and ("so far" in text) == bool(begun)


@pytest.mark.parametrize("event", [b"{}", b'{"choices":[]}', b'{"choices":[{"index":0,"delta":{}}]}'])
async def test_stream_of_empty_events_is_cut(
    client: TestClient, user: Headers, provider: Provider, event: bytes
) -> None:
    # a long line: short ones would need many more events for the same megabytes
    line = b"data:" + b" " * 200 + event + b"\n\n"
    provider.script = provider.stream([chunk("so far"), *[line * 1_000] * 200])
    async with asyncio.timeout(30):
        events = await stream(client, user)
        status, text = await v1(client, user, stream=True)
    assert events[-1]["type"] == "error" and text_of(events) == "so far"
    assert status == 200 and re.search("too (long|large)", text) and "[DONE]" not in text


@pytest.mark.parametrize("word", ["x" * MIB, KEY, "a word\x00"])
async def test_finish_reason_is_stored_only_if_it_is_a_short_word(
    client: TestClient, user: Headers, provider: Provider, word: str
) -> None:
    """The finish reason is stored with every reply and shown in every listing."""
    answer = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": word}]}
    provider.script = provider.answer(200, answer)
    assert (await v1(client, user))[0] == 200
    assert (await chat(client, user))[0] == 200
    async with client.get("/api/usage", headers=user) as response:
        rows = (await response.json())["data"]
    assert [row["end_reason"] for row in rows] == ["other", "other"]


async def test_invalid_embeddings_response_gets_502(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    for body in (b"[" * 200_000, b'{"data":[],"usage":' + b"[" * 200_000, b"\xff", b"<html>"):
        provider.script = provider.answer(200, body)
        asked = {"model": "vectors", "input": "x"}
        async with client.post("/v1/embeddings", json=asked, headers=user) as response:
            assert response.status == 502, await response.text()


@pytest.mark.parametrize(("size", "fits"), [(MIB - 200, True), (3 * MIB // 2, False)])
async def test_event_may_have_one_mebibyte_and_more_with_images(
    client: TestClient, user: Headers, provider: Provider, size: int, fits: bool
) -> None:
    provider.script = provider.stream([*reply("a" * size)])
    events = await stream(client, user)
    assert (events[-1]["type"] == "end") == fits
    # a model that may return images has a larger limit
    assert (await stream(client, user, model="gemini-x-image"))[-1]["type"] == "end"


async def test_replies_of_very_many_values_are_decoded_without_building_them() -> None:
    million = b"[]," * 300_000 + b"1"
    for decode, body in (
        (openai.decode_body, b'{"choices":[%b]}' % million),
        (openai.decode_body, b'{"choices":[{"message":{"content":[%b]}}]}' % million),
        (openai.decode_body, b'{"choices":[{"message":{"content":"x","tool_calls":[%b]}}]}' % million),
        (anthropic.decode_body, b'{"type":"message","content":[%b]}' % million),
        (
            anthropic.decode_body,
            b'{"type":"message","content":[{"type":"tool_use","input":{"a":[%b]}}]}' % million,
        ),
        (gemini.decode_body, b'{"candidates":[{"content":{"parts":[%b]}}]}' % million),
        (gemini.decode_body, b"[%b]" % million),
        (openai.decode_body, b'{"choices":[{"message":{"content":"x"}}],"usage":{"a":[%b]}}' % million),
        (openai.decode_body, b'{"choices":' + b"[" * 400_000),
    ):
        tracemalloc.start()
        events = decode(body)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 12 * len(body), (body[:60], peak)
        assert all(isinstance(event, Failure) or "[]" not in str(event) for event in events)


def test_large_replies_are_decoded_like_small_ones() -> None:
    long = 'a "quoted" {text}, [with] crumbs,' * 5_000
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": long})}}
    message = {"content": [{"type": "text", "text": long}], "reasoning_content": long, "tool_calls": [call]}
    told = {"prompt_tokens": 3, "completion_tokens": 4}
    choices = [{"message": message, "finish_reason": "tool_calls"}, {"message": {"content": "second"}}]
    small = openai.decode_body(
        json.dumps({"choices": choices, "usage": told}).replace(long[:-5], "").encode()
    )
    large = openai.decode_body(json.dumps({"choices": choices, "usage": told}).encode())
    assert [type(event) for event in small] == [type(event) for event in large]
    assert Text(long) in large and Reasoning(long) in large


def test_number_of_tool_calls_of_a_reply_is_limited() -> None:
    calls = ToolCalls()
    items = [{"index": number, "id": f"c{number}", "function": {"name": "f"}} for number in range(5_000)]
    assert len(list(calls.take(items))) == 1024


def events_of(text: str) -> list[Any]:
    return [Text(character) for character in text]


def test_one_character_deltas_cost_little_more_memory_than_their_text() -> None:
    """A quarter of the two million characters of the longest reply, in a quarter of the 20 MB that it may
    cost.
    """
    answer = Reply(Turn(1, "c", "t", 1, 2), 1, "m", 2_000_000)
    tracemalloc.start()
    for number in range(500):
        answer.feed(events_of("字" * 1_000))
        if number % 100 == 99:
            answer.text.unsaved()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(answer.text.of("content")) == 500_000 and held < 5 * MIB, held


def test_small_deltas_are_merged_when_they_are_saved() -> None:
    answer = Reply(Turn(1, "c", "t", 1, 2), 1, "m", 2_000_000)
    for _ in range(3):
        for kind in (Text, Reasoning, Text):
            for _ in range(100):
                answer.feed([kind("x")])
        runs = answer.text.unsaved()
        assert [text for _, _, text in runs][-1] == "x" * 100
    assert len(answer.text.parts) <= 9 and answer.text.length == 900


async def test_followers_get_every_character_once_while_parts_are_merged() -> None:
    answer = Reply(Turn(1, "c", "t", 1, 2), 1, "m", 2_000_000)
    seen: dict[str, str] = {"content": "", "reasoning": ""}

    async def follow(slow: bool) -> str:
        seen = {"content": "", "reasoning": ""}
        async for runs in answer.follow(Cursor()):
            for kind, text in runs:
                seen[kind] += text
            await asyncio.sleep(0.002 if slow else 0)
        return seen["content"] + "|" + seen["reasoning"]

    tasks = [asyncio.create_task(follow(slow)) for slow in (False, True)]
    for number in range(500):
        answer.feed([Text(f"t{number} ")] if number % 7 else [Reasoning(f"r{number} ")])
        if number % 10 == 0:
            answer.text.unsaved()
        await asyncio.sleep(0)
    answer.begin_settling(FinalStatus("done"))
    answer.end(FinalStatus("done"))
    whole = answer.text.of("content") + "|" + answer.text.of("reasoning")
    assert await asyncio.gather(*tasks) == [whole, whole] and seen["content"] == ""
    late = [part async for runs in answer.follow(Cursor(5, 3)) for part in runs]
    assert "".join(text for kind, text in late if kind == "content") == answer.text.of("content")[5:]
    assert "".join(text for kind, text in late if kind == "reasoning") == answer.text.of("reasoning")[3:]


async def test_api_key_in_a_successful_reply_is_masked_in_every_stored_and_sent_place(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    body = {"model_provider": "p_test_model", "api_key": KEY}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    call = {
        "index": 0,
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": f'{{"k":"{KEY}"}}'},
    }
    escaped = data({"choices": [{"delta": {"content": "again KEY."}}]}).replace(
        b"KEY", "".join(f"\\u{ord(character):04x}" for character in KEY).encode()
    )
    parts = [chunk(f"it is {KEY}!"), escaped, chunk(reasoning_content=KEY), chunk(tool_calls=[call])]
    provider.script = provider.stream([*parts, chunk(finish="tool_calls"), usage(1, 1), DONE])
    events = await stream(client, user, conversation_id="c")
    kept = await messages_of(client, user, "c")
    assert text_of(events) == "it is ***!again ***." and KEY not in str((events, kept))
    assert '"***"' in kept[-1]["tool_calls"][0]["arguments"]
    asked = {"model": "test-model", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    response = await client.post("/v1/messages", json=asked, headers=user)
    assert response.status == 200 and KEY not in await response.text()


async def test_placeholder_api_key_is_not_masked_in_replies(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    body = {"model_provider": "p_test_model", "api_key": "lm-studio"}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    provider.script = provider.stream(reply("I run in lm-studio"))
    assert text_of(await stream(client, user)) == "I run in lm-studio"


def test_limits_are_larger_than_usual_replies() -> None:
    assert http.USUAL_BOUNDS == (8 * MIB, MIB) and http.LARGE_BOUNDS == (32 * MIB, 24 * MIB)
