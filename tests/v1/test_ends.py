"""How replies end at /v1: broken off, blank, refused, and in the form in which they were requested."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add, by_key, key_states, post
from scripted import DONE, Provider, chunk, data, reply, usage
from scripted_formats import PROTOCOLS, anthropic, gemini, refusal_event, streamed, whole

from chathub.config import Config

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
PATHS = {"openai": CHAT, "anthropic": MESSAGES}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}
each_client = pytest.mark.parametrize("path", [CHAT, MESSAGES])
each_format = pytest.mark.parametrize("protocol", PROTOCOLS)
BROKEN = {"message": "it broke", "code": 502}


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, heartbeat_seconds=0.2))


async def add_model(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, **model: Any
) -> None:
    await add(client, admin, provider.base_url, protocol, **model)
    key = {"model_provider": "upstream", "api_key": "key-0123456789", "label": "one"}
    await post(client, "/api/apikeys", key, admin)


async def read(client: TestClient, headers: Headers, path: str, **body: Any) -> tuple[int, str, str]:
    """Status, media type and body of the response."""
    async with asyncio.timeout(30), client.post(path, json=ASKED | body, headers=headers) as response:
        return response.status, response.content_type, await response.text()


def events_in(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def said(text: str) -> str:
    """The text of a stream in either client format."""
    pieces = []
    for event in events_in(text):
        if isinstance(event, dict):
            deltas = [choice["delta"] for choice in event.get("choices", [])] or [event.get("delta", {})]
            pieces += [delta.get("content") or delta.get("text") or "" for delta in deltas]
    return "".join(pieces)


async def ledger(client: TestClient, admin: Headers, attempts: int = 1) -> list[dict[str, Any]]:
    """The newest entries of the ledger, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            async with client.get("/api/usage?limit=10", headers=admin) as response:
                rows: list[dict[str, Any]] = (await response.json())["data"]
            if len(rows) >= attempts:
                return rows
            await asyncio.sleep(0.02)


async def check_cut(client: TestClient, admin: Headers) -> None:
    (row,) = await ledger(client, admin)
    assert row["end_reason"] == "cut"
    (key,) = (await key_states(client, admin)).values()
    assert (key["failure_count"], key["success_count"]) == (1, 0)


