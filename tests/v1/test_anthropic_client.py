"""Anthropic's own Python client against ChatHub, with providers of every format behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import PATHS, PIXEL, TOOL, Headers, add, official, sent, spent, token, unused_address
from scripted import Provider
from scripted_formats import PROTOCOLS, anthropic, refusal, refusal_event, replying, streamed, whole

from chathub.config import Config

sdk = official("anthropic")

Hub = Callable[..., Awaitable[Any]]
every_format = pytest.mark.parametrize("protocol", PROTOCOLS)
HELLO: list[Any] = [{"role": "user", "content": "hi"}]
TOOLS: list[Any] = [
    {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["schema"]}
]
CALL = ("toolu_1", "weather", {"place": "北京"})
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 2000, "messages": HELLO}


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, heartbeat_seconds=0.2))


@pytest.fixture
async def hub(client: TestClient, admin: Headers) -> AsyncIterator[Hub]:
    """Anthropic's client with an access token: ``await hub()``, or with the fields of the token."""
    opened: list[Any] = []

    async def connect(key: str = "", **fields: Any) -> Any:
        key = key or await token(client, admin, **fields)
        # no TLS is used here, and reading the certificates of all authorities takes 60 ms
        http = sdk.DefaultAsyncHttpxClient(trust_env=False, verify=False)
        base_url = str(client.make_url("/"))
        made = sdk.AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0, timeout=30, http_client=http)
        opened.append(made)
        return made

    yield connect
    for each in opened:
        await each.close()


async def final(made: Any, **asked: Any) -> Any:
    """The message that the SDK's stream helper returns."""
    async with asyncio.timeout(30), made.messages.stream(**asked) as stream:
        return await stream.get_final_message()


async def answered(made: Any, streams: bool, **asked: Any) -> Any:
    return await (final(made, **asked) if streams else made.messages.create(**asked))


# answers


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_message_is_answered_whole_and_streamed(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "你好，世界")
    message = await answered(await hub(), streams, **ASKED)
    assert message.type == "message" and message.role == "assistant" and message.id
    assert [(block.type, block.text) for block in message.content] == [("text", "你好，世界")]
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 3)
    assert provider.last["_path"] == PATHS[protocol][streams]
    assert (await spent(client, admin, 1))["tokens_used"] == 10


