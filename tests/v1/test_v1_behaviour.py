"""Gateway requests at /v1: disconnects, forwarded bytes, charges, failover, fallback models, time-outs,
access tokens, limits.
"""

import asyncio
import hashlib
import io
import ipaddress
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from gateway import (
    ONE,
    PIXEL,
    TWO,
    Headers,
    add,
    add_pool,
    by_key,
    key_of,
    key_states,
    post,
    spent,
    stats,
    token,
    unused_address,
)
from scripted import DONE, Provider, chunk, reply, usage
from scripted_formats import PROTOCOLS, refusal, refusal_event, replying, streamed, whole

from chathub.clock import Clock
from chathub.config import Config
from chathub.config_values import TrustedProxies

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
HELLO = [{"role": "user", "content": "hi"}]
ASKED: dict[str, Any] = {"model": "m", "messages": HELLO, "max_tokens": 99}
every_format = pytest.mark.parametrize("protocol", PROTOCOLS)
each_way = pytest.mark.parametrize(
    ("path", "protocol"),
    [(CHAT, "openai"), (CHAT, "anthropic"), (CHAT, "gemini"), (MESSAGES, "anthropic"), (MESSAGES, "openai")],
)


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, heartbeat_seconds=0.2))


async def read(client: TestClient, headers: Headers, path: str = CHAT, **body: Any) -> tuple[int, bytes]:
    async with (
        asyncio.timeout(30),
        client.post(path, json=ASKED | body, headers=headers) as response,
    ):
        return response.status, await response.read()