def openai_choice(index: int, content: str | None = None, **fields: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    return data({"choices": [{"index": index, "delta": delta, "finish_reason": None} | fields]})


SAID = chunk("so far")
BROKEN_OFF = {
    "error inside a choice": [SAID, openai_choice(0, error=BROKEN)],
    "error inside a choice that has ended": [SAID, openai_choice(0, finish_reason="stop", error=BROKEN)],
    "error inside another choice": [SAID, chunk(finish="stop"), openai_choice(1, "b", error=BROKEN)],
    "another choice without an end": [SAID, chunk(finish="stop"), openai_choice(1, "b")],
    "line of llama.cpp": [SAID, b'error: {"code":500,"message":"it broke"}\n\n'],
    "line of llama-box": [SAID, b'error: {"error":{"message":"it broke"}}\n\n'],
    "word of a broken server": [SAID, chunk(finish="error")],
    "no room for the model": [SAID, chunk(finish="insufficient_system_resource")],
    "older error of vLLM": [SAID, data({"object": "error", "message": "it broke", "code": 500})],
    "no end": [SAID],
}


# [DONE] is an end
BROKEN_CASES = [(kind, b"") for kind in BROKEN_OFF]
BROKEN_CASES += [(kind, DONE) for kind in BROKEN_OFF if not kind.endswith("end")]


@pytest.mark.parametrize(("kind", "ending"), BROKEN_CASES)
@each_client
async def test_broken_stream_ends_with_an_error_of_the_clients_format(
    client: TestClient, admin: Headers, provider: Provider, kind: str, ending: bytes, path: str
) -> None:
    await add_model(client, admin, provider, "openai")
    provider.script = provider.stream([*BROKEN_OFF[kind], *([ending] if ending else [])])
    status, _, text = await read(client, admin, path, stream=True)
    *_, error = events_in(text)
    assert status == 200 and said(text).startswith("so far")
    assert error["error"]["message"]
    if path == CHAT:
        assert error["error"]["code"] == "upstream_cut"
        forwarded = b"".join(BROKEN_OFF[kind]).decode()
        assert text.startswith(forwarded) and "[DONE]" not in text
    else:
        assert error["type"] == "error" and "message_stop" not in text
    await check_cut(client, admin)


@pytest.mark.parametrize("where", ["in a block", "after the blocks"])
@each_client
async def test_broken_stream_of_anthropic_ends_with_an_error(
    client: TestClient, admin: Headers, provider: Provider, where: str, path: str
) -> None:
    await add_model(client, admin, provider, "anthropic")
    begun = streamed("anthropic", "so far")[: 3 if where == "in a block" else 4]
    provider.script = provider.stream(begun)
    _, _, text = await read(client, admin, path, stream=True)
    assert said(text) == "so far" and events_in(text)[-1]["error"]["message"]
    assert "message_stop" not in text and "[DONE]" not in text
    if path == MESSAGES:
        assert text.startswith(b"".join(begun).decode()) and text.count("event: error") == 1
    await check_cut(client, admin)


@each_client
@each_format
@pytest.mark.parametrize("goes_on", [False, True])
async def test_error_event_of_the_provider_is_told_once_and_ends_the_stream(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str, goes_on: bool
) -> None:
    """Some servers send their last event after an error: the reply must not look complete."""
    await add_model(client, admin, provider, protocol)
    parts = streamed(protocol, "so far")
    begun = parts[: 3 if protocol == "anthropic" else 1]
    provider.script = provider.stream(
        [*begun, refusal_event(protocol, "it broke"), *(parts[-1:] if goes_on else [])]
    )
    _, _, text = await read(client, admin, path, stream=True)
    assert said(text) == "so far" and text.count("it broke") == 1
    assert "[DONE]" not in text and "message_stop" not in text
    await check_cut(client, admin)


async def test_usage_after_an_error_is_charged(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider, "openai")
    provider.script = provider.stream([SAID, data({"error": BROKEN}), usage(70, 30), DONE], pause=0.05)
    await read(client, admin, CHAT, stream=True)
    (row,) = await ledger(client, admin)
    assert (row["prompt_tokens"], row["completion_tokens"], row["end_reason"]) == (70, 30, "cut")


@each_client
async def test_whole_reply_with_an_error_inside_is_an_error(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add_model(client, admin, provider, "openai")
    body = whole("openai", "so far")
    body["choices"][0] |= {"error": BROKEN, "finish_reason": None}
    provider.script = provider.answer(200, body)
    status, _, text = await read(client, admin, path)
    assert status == 502 and "it broke" in text
    (row,) = await ledger(client, admin)
    assert (row["end_reason"], row["prompt_tokens"]) == ("cut", 7)


@pytest.mark.parametrize("kind", ["endless", "cut", "broken off"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/responses"])
async def test_what_came_of_a_stream_that_was_requested_whole_and_has_no_end_is_charged(
    client: TestClient, admin: Headers, provider: Provider, path: str, kind: str
) -> None:
    await add_model(client, admin, provider, "anthropic" if path == MESSAGES else "openai")
    text = "one two three four five " * 20
    if path == CHAT:
        begun = [chunk(text)]
    elif path == MESSAGES:
        begun = streamed("anthropic", text)[:3]
    else:
        delta = {"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "delta": text}
        created = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
        begun = [data(created), data(delta)]
    endless = [b": " + b"x" * 1_000_000 + b"\n\n"] * 40
    parts = [*begun, *(endless if kind == "endless" else [])]
    provider.script = provider.stream(parts, cut=kind == "cut")
    body = ASKED if path != "/v1/responses" else {"model": "m", "input": "hi"}
    async with asyncio.timeout(30), client.post(path, json=body, headers=admin) as response:
        assert response.status == 502
    (row,) = await ledger(client, admin)
    assert row["end_reason"] == "cut" and 80 <= row["completion_tokens"] <= 200


def blank(protocol: str, word: str | None, thought: str = "") -> list[bytes]:
    """A stream without any text."""
    if protocol == "anthropic":
        thinking = [{"type": "thinking", "thinking": thought, "signature": "s"}] if thought else []
        return anthropic(*thinking, stop=word or "end_turn")
    if protocol == "gemini":
        return gemini(*([{"text": thought, "thought": True}] if thought else []), finish=word or "STOP")
    begun = [chunk(reasoning_content=thought)] if thought else []
    return [*begun, *([chunk(finish=word)] if word else []), usage(7, 3), DONE]


@each_client
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("protocol", "word"),
    [
        ("openai", "stop"),
        ("openai", "eos"),
        ("openai", "tool_calls"),
        ("anthropic", "end_turn"),
        ("gemini", "STOP"),
        ("gemini", "MALFORMED_FUNCTION_CALL"),
    ],
)
async def test_reply_without_content_is_an_error_and_is_charged(
    client: TestClient, admin: Headers, provider: Provider, path: str, streams: bool, protocol: str, word: str
) -> None:
    """It is not requested a second time either: the provider charges for it."""
    await add_model(client, admin, provider, protocol)
    key = {"model_provider": "upstream", "api_key": "key-9876543210", "label": "two"}
    await post(client, "/api/apikeys", key, admin)
    provider.script = provider.stream(blank(protocol, word))
    status, _, text = await read(client, admin, path, stream=streams)
    assert status == 502 and "returned nothing" in text and len(provider.bodies) == 1
    (row,) = await ledger(client, admin)
    assert (row["end_reason"], row["prompt_tokens"]) == ("blank", 7)


@each_client
@each_format
async def test_reasoning_alone_is_no_reply(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add_model(client, admin, provider, protocol)
    provider.script = provider.stream(blank(protocol, None, "thoughts"))
    _, _, text = await read(client, admin, path, stream=True)
    assert "thoughts" in text and "returned nothing" in events_in(text)[-1]["error"]["message"]
    assert "[DONE]" not in text and "message_stop" not in text
    assert (await ledger(client, admin))[0]["end_reason"] == "blank"


@pytest.mark.parametrize(
    ("protocol", "word", "openai_word", "anthropic_word"),
    [
        ("openai", "length", "length", "max_tokens"),
        ("openai", "model_length", "length", "max_tokens"),
        ("openai", "sensitive", "content_filter", "refusal"),
        ("openai", "content_filtered", "content_filter", "refusal"),
        ("anthropic", "max_tokens", "length", "max_tokens"),
        ("anthropic", "model_context_window_exceeded", "length", "model_context_window_exceeded"),
        ("anthropic", "refusal", "content_filter", "refusal"),
        ("gemini", "MAX_TOKENS", "length", "max_tokens"),
        ("gemini", "MODEL_ARMOR", "content_filter", "refusal"),
        ("gemini", "SAFETY", "content_filter", "refusal"),
    ],
)
async def test_word_for_the_end_is_told_in_the_clients_words_also_without_content(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    protocol: str,
    word: str,
    openai_word: str,
    anthropic_word: str,
) -> None:
    await add_model(client, admin, provider, protocol)
    provider.script = provider.stream(blank(protocol, word))
    words = {"openai": (CHAT, openai_word), "anthropic": (MESSAGES, anthropic_word)}
    for client_format, (path, expected) in words.items():
        status, _, text = await read(client, admin, path)
        body = json.loads(text)
        told = body["choices"][0]["finish_reason"] if path == CHAT else body["stop_reason"]
        assert (status, told) == (200, expected), text
        _, _, text = await read(client, admin, path, stream=True)
        # the bytes of the client's own format are forwarded
        expected = word if client_format == protocol else expected
        assert f'"{expected}"' in text and "error" not in text


@each_client
async def test_refusal_of_the_model_is_told(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add_model(client, admin, provider, "openai")
    provider.script = provider.stream([chunk(refusal="No."), chunk(finish="stop"), DONE])
    for streams in (False, True):
        status, _, text = await read(client, admin, path, stream=streams)
        assert status == 200 and "No." in text
        assert ('"refusal"' in text) and ('"stop"' in text) == (path == CHAT)


# the form


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain"])
async def test_whole_reply_becomes_the_stream_that_was_requested(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, content_type: str
) -> None:
    await add_model(client, admin, provider, protocol)
    raw = b" \n" + json.dumps(whole(protocol, "你好", "thoughts"), indent=1).encode()
    for path in PATHS.values():
        provider.script = provider.stream([raw], content_type=content_type)
        status, got, text = await read(client, admin, path, stream=True)
        assert (status, got, said(text)) == (200, "text/event-stream", "你好") and "thoughts" in text
        assert ("[DONE]" if path == CHAT else "message_stop") in text
    assert [row["prompt_tokens"] for row in await ledger(client, admin, 2)] == [7, 7]


@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain"])
async def test_stream_becomes_the_whole_reply_that_was_requested(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, content_type: str
) -> None:
    await add_model(client, admin, provider, protocol)
    for path in PATHS.values():
        provider.script = provider.stream(streamed(protocol, "你好"), content_type=content_type)
        status, got, text = await read(client, admin, path)
        assert (status, got) == (200, "application/json")
        body = json.loads(text)
        content = body["choices"][0]["message"]["content"] if path == CHAT else body["content"][0]["text"]
        assert content == "你好"
    assert [row["prompt_tokens"] for row in await ledger(client, admin, 2)] == [7, 7]


@each_client
@each_format
async def test_model_without_streaming_is_asked_whole_for_a_stream(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add_model(client, admin, provider, protocol, supports_streaming=False)
    answer = provider.answer(200, whole(protocol, "你好"))

    async def slow(request: web.Request) -> web.StreamResponse:
        await provider.gate.wait()
        return await answer(request)

    provider.script = slow
    body = ASKED | {"stream": True}
    async with asyncio.timeout(30), client.post(path, json=body, headers=admin) as response:
        # a heartbeat comes while the provider is silent
        assert await response.content.readany()
        provider.gate.set()
        text = await response.text()
    assert response.content_type == "text/event-stream" and said(text) == "你好"
    assert not provider.last.get("stream") and "stream_options" not in provider.last
    assert "streamGenerateContent" not in provider.last["_path"]
    assert (await ledger(client, admin))[0]["end_reason"] == "stop"


async def test_failure_of_a_model_without_streaming_goes_to_the_next_key(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider, "openai", supports_streaming=False)
    key = {"model_provider": "upstream", "api_key": "key-9876543210", "label": "two", "priority": 9}
    await post(client, "/api/apikeys", key, admin)
    refused = provider.answer(503, {"error": {"message": "busy"}})
    provider.script = by_key(
        {"key-0123456789": provider.answer(200, whole("openai", "ok")), "key-9876543210": refused}
    )
    _, _, text = await read(client, admin, CHAT, stream=True)
    assert said(text) == "ok" and len(provider.bodies) == 2


async def test_choices_stay_apart_and_are_all_counted(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider, "openai")
    words = "many words of an answer " * 20
    parts = [openai_choice(index, words) for index in (0, 1)]
    ends = [openai_choice(index, finish_reason="stop") for index in (0, 1)]
    provider.script = provider.stream([*parts, *ends, DONE])
    _, _, text = await read(client, admin, CHAT, stream=True, n=2)
    assert text == b"".join([*parts, *ends, DONE]).decode()
    _, _, text = await read(client, admin, CHAT, n=2)
    assert [each["message"]["content"] for each in json.loads(text)["choices"]] == [words, words]
    one, two = await ledger(client, admin, 2)
    provider.script = provider.stream(reply(words)[:2])
    await read(client, admin, CHAT)
    single = (await ledger(client, admin, 3))[0]
    assert one["completion_tokens"] == two["completion_tokens"] >= 2 * single["completion_tokens"] - 2 > 50