@every_format
async def test_text_is_streamed_in_pieces(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    parts = streamed(protocol, "你好")
    # the end waits for the gate: earlier text must arrive without it
    held = len(parts) - (3 if protocol == "anthropic" else 1 if protocol == "gemini" else 3)
    provider.script = provider.stream(parts, stall_after=held)
    seen = []
    async with asyncio.timeout(30), (await hub()).messages.stream(**ASKED) as stream:
        async for text in stream.text_stream:
            seen.append(text)
            provider.gate.set()
    assert "".join(seen) == "你好"


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_thinking_is_a_block_before_the_text(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "42", "想一想")
    message = await answered(await hub(), streams, **ASKED)
    thinking, text = message.content
    assert (thinking.type, thinking.thinking, text.text) == ("thinking", "想一想", "42")
    # DeepSeek's reasoning may have to go back, so its signature says what it is
    assert thinking.signature.startswith("chathub.1." if protocol == "openai" else "")
    assert thinking.signature == "signed" or protocol != "anthropic"


# tools


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_tool_call_and_its_result_are_translated(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    made = await hub()
    provider.script = replying(provider, protocol, wanted=[CALL])
    message = await answered(made, streams, **ASKED, tools=TOOLS, tool_choice={"type": "any"})
    (block,) = message.content
    assert message.stop_reason == "tool_use"
    assert (block.type, block.id, block.name, block.input) == ("tool_use", *CALL)
    function = {
        "name": TOOL["name"],
        "description": TOOL["description"],
        "parameters": TOOL["schema"],
    }
    if protocol == "openai":
        assert provider.last["tools"] == [{"type": "function", "function": function}]
        assert provider.last["tool_choice"] == "required"
    elif protocol == "gemini":
        function["parametersJsonSchema"] = function.pop("parameters")
        assert provider.last["tools"] == [{"functionDeclarations": [function]}]
        assert provider.last["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    else:
        assert provider.last["tools"] == TOOLS and provider.last["tool_choice"] == {"type": "any"}

    provider.script = replying(provider, protocol, "晴天")
    use = {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "晴"}
    turns = [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    message = await answered(made, streams, **(ASKED | {"messages": turns}), tools=TOOLS)
    assert message.content[0].text == "晴天" and message.stop_reason == "end_turn"
    if protocol == "anthropic":
        assert provider.last["messages"] == turns
    elif protocol == "openai":
        question, answer, tool = provider.last["messages"]
        ((call_id, kind, called),) = [tuple(call.values()) for call in answer["tool_calls"]]
        assert (question, call_id, kind) == (HELLO[0], "toolu_1", "function")
        assert (called["name"], json.loads(called["arguments"])) == CALL[1:]
        assert tool == {"role": "tool", "tool_call_id": "toolu_1", "content": "晴"}
    else:
        assert [each["role"] for each in provider.last["contents"]] == ["user", "model", "user"]
        parts = [each["parts"] for each in provider.last["contents"]]
        called = {"id": "toolu_1", "name": "weather"}
        assert parts[1] == [{"functionCall": {**called, "args": CALL[2]}}]
        assert parts[2] == [{"functionResponse": {**called, "response": {"output": "晴"}}}]


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_two_tool_calls_arrive_in_one_reply(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    other = ("toolu_2", "weather", {"place": "上海"})
    provider.script = replying(provider, protocol, "看看", wanted=[CALL, other])
    message = await answered(await hub(), streams, **ASKED, tools=TOOLS)
    text, *calls = message.content
    assert text.text == "看看" and message.stop_reason == "tool_use"
    assert [(each.id, each.name, each.input) for each in calls] == [CALL, other]


# requests to the provider


@every_format
async def test_image_is_sent_in_the_providers_format(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "a pixel")
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": "what?"}]
    message = await (await hub()).messages.create(
        model="m", max_tokens=99, messages=[{"role": "user", "content": blocks}]
    )
    assert message.content[0].text == "a pixel"
    if protocol == "anthropic":
        assert provider.last["messages"][0]["content"] == blocks
    elif protocol == "openai":
        got = {part["type"]: part for part in provider.last["messages"][0]["content"]}
        assert got["image_url"]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
        assert got["text"]["text"] == "what?"
    else:
        image = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
        assert provider.last["contents"][0]["parts"] == [image, {"text": "what?"}]


async def test_thinking_is_sent_back_to_an_anthropic_provider_with_its_signature(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    made = await hub()
    provider.script = replying(provider, "anthropic", "", "想一想", [CALL])
    thinking = {"type": "enabled", "budget_tokens": 1024}
    for streams in (False, True):
        asked = ASKED | {"thinking": thinking, "tools": TOOLS, "system": "be brief"}
        message = await answered(made, streams, **asked)
        thought, use = message.content
        assert (thought.thinking, thought.signature, use.name) == ("想一想", "signed", "weather")
        back = [block.model_dump(exclude_none=True) for block in message.content]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "晴"}
        turns = [*HELLO, {"role": "assistant", "content": back}, {"role": "user", "content": [result]}]
        await answered(made, streams, **(asked | {"messages": turns}))
        body = sent(provider)
        assert body.pop("stream", False) is streams
        assert body == asked | {"messages": turns}
        assert body["messages"][1]["content"][0]["signature"] == "signed"


async def test_body_and_anthropic_headers_reach_an_anthropic_provider_unchanged(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = replying(provider, "anthropic", "ok")
    system = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    more = {"odd": [1, None, {"x": 1.5}], "service_tier": "auto", "metadata": {"user_id": "u"}}
    made = await hub()
    beta = {"anthropic-beta": "something-2025-01-01", "X-Private": "not the provider's business"}
    await made.messages.create(**ASKED, system=system, extra_body=more, extra_headers=beta)
    assert sent(provider) == ASKED | {"system": system, **more}
    headers = provider.headers[-1]
    assert headers["anthropic-beta"] == "something-2025-01-01" and headers["anthropic-version"]
    assert "X-Private" not in headers and not any("sk-hub-" in each for each in headers.values())


async def test_response_bytes_of_an_anthropic_provider_reach_the_client_unchanged(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    parts = streamed("anthropic", "42", "想一想", [CALL])
    parts.insert(1, b'event: ping\ndata: {"type": "ping"}\n\n')
    parts.insert(4, b': a comment\r\nevent:  odd\ndata:{"type":"odd",  "x":1.50}\n\n')
    provider.script = provider.stream(parts)
    body = ASKED | {"stream": True}
    async with client.post("/v1/messages", json=body, headers=admin) as response:
        assert response.status == 200 and response.content_type == "text/event-stream"
        assert await response.read() == b"".join(parts)
    answer = json.dumps(whole("anthropic", "42", "想一想"), indent=3).encode()
    provider.script = provider.answer(200, answer)
    async with client.post("/v1/messages", json=ASKED, headers=admin) as response:
        assert await response.read() == answer
    assert (await spent(client, admin, 2))["tokens_used"] == 20


async def test_silent_stream_sends_pings(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, "openai")
    provider.script = provider.stream(streamed("openai", "at last"), stall_after=0)
    async with client.post("/v1/messages", json=ASKED | {"stream": True}, headers=admin) as response:
        async with asyncio.timeout(30):
            assert await response.content.readuntil(b"\n\n") == b'event: ping\ndata: {"type": "ping"}\n\n'
        provider.gate.set()
        assert b"at last" in await response.read()
    provider.gate.clear()
    asyncio.get_running_loop().call_later(0.5, provider.gate.set)
    assert (await final(await hub(), **ASKED)).content[0].text == "at last"


# errors


REFUSALS = [
    (400, sdk.BadRequestError, 400),
    (401, sdk.InternalServerError, 502),
    (403, sdk.InternalServerError, 502),
    (404, sdk.NotFoundError, 404),
    (413, sdk.APIStatusError, 413),
    (422, sdk.UnprocessableEntityError, 422),
    (429, sdk.RateLimitError, 429),
    (500, sdk.InternalServerError, 502),
    (529, sdk.InternalServerError, 502),
]


@every_format
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("status", "kind", "seen"), REFUSALS)
async def test_providers_error_raises_the_matching_exception(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    hub: Hub,
    protocol: str,
    streams: bool,
    status: int,
    kind: Any,
    seen: int,
) -> None:
    await add(client, admin, provider.base_url, protocol)
    headers = {"Retry-After": "7"} if status == 429 else {}
    provider.script = provider.answer(status, refusal(protocol, status, "the reason"), headers)
    with pytest.raises(kind) as caught:
        await (await hub()).messages.create(**ASKED, stream=streams)
    assert caught.value.status_code == seen
    assert caught.value.body["type"] == "error" and caught.value.body["error"]["type"]
    assert "the reason" in caught.value.body["error"]["message"]
    assert caught.value.response.headers.get("Retry-After") == ("7" if status == 429 else None)


@pytest.mark.impatient
@every_format
async def test_silent_provider_gets_504_and_an_unreachable_one_502(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str
) -> None:
    made = await hub()
    await add(client, admin, provider.base_url, protocol)
    await add(client, admin, unused_address(), protocol, "gone", provider="gone")
    provider.script = provider.hang()
    for name, status in (("m", 504), ("gone", 502)):
        with pytest.raises(sdk.APIStatusError) as caught:
            await made.messages.create(**(ASKED | {"model": name}))
        assert caught.value.status_code == status


@pytest.mark.impatient
@every_format
@pytest.mark.parametrize("trouble", ["told", "cut", "silent"])
async def test_failure_in_mid_stream_is_raised_after_the_earlier_text(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, trouble: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    begun = streamed(protocol, "so far")[: 3 if protocol == "anthropic" else 1]
    scripts = {
        "told": provider.stream([*begun, refusal_event(protocol, "it broke")]),
        "cut": provider.stream(begun, cut=True, pause=0.05),
        "silent": provider.stream(begun, stall_after=len(begun)),
    }
    provider.script = scripts[trouble]
    text = ""
    with pytest.raises(sdk.APIStatusError) as caught:
        async with asyncio.timeout(30), (await hub()).messages.stream(**ASKED) as stream:
            async for piece in stream.text_stream:
                text += piece
    assert text == "so far" and caught.value.body["error"]["message"]
    if trouble == "told":
        assert "it broke" in caught.value.body["error"]["message"]


async def test_stream_cut_inside_an_event_raises_the_same_exception(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    parts = anthropic({"type": "text", "text": "so far"})
    provider.script = provider.stream([*parts[:3], parts[3][:-9]], cut=True, pause=0.05)
    with pytest.raises(sdk.APIStatusError):
        await final(await hub(), **ASKED)


async def test_own_refusals_raise_the_matching_exceptions(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, "openai")
    await add(client, admin, provider.base_url, "openai", "other")
    provider.script = replying(provider, "openai", "ok")
    with pytest.raises(sdk.AuthenticationError) as caught:
        await (await hub("sk-hub-" + "x" * 40)).messages.create(**ASKED)
    assert caught.value.body["error"]["type"] == "authentication_error"
    with pytest.raises(sdk.PermissionDeniedError) as caught:
        await (await hub(allowed_models=["other"])).messages.create(**ASKED)
    assert caught.value.body["error"]["type"] == "permission_error"
    with pytest.raises(sdk.PermissionDeniedError):
        await (await hub(allowed_networks=["10.0.0.0/8"])).messages.create(**ASKED)
    with pytest.raises(sdk.BadRequestError) as caught:
        await (await hub()).messages.create(**ASKED, extra_body={"messages": "none"})
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    # a reservation is for more than the 10 tokens that a request uses
    spent = await hub(monthly_limit=20)
    await spent.messages.create(**ASKED)
    with pytest.raises(sdk.RateLimitError) as caught:
        await spent.messages.create(**ASKED)
    assert caught.value.body["error"]["type"] == "rate_limit_error"
    assert len(provider.bodies) == 1


async def test_unknown_model_is_not_found(client: TestClient, hub: Hub) -> None:
    """As at Anthropic: 404 with ``not_found_error``."""
    with pytest.raises(sdk.NotFoundError) as caught:
        await (await hub()).messages.create(**(ASKED | {"model": "nobody-knows"}))
    assert caught.value.body["error"]["type"] == "not_found_error"