def said(path: str, raw: bytes, streams: bool) -> str:
    """The text of a reply in either client format."""
    if not streams:
        answer = json.loads(raw)
        if path == CHAT:
            return str(answer["choices"][0]["message"]["content"])
        return "".join(block["text"] for block in answer["content"])
    events = [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: {")]
    assert not any(event.get("error") for event in events), events
    if path == CHAT:
        return "".join(each["delta"].get("content") or "" for e in events for each in e["choices"])
    return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")


async def used(client: TestClient, headers: Headers, requests: int = 1) -> tuple[int, int]:
    """Prompt and completion tokens that were charged for so many requests."""
    today = (await spent(client, headers, requests))["today"]
    return today["prompt_tokens"], today["completion_tokens"]


# disconnects


@each_way
async def test_disconnect_from_a_flowing_stream_closes_the_providers_connection(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    parts = streamed(protocol, "word ")
    place = 2 if protocol == "anthropic" else 0
    provider.script = provider.stream([*parts[:place], *[parts[place]] * 500], pause=0.02)
    response = await client.post(path, json=ASKED | {"stream": True}, headers=admin)
    async with asyncio.timeout(30):
        while b"word" not in await response.content.readany():
            pass
    assert provider.closed == 0
    response.close()
    await until(lambda: provider.closed == 1)
    prompt, completion = await used(client, admin)
    assert 0 < prompt < 100 and 0 < completion < 300


@each_way
async def test_disconnect_from_a_silent_stream_closes_the_providers_connection(
    connect: Connect, config: Config, provider: Provider, path: str, protocol: str
) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url, protocol)
    begun = streamed(protocol, "word ")[: 3 if protocol == "anthropic" else 1]
    provider.script = provider.stream(begun, stall_after=len(begun))
    response = await client.post(path, json=ASKED | {"stream": True}, headers=admin)
    async with asyncio.timeout(30):
        while b"word" not in await response.content.readany():
            pass
    response.close()
    await until(lambda: provider.closed == 1)
    prompt, completion = await used(client, admin)
    assert prompt > 0 and completion > 0


@each_way
@pytest.mark.parametrize("streams", [False, True])
async def test_disconnect_before_the_first_byte_is_charged_with_the_prompt_and_by_time(
    connect: Connect, config: Config, provider: Provider, path: str, protocol: str, streams: bool
) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.hang()
    sending = asyncio.ensure_future(client.post(path, json=ASKED | {"stream": streams}, headers=admin))
    await until(lambda: len(provider.bodies) == 1)
    sending.cancel()
    await asyncio.wait([sending])
    await until(lambda: provider.closed == 1)
    prompt, completion = await used(client, admin)
    # read on for 0.2 seconds: 200 tokens a second, at most the 99 that were requested
    assert prompt > 0 and 40 <= completion <= 99


# what is stored and what is charged


@each_way
@pytest.mark.parametrize("streams", [False, True])
async def test_gateway_reply_is_charged_exactly_and_not_stored(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol, input_price_per_1k=1, output_price_per_1k=2)
    provider.script = replying(provider, protocol, "你好")
    for _ in range(2):
        status, raw = await read(client, admin, path, stream=streams)
        assert status == 200 and said(path, raw, streams) == "你好"
    told = await spent(client, admin, 2)
    assert (told["today"]["prompt_tokens"], told["today"]["completion_tokens"]) == (14, 6)
    assert told["total_cost"] == pytest.approx(2 * (7 * 1 + 3 * 2) / 1000)
    assert [(row["model"], row["total_tokens"]) for row in told["by_model"]] == [("m", 20)]
    assert told["total_conversations"] == 0 and told["total_messages"] == 0
    assert (await (await client.get("/api/conversations", headers=admin)).json()) in ([], {"data": []})
    listed = await (await client.get("/api/tokens", headers=admin)).json()
    assert listed == []


async def test_reported_count_is_possible_for_a_prompt_beyond_the_known_window(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """The window of this model is not known, and taken as 32,768 tokens."""
    await add(client, admin, provider.base_url)
    for words, told in ((150_000, 400_000), (1, 327_680)):
        provider.script = provider.stream(reply("好", prompt=400_000))
        body = {"model": "m", "messages": [{"role": "user", "content": "word " * words}]}
        before = (await stats(client, admin))["today"]["prompt_tokens"]
        await post(client, "/v1/chat/completions", body, admin)
        assert (await stats(client, admin))["today"]["prompt_tokens"] - before == told


@each_way
async def test_cut_stream_is_charged_by_estimate(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    text = "some words of an answer that does not end"
    begun = streamed(protocol, text)[: 3 if protocol == "anthropic" else 1]
    provider.script = provider.stream(begun, cut=True, pause=0.05)
    status, raw = await read(client, admin, path, stream=True)
    assert status == 200 and b"error" in raw
    prompt, completion = await used(client, admin)
    # Anthropic reports the prompt tokens at the start
    assert 0 < prompt < 100 and 5 <= completion <= 20


async def test_usage_of_an_access_token_counts_for_the_token_and_its_user(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    key = await token(client, user)
    await read(client, {"Authorization": f"Bearer {key}"}, stream=True)
    assert await used(client, user) == (7, 3) and await used(client, admin, 0) == (0, 0)
    (row,) = await (await client.get("/api/tokens", headers=user)).json()
    assert row["monthly_usage"] == 10


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_image_in_a_cut_stream_is_not_charged_by_its_bytes(
    client: TestClient, admin: Headers, provider: Provider, protocol: str
) -> None:
    """A provider counts an image of any size as about a thousand tokens."""
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.stream(
        streamed(protocol, "a pixel")[: 3 if protocol == "anthropic" else 1], cut=True, pause=0.05
    )
    url = "data:image/png;base64," + PIXEL[:-4] + "AAAA" * 60_000
    content = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    status, _ = await read(client, admin, messages=[{"role": "user", "content": content}], stream=True)
    assert status == 200
    prompt, _ = await used(client, admin)
    assert prompt < 5000


# forwarded bytes

SAID = chunk("你") + chunk("好")
LAST = chunk(finish="stop")
TOLD = usage(7, 3)
ODD_STREAMS = {
    "plain": (SAID + LAST, TOLD, DONE),
    "with comments": (b": hello\n\n" + SAID + b": OPENROUTER PROCESSING\n\n" + LAST, TOLD, b":\n\n" + DONE),
    "with CRLF": tuple(part.replace(b"\n", b"\r\n") for part in (SAID + LAST, TOLD, DONE)),
    "without blanks": tuple(part.replace(b"data: ", b"data:") for part in (SAID + LAST, TOLD, DONE)),
    "with other fields": (b"id: 7\nretry: 3\nevent: message\n" + SAID + LAST, b"id: 8\n" + TOLD, DONE),
    "spaced out": (SAID + LAST, TOLD.replace(b'"choices": []', b'"choices" : [ ]'), DONE),
    "closely": tuple(part.replace(b": ", b":").replace(b", ", b",") for part in (SAID + LAST, TOLD, DONE)),
    "with more empty lines": (b"\n\n" + SAID + b"\n\n\n" + LAST, TOLD, DONE + b"\n"),
    "with words that look like usage": (
        chunk('{"usage": 1, "choices": []}') + chunk('"usage"') + chunk('"choices":[]') + LAST,
        TOLD,
        DONE,
    ),
    "with usage in every chunk": (
        SAID.replace(b'"choices"', b'"usage": null, "choices"') + LAST,
        TOLD,
        DONE,
    ),
    "without an end": (SAID + LAST, TOLD, DONE.rstrip()),
    "with no usage": (SAID + LAST, b"", DONE),
}


def cuts(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


# byte by byte where a split may separate what belongs together
CUTS = [(kind, size) for kind in ODD_STREAMS for size in (5, 100_000)]
CUTS += [(kind, 1) for kind in ("with CRLF", "with usage in every chunk", "without an end")]


@pytest.mark.parametrize(("kind", "size"), CUTS)
@pytest.mark.parametrize("include_usage", [False, True])
async def test_stream_bytes_are_forwarded_unchanged_except_unrequested_usage(
    client: TestClient, admin: Headers, provider: Provider, kind: str, size: int, include_usage: bool
) -> None:
    await add(client, admin, provider.base_url)
    before, told, after = ODD_STREAMS[kind]
    pieces = cuts(before + told + after, size)
    provider.script = provider.stream(pieces, pause=0.0005 if size < 9 else 0)
    more = {"stream_options": {"include_usage": True}} if include_usage else {}
    status, got = await read(client, admin, stream=True, **more)
    assert status == 200
    assert got == before + (told if include_usage else b"") + after
    bill = await used(client, admin)
    assert bill == (7, 3) if told else min(bill) > 0


async def test_event_without_choices_and_usage_is_forwarded(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Azure begins in that way: the results of its filter are in an event of their own."""
    await add(client, admin, provider.base_url)
    first = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}\n\n'
    provider.script = provider.stream([first, *reply("ok")])
    _, got = await read(client, admin, stream=True)
    assert got == first + chunk("ok") + chunk(finish="stop") + DONE


async def test_whole_reply_is_forwarded_unchanged(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    raw = b" \n" + json.dumps(whole("openai", "\u4f60"), indent=2).encode() + b"\n"
    provider.script = provider.answer(200, raw)
    assert await read(client, admin) == (200, raw)
    assert await used(client, admin) == (7, 3)


async def test_provider_that_refuses_stream_options_gets_the_request_without_them(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """The client did not send the field, so its request must not fail because of it."""
    await add(client, admin, provider.base_url)

    async def strict(request: Any) -> Any:
        if "stream_options" in await request.json():
            body = refusal("openai", 400, "Unrecognized request argument supplied: stream_options")
            return await provider.answer(400, body)(request)
        return await provider.stream(reply("ok"))(request)

    provider.script = strict
    for _ in range(2):
        status, raw = await read(client, admin, stream=True)
        assert status == 200 and said(CHAT, raw, True) == "ok"
    assert len(provider.bodies) == 3, "what was learned is remembered"


# failover to other API keys

TROUBLES = {
    # the health of the API key; a transient failure only puts it behind the others for a while
    "401": "broken",
    # it rests for the model
    "429": "ok",
    "500": "ok",
    "answers with an error": "ok",
    "answers with nothing": "ok",
}


@each_way
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_failure_before_the_first_byte_fails_over_to_the_next_api_key(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    path: str,
    protocol: str,
    streams: bool,
    trouble: str,
) -> None:
    await add_pool(client, admin, provider, protocol)
    event = refusal_event(protocol, "overloaded")
    kind = "text/event-stream" if streams else "application/json"
    error = provider.answer(200, refusal(protocol, 500, "overloaded"))
    scripts = {
        "401": provider.answer(401, refusal(protocol, 401, "bad key")),
        "429": provider.answer(429, refusal(protocol, 429, "slowly"), {"Retry-After": "30"}),
        "500": provider.answer(500, refusal(protocol, 500, "broken")),
        "answers with an error": provider.stream([event]) if streams else error,
        "answers with nothing": provider.stream([], content_type=kind),
    }
    provider.script = by_key({ONE: scripts[trouble], TWO: replying(provider, protocol, "from two")})
    status, raw = await read(client, admin, path, stream=streams)
    assert status == 200, raw
    assert said(path, raw, streams) == "from two"
    assert [key_of(each) for each in provider.headers] == [ONE, TWO]
    await until_used(client, admin)
    states = await key_states(client, admin)
    assert states["one"]["health"] == TROUBLES[trouble] and states["one"]["failure_count"] == 1
    assert states["one"]["last_error"] and bool(states["one"]["cooldown_until"]) == (trouble[0] != "4")
    assert [rest["model"] for rest in states["one"]["models"]] == (["m"] if trouble == "429" else [])
    assert states["two"]["health"] != "broken" and states["two"]["success_count"] == 1
    assert await used(client, admin) == (7, 3)
    # the failed API key is cooling: it is not tried again
    await read(client, admin, path, stream=streams)
    assert key_of(provider.headers[-1]) == TWO and len(provider.bodies) == 3


@pytest.mark.impatient
@each_way
@pytest.mark.parametrize(
    ("trouble", "streams", "expected"),
    [
        ("breaks off", True, 502),
        ("breaks off", False, 502),
        ("falls silent", True, 504),
        ("falls silent", False, 504),
        ("hangs", False, 504),
    ],
)
async def test_request_that_may_have_been_processed_is_not_retried_with_another_api_key(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    path: str,
    protocol: str,
    trouble: str,
    streams: bool,
    expected: int,
) -> None:
    await add_pool(client, admin, provider, protocol)
    kind = "text/event-stream" if streams else "application/json"
    begun = streamed(protocol, "x")[0][:9] if streams else b'{"id'
    scripts = {
        "hangs": provider.hang(),
        "breaks off": provider.stream([begun], cut=True, pause=0.05, content_type=kind),
        "falls silent": provider.stream([b"\n"], stall_after=1, content_type=kind),
    }
    provider.script = by_key({ONE: scripts[trouble], TWO: replying(provider, protocol, "from two")})
    status, raw = await read(client, admin, path, stream=streams)
    # if a heartbeat already sent the response headers, the failure is an event
    assert status == expected or (status == 200 and "from two" not in str(raw) and "error" in str(raw)), raw
    assert [key_of(each) for each in provider.headers] == [ONE]
    states = await key_states(client, admin)
    assert states["one"]["health"] == "ok" and states["one"]["failure_count"] == 1
    assert states["one"]["cooldown_until"]


@pytest.mark.impatient
@each_way
async def test_late_stream_headers_fail_over_to_the_next_api_key(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add_pool(client, admin, provider, protocol)
    provider.script = by_key({ONE: provider.hang(), TWO: replying(provider, protocol, "from two")})
    status, raw = await read(client, admin, path, stream=True)
    assert status == 200 and said(path, raw, True) == "from two"
    assert [key_of(each) for each in provider.headers] == [ONE, TWO]


async def until_used(client: TestClient, admin: Headers) -> None:
    async with asyncio.timeout(30):
        while not (await key_states(client, admin))["two"]["success_count"]:
            await asyncio.sleep(0.02)


@each_way
async def test_unreachable_base_url_fails_over_to_the_next_api_key(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add_pool(client, admin, provider, protocol)
    body = {
        "model_provider": "upstream",
        "api_key": ONE,
        "label": "one",
        "priority": 10,
        "base_url": unused_address(),
    }
    await post(client, "/api/apikeys", body, admin)
    provider.script = replying(provider, protocol, "from two")
    status, raw = await read(client, admin, path, stream=True)
    assert status == 200 and said(path, raw, True) == "from two"
    assert [key_of(each) for each in provider.headers] == [TWO]
    state = (await key_states(client, admin))["one"]
    assert state["failure_count"] == 1 and state["cooldown_until"]


@each_way
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_invalid_request_is_not_retried_with_the_next_api_key(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str, status: int
) -> None:
    await add_pool(client, admin, provider, protocol)
    provider.script = provider.answer(status, refusal(protocol, status, "your mistake"))
    assert (await read(client, admin, path, stream=True))[0] == status
    assert len(provider.bodies) == 1
    state = (await key_states(client, admin))["one"]
    assert state["health"] == "ok" and not state["cooldown_until"]


@each_way
@pytest.mark.parametrize("trouble", ["told", "cut"])
async def test_no_failover_happens_after_the_first_byte(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str, trouble: str
) -> None:
    await add_pool(client, admin, provider, protocol)
    begun = streamed(protocol, "so far")[: 3 if protocol == "anthropic" else 1]
    last = [refusal_event(protocol, "it broke")] if trouble == "told" else []
    provider.script = provider.stream([*begun, *last], cut=trouble == "cut", pause=0.05)
    status, raw = await read(client, admin, path, stream=True)
    assert status == 200 and raw.count(b"so far") == 1 and b"error" in raw
    assert len(provider.bodies) == 1
    assert (await key_states(client, admin))["one"]["success_count"] == 0


async def test_all_api_keys_cooling_gives_429_with_retry_after(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = provider.answer(429, refusal("openai", 429, "slowly"), {"Retry-After": "30"})
    for _ in range(2):
        response = await client.post(CHAT, json=ASKED, headers=admin)
        assert response.status == 429 and 25 <= int(response.headers["Retry-After"]) <= 30
        assert (await response.json())["error"]["code"] == "rate_limit_exceeded"
    assert len(provider.bodies) == 2


# fallback models


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("streams", [False, True])
@every_format
async def test_unreachable_provider_fails_over_to_the_fallback_model(
    client: TestClient, admin: Headers, provider: Provider, path: str, streams: bool, protocol: str
) -> None:
    await add(client, admin, unused_address(), "openai", provider="down", fallback_model="behind")
    await add(client, admin, provider.base_url, protocol, "behind")
    provider.script = replying(provider, protocol, "from behind")
    status, raw = await read(client, admin, path, stream=streams)
    assert status == 200 and said(path, raw, streams) == "from behind"
    rows = (await spent(client, admin, 1))["by_model"]
    assert [(row["model"], row["requests"], row["total_tokens"]) for row in rows] == [("behind", 1, 10)]


@pytest.mark.impatient
@each_way
async def test_late_stream_headers_fail_over_to_the_fallback_model(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    """Also after a heartbeat was sent: no part of a reply had been sent."""
    await add(client, admin, provider.base_url, protocol, fallback_model="behind")
    async with Provider() as other:
        await add(client, admin, other.base_url, "openai", "behind", provider="other")
        provider.script, other.script = provider.hang(), replying(other, "openai", "from behind")
        status, raw = await read(client, admin, path, stream=True)
        assert status == 200 and said(path, raw, True) == "from behind"
        assert len(provider.bodies) == len(other.bodies) == 1


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_fallback_model_is_used_while_the_only_api_key_is_cooling(
    client: TestClient, admin: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol, needs_key=True, fallback_model="behind")
    body = {"model_provider": "upstream", "api_key": ONE}
    await post(client, "/api/apikeys", body, admin)
    await add(client, admin, provider.base_url, "openai", "behind", provider="other")
    broken = provider.answer(503, refusal(protocol, 503, "down"))
    provider.script = by_key({ONE: broken, "": replying(provider, "openai", "from behind")})
    for _ in range(3):
        status, raw = await read(client, admin)
        assert status == 200, raw
        assert said(CHAT, raw, False) == "from behind"


async def test_fallback_model_is_not_tried_for_an_invalid_request_or_after_the_first_byte(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, fallback_model="behind")
    await add(client, admin, unused_address(), "openai", "behind", provider="other")
    provider.script = provider.answer(400, refusal("openai", 400, "your mistake"))
    assert (await read(client, admin))[0] == 400
    provider.script = provider.stream([chunk("so far")], cut=True, pause=0.05)
    status, raw = await read(client, admin, stream=True)
    assert status == 200 and b"so far" in raw and b"error" in raw


# silence


@pytest.mark.parametrize(
    ("path", "beat"), [(CHAT, b": keep-alive\n\n"), (MESSAGES, b'event: ping\ndata: {"type": "ping"}\n\n')]
)
async def test_silent_translated_stream_sends_heartbeats(
    client: TestClient, admin: Headers, provider: Provider, path: str, beat: bytes
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    first, *rest = streamed("gemini", "at last", "thinking")
    provider.script = provider.stream([first, *rest], stall_after=1)
    async with client.post(path, json=ASKED | {"stream": True}, headers=admin) as response:
        got = b""
        async with asyncio.timeout(30):
            while got.count(beat) < 2:
                got += await response.content.readany()
        assert b"thinking" in got
        provider.gate.set()
        got += await response.read()
    assert said(path, got, True) == "at last"


@each_way
@pytest.mark.parametrize("fallback", ["", "behind"])
async def test_stream_over_the_time_limit_ends_with_an_error_and_nothing_after_it(
    connect: Connect, config: Config, provider: Provider, path: str, protocol: str, fallback: str
) -> None:
    client = await connect(replace(config, reply_seconds=0.5))
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url, protocol, fallback_model=fallback)
    async with Provider() as other:
        await add(client, admin, other.base_url, "openai", "behind", provider="other")
        parts = streamed(protocol, "word ")
        place = 2 if protocol == "anthropic" else 0
        provider.script = provider.stream([*parts[:place], *[parts[place]] * 500], pause=0.02)
        status, raw = await read(client, admin, path, stream=True)
        assert status == 200 and b"word" in raw
        *_, last = raw.strip().split(b"\n")
        assert "error" in json.loads(last.removeprefix(b"data: "))
        assert other.bodies == []
    await until(lambda: provider.closed == 1)


# access tokens


@pytest.fixture
def later() -> list[float]:
    """Seconds to add to the server's clock."""
    return [0.0]


@pytest.fixture
async def aged(connect: Connect, config: Config, later: list[float]) -> TestClient:
    return await connect(config, clock=Clock(seconds=lambda: time.time() + later[0]))


async def test_access_token_expires(aged: TestClient, later: list[float]) -> None:
    admin = await sign_in(aged, "admin", "admin123")
    bearer = {"Authorization": "Bearer " + await token(aged, admin, expires_in_days=1)}
    lasting = {"Authorization": "Bearer " + await token(aged, admin)}
    assert (await aged.get("/v1/models", headers=bearer)).status == 200
    later[0] = 86_390
    assert (await aged.get("/v1/models", headers=bearer)).status == 200
    later[0] = 86_410
    response = await aged.get("/v1/models", headers=bearer)
    assert response.status == 401
    assert (await response.json())["error"]["type"] == "authentication_error"
    assert (await aged.get("/v1/models", headers=lasting)).status == 200


async def test_access_token_shows_its_last_use(aged: TestClient, later: list[float]) -> None:
    admin = await sign_in(aged, "admin", "admin123")
    bearer = {"Authorization": "Bearer " + await token(aged, admin)}

    async def last_used() -> str | None:
        (row,) = await (await aged.get("/api/tokens", headers=admin)).json()
        found: str | None = row["last_used_at"]
        return found

    assert await last_used() is None
    await aged.get("/v1/models", headers=bearer)
    first = await last_used()
    later[0] = 3600
    await aged.get("/v1/models", headers=bearer)
    second = await last_used()
    assert first and second and first < second


async def test_access_token_reaches_only_its_models_on_every_route(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    await add(client, admin, provider.base_url, name="other")
    key = await token(client, admin, allowed_models=["m"], opens_api=True)
    bearer = {"Authorization": f"Bearer {key}"}
    for path in (CHAT, MESSAGES):
        assert (await read(client, bearer, path, model="m"))[0] == 200
        assert (await read(client, bearer, path, model="other"))[0] == 403
    response = await client.post("/api/chat", json={"message": "hi", "model": "other"}, headers=bearer)
    assert response.status == 403
    assert [body["model"] for body in provider.bodies] == ["m", "m"]


async def test_access_token_is_valid_in_its_networks_only_also_behind_a_proxy(
    connect: Connect, config: Config
) -> None:
    client = await connect(
        replace(config, trusted_proxies=TrustedProxies((ipaddress.ip_network("127.0.0.1"),)))
    )
    admin = await sign_in(client, "admin", "admin123")
    key = await token(client, admin, allowed_networks=["10.1.0.0/16", "2001:db8::/32"])
    for address, status in (("10.1.2.3", 200), ("2001:db8::7", 200), ("10.2.0.1", 403), ("", 403)):
        headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}
        assert (await client.get("/v1/models", headers=headers)).status == status, address


async def test_forwarded_address_from_an_untrusted_peer_is_ignored(
    client: TestClient, admin: Headers
) -> None:
    key = await token(client, admin, allowed_networks=["10.1.0.0/16"])
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": "10.1.2.3"}
    assert (await client.get("/v1/models", headers=headers)).status == 403


async def test_access_token_reaches_the_api_only_with_opens_api_and_never_session_routes(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    narrow = {"Authorization": "Bearer " + await token(client, admin)}
    wide = {"Authorization": "Bearer " + await token(client, admin, opens_api=True)}
    chat = {"message": "hi", "model": "m"}
    for headers, status in ((narrow, 403), (wide, 200)):
        assert (await client.get("/api/conversations", headers=headers)).status == status
        assert (await client.post("/api/chat", json=chat, headers=headers)).status == status
        assert (await client.get("/v1/models", headers=headers)).status == 200
        # an access token of an administrator has no administrator's rights
        assert (await client.get("/api/users", headers=headers)).status == 403
        assert (await client.post("/api/models", json={}, headers=headers)).status == 403
        assert (await client.get("/api/tokens", headers=headers)).status == 403
        assert (await client.post("/api/tokens", json={"name": "x"}, headers=headers)).status == 403
        assert (await client.delete("/api/tokens/1", headers=headers)).status == 403
    assert len(await (await client.get("/api/tokens", headers=admin)).json()) == 2


async def test_deleted_access_token_ends_at_once_and_others_cannot_delete_it(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    key = await token(client, user)
    other = await token(client, user)
    (first, _) = await (await client.get("/api/tokens", headers=user)).json()
    for each in (key, other):
        response = await client.get("/v1/models", headers={"Authorization": f"Bearer {each}"})
        assert response.status == 200
    assert (await client.delete(f"/api/tokens/{first['id']}", headers=admin)).status == 404
    assert (await client.get("/v1/models", headers={"x-api-key": key})).status == 200
    assert (await client.delete(f"/api/tokens/{first['id']}", headers=user)).status == 200
    assert (await client.get("/v1/models", headers={"x-api-key": key})).status == 401
    assert (await client.get("/v1/models", headers={"x-api-key": other})).status == 200


async def test_access_tokens_of_a_disabled_user_end_at_once(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    key = await token(client, user)
    assert (await client.get("/v1/models", headers={"x-api-key": key})).status == 200
    listed = (await (await client.get("/api/users?search=user", headers=admin)).json())["users"]
    (row,) = [each for each in listed if each["username"] == "user"]
    assert (await client.delete(f"/api/users/{row['id']}", headers=admin)).status == 200
    assert (await client.get("/v1/models", headers={"x-api-key": key})).status == 401


async def test_only_the_hash_of_an_access_token_is_stored(
    client: TestClient, config: Config, admin: Headers
) -> None:
    key = await token(client, admin)
    assert (await client.get("/v1/models", headers={"x-api-key": key})).status == 200
    listing = await (await client.get("/api/tokens", headers=admin)).text()
    assert key not in listing and key[-4:] in listing
    files = [path for path in config.database.parent.iterdir() if path.name.startswith(config.database.name)]
    kept = b"".join(path.read_bytes() for path in files)
    assert key.encode() not in kept and key.removeprefix("sk-hub-").encode() not in kept
    assert hashlib.sha256(key.encode()).hexdigest().encode() in kept


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_session_token_and_access_token_work_in_either_header(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    key = await token(client, user)
    login = user["Authorization"].removeprefix("Bearer ")
    for headers in (user, {"x-api-key": login}, {"x-api-key": key}, {"Authorization": f"bearer {key}"}):
        assert (await read(client, headers, path))[0] == 200
    # no way into routes that require a session
    assert (await client.get("/api/conversations", headers={"x-api-key": login})).status == 401
    for headers in ({}, {"x-api-key": "x"}, {"Authorization": f"Basic {key}"}, {"Authorization": key}):
        assert (await read(client, headers, path))[0] == 401


# limits and malformed bodies


def is_error(path: str, body: Any, type_: str) -> bool:
    if path == MESSAGES:
        return bool(body["type"] == "error" and body["error"]["type"] == type_ and body["error"]["message"])
    return set(body["error"]) == {"message", "type", "param", "code"} and body["error"]["type"] == type_


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/embeddings"])
async def test_body_above_the_limit_gets_413_in_the_clients_format(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    body = json.dumps(ASKED | {"messages": [{"role": "user", "content": "x" * (33 << 20)}]}).encode()
    async with asyncio.timeout(30):
        response = await client.post(path, data=io.BytesIO(body), headers={**admin, **JSON})
        type_ = "request_too_large" if path == MESSAGES else "invalid_request_error"
        assert response.status == 413 and is_error(path, await response.json(), type_)
    assert provider.bodies == []


@each_way
async def test_body_of_many_megabytes_is_accepted(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "long")
    text = "x" * (20 << 20)
    body = json.dumps(ASKED | {"messages": [{"role": "user", "content": text}]}).encode()
    async with asyncio.timeout(30):
        response = await client.post(path, data=io.BytesIO(body), headers={**admin, **JSON})
        assert response.status == 200 and said(path, await response.read(), False) == "long"
    assert len(json.dumps(provider.last)) > len(text)


MALFORMED = [
    b"",
    b"nothing",
    b"[]",
    b"{}",
    b'"text"',
    b'{"model": "m", "messages": [}',
    b'{"model": 1, "messages": []}',
    b'{"model": "", "messages": []}',
    b'{"model": "m", "stream": "yes", "messages": []}',
    b'{"model": "m\xff", "messages": []}',
    b'{"messages": [{"role": "user", "content": "hi"}]}',
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/embeddings"])
@pytest.mark.parametrize("body", MALFORMED)
async def test_malformed_body_gets_400_in_the_clients_format(
    client: TestClient, admin: Headers, provider: Provider, path: str, body: bytes
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    response = await client.post(path, data=body, headers={**admin, **JSON})
    assert response.status == 400, await response.text()
    assert is_error(path, await response.json(), "invalid_request_error")
    assert provider.bodies == []


JSON = {"Content-Type": "application/json"}
NESTED = "[" * 100_000 + "]" * 100_000
UNFIT = [
    {"messages": []},
    {"messages": "hi"},
    {"messages": [{"role": "wizard", "content": "hi"}]},
    {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    {"messages": [{"role": "user"}]},
    {"tools": "hammer"},
    {"tools": [{"type": "function"}]},
    {"max_tokens": 0},
    {"temperature": "hot"},
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("wrong", UNFIT, ids=json.dumps)
async def test_invalid_field_is_refused_by_name_before_translation(
    client: TestClient, admin: Headers, provider: Provider, path: str, wrong: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    status, raw = await read(client, admin, path, **wrong)
    assert status == 400 and is_error(path, json.loads(raw), "invalid_request_error")
    (field,) = wrong
    assert field in json.loads(raw)["error"]["message"]
    assert provider.bodies == []


@each_way
async def test_deeply_nested_body_or_half_a_character_causes_no_server_error(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "ok")
    head = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "'
    bodies = [head + b'\\ud83d"}]}', head + b'x"}], "metadata": ' + NESTED.encode() + b"}"]
    for body in bodies:
        response = await client.post(path, data=body, headers={**admin, **JSON})
        assert response.status in (200, 400), await response.text()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/messages/nothing", 404),
        ("GET", CHAT, 405),
        ("DELETE", MESSAGES, 405),
    ],
)
async def test_unknown_path_or_method_gets_an_error_in_the_clients_format(
    client: TestClient, admin: Headers, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path, headers=admin)
    assert response.status == status
    body = await response.json()
    assert body["error"]["message"] and (body.get("type") == "error") == path.startswith(MESSAGES)
    # with another code clients would say that the model is unknown
    code = "unknown_path" if status == 404 else "method_not_allowed"
    assert response.headers["X-ChatHub-Code"] == code and body["error"].get("code", code) == code


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_disabling_a_user_cuts_their_running_gateway_stream(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    user = await sign_in(client, "user", "user123")
    provider.script = provider.stream([chunk("a"), *reply("b")], stall_after=1)
    body = {"model": "m", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    async with client.post(path, json=body, headers=user) as response:
        assert b"a" in await response.content.readany()
        assert (await client.delete("/api/users/2", headers=admin)).status == 200
        async with asyncio.timeout(30):
            while not provider.closed:
                await asyncio.sleep(0.01)


async def test_deleting_the_api_key_in_use_ends_the_gateway_request(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, needs_key=True)
    key = {"model_provider": "upstream", "api_key": "a-key-that-will-go-0123456789"}
    saved = await (await client.post("/api/apikeys", json=key, headers=user)).json()
    provider.script = provider.stream([chunk("a"), *reply("b")], stall_after=1)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with client.post("/v1/chat/completions", json=body, headers=user) as response:
        assert b"a" in await response.content.readany()
        assert provider.headers[-1]["Authorization"] == f"Bearer {key['api_key']}"
        assert (await client.delete(f"/api/apikeys/{saved['apikey']['id']}", headers=user)).status == 200
        # the provider stalls: nothing else ends it
        async with asyncio.timeout(30):
            while not provider.closed:
                await asyncio.sleep(0.01)
