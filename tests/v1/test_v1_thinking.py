"""Reasoning goes round: what a provider needs back comes back, through every format of clients, and nowhere
else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import TOOL, Headers, add, official, post, token
from scripted import Provider
from scripted_formats import refusal, replying
from thinking_providers import DETAILS, STRICT, THINKING, strict_script

from chathub.formats.reasoning.seal import is_sealed

openai, anthropic = official("openai"), official("anthropic")

every_provider = pytest.mark.parametrize("kind", STRICT)
either_way = pytest.mark.parametrize("streams", [False, True])
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": TOOL["schema"]}}
TOOLS = [{"name": "weather", "input_schema": TOOL["schema"]}]
ASK = [{"role": "user", "content": "天气？"}]
THINK = {"type": "enabled", "budget_tokens": 2000}

Sdk = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def sdk(client: TestClient, admin: Headers) -> AsyncIterator[Sdk]:
    """An official client with an access token."""
    opened: list[Any] = []

    async def connect(library: Any) -> Any:
        http = library.DefaultAsyncHttpxClient(trust_env=False, verify=False)
        name = "AsyncOpenAI" if library is openai else "AsyncAnthropic"
        base = str(client.make_url("/v1" if library is openai else "")).rstrip("/")
        key = await token(client, admin)
        made = getattr(library, name)(base_url=base, api_key=key, max_retries=0, http_client=http)
        opened.append(made)
        return made

    yield connect
    for each in opened:
        await each.close()


async def begin(client: TestClient, admin: Headers, provider: Provider, kind: str, name: str = "m") -> None:
    await add(client, admin, provider.base_url, STRICT[kind].protocol, name, max_tokens=32_000)
    provider.script = strict_script(provider, STRICT[kind])


async def openai_reply(made: Any, messages: list[Any], streams: bool) -> Any:
    asked = {"model": "m", "messages": messages, "tools": [FUNCTION]}
    if not streams:
        return (await made.chat.completions.create(**asked)).choices[0].message
    async with asyncio.timeout(30), made.chat.completions.stream(**asked) as stream:
        return (await stream.get_final_completion()).choices[0].message


async def anthropic_reply(made: Any, messages: list[Any], streams: bool, **more: Any) -> Any:
    asked = {"model": "m", "max_tokens": 9000, "messages": messages, "tools": TOOLS, "thinking": THINK} | more
    if not streams:
        return await made.messages.create(**asked)
    async with asyncio.timeout(30), made.messages.stream(**asked) as stream:
        return await stream.get_final_message()


@either_way
@every_provider
async def test_openai_client_that_sends_messages_back_continues(
    client: TestClient, admin: Headers, provider: Provider, sdk: Sdk, kind: str, streams: bool
) -> None:
    if streams and kind == "openrouter":
        pytest.skip("OpenAI's own client cannot join the fragments of OpenRouter")
    await begin(client, admin, provider, kind)
    made = await sdk(openai)
    message = await openai_reply(made, ASK, streams)
    sent = {"role": "assistant", **message.model_dump(exclude_none=True)}
    for call in sent["tool_calls"]:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    sent = {name: value for name, value in sent.items() if name != "parsed"}
    result = {"role": "tool", "tool_call_id": sent["tool_calls"][0]["id"], "content": "晴"}
    assert (await openai_reply(made, [*ASK, sent, result], streams)).content == "晴"


@either_way
@every_provider
async def test_anthropic_client_that_sends_blocks_back_continues(
    client: TestClient, admin: Headers, provider: Provider, sdk: Sdk, kind: str, streams: bool
) -> None:
    await begin(client, admin, provider, kind)
    made = await sdk(anthropic)
    message = await anthropic_reply(made, ASK, streams)
    assert message.stop_reason == "tool_use"
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    for block in blocks:
        for name in ("parsed_output", "caller"):
            block.pop(name, None)
    (call,) = [block for block in blocks if block["type"] == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "晴"}
    history = [*ASK, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    again = await anthropic_reply(made, history, streams)
    assert [block.text for block in again.content if block.type == "text"] == ["晴"]


@every_provider
@pytest.mark.parametrize("door", ["openai", "anthropic"])
async def test_client_that_sends_no_reasoning_back_continues(
    client: TestClient, admin: Headers, provider: Provider, sdk: Sdk, kind: str, door: str
) -> None:
    await begin(client, admin, provider, kind)
    if door == "openai":
        made = await sdk(openai)
        message = await openai_reply(made, ASK, False)
        (call,) = message.tool_calls
        bare = {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": "{ }"}}
        asked = {"role": "assistant", "content": message.content, "tool_calls": [bare]}
        result = {"role": "tool", "tool_call_id": call.id, "content": "晴"}
        assert (await openai_reply(made, [*ASK, asked, result], False)).content == "晴"
        return
    made = await sdk(anthropic)
    message = await anthropic_reply(made, ASK, True)
    kept = [block.model_dump(include={"type", "id", "name", "input", "text"}) for block in message.content]
    kept = [
        {name: value for name, value in block.items() if value is not None}
        for block in kept
        if block["type"] in ("text", "tool_use")
    ]
    result = {"type": "tool_result", "tool_use_id": kept[-1]["id"], "content": "晴"}
    history = [*ASK, {"role": "assistant", "content": kept}, {"role": "user", "content": [result]}]
    again = await anthropic_reply(made, history, True)
    assert [block.text for block in again.content if block.type == "text"] == ["晴"]


async def test_reasoning_of_another_users_call_is_not_remembered(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await begin(client, admin, provider, "deepseek")
    body = {"model": "m", "messages": ASK, "tools": [FUNCTION]}
    mine = await post(client, "/v1/chat/completions", body, admin)
    call = mine["choices"][0]["message"]["tool_calls"][0]
    history = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "晴"},
    ]
    provider.script = replying(provider, "openai", "晴")
    await post(client, "/v1/chat/completions", {**body, "messages": history}, user)
    assert "reasoning_content" not in provider.last["messages"][1]
    await post(client, "/v1/chat/completions", {**body, "messages": history}, admin)
    assert provider.last["messages"][1]["reasoning_content"] == "想一想"
    # the same id, but another call
    other = {**call, "function": {"name": "weather", "arguments": '{"place": "x"}'}}
    history[1] = {"role": "assistant", "content": None, "tool_calls": [other]}
    await post(client, "/v1/chat/completions", {**body, "messages": history}, admin)
    assert "reasoning_content" not in provider.last["messages"][1]


async def test_state_never_reaches_a_provider_of_another_format(
    client: TestClient, admin: Headers, sdk: Sdk
) -> None:
    """A conversation that goes from one kind of provider to the next."""
    made = await sdk(anthropic)
    history: list[Any] = list(ASK)
    async with Provider() as provider:
        await add(client, admin, provider.base_url, "openai", "k", provider="one")
        provider.script = provider.stream(STRICT["kimi"].stream)
        message = await anthropic_reply(made, history, True, model="k")
    (call,) = [block for block in message.content if block.type == "tool_use"]
    signatures = [block.signature for block in message.content if block.type == "thinking"]
    assert [is_sealed(signature) for signature in signatures] == [True]
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "晴"}
    history += [{"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    for protocol in ("anthropic", "gemini", "openai"):
        async with Provider() as provider:
            await add(client, admin, provider.base_url, protocol, f"m-{protocol}", provider=f"p_{protocol}")
            provider.script = replying(provider, protocol, "晴")
            answer = await anthropic_reply(made, history, False, model=f"m-{protocol}")
            assert answer.content[-1].text == "晴"
            text = str(provider.last)
            assert "chathub" not in text and "reasoning_content" not in text and "想一想" not in text
            assert "thinking" not in provider.last


async def test_tool_loop_of_claude_is_continued_by_another_model(
    client: TestClient, admin: Headers, sdk: Sdk
) -> None:
    made = await sdk(openai)
    async with Provider() as claude, Provider() as gpt:
        await add(client, admin, gpt.base_url, "openai", "gpt", provider="gpt")
        await add(client, admin, claude.base_url, "anthropic", "m", provider="claude", fallback_model="gpt")
        claude.script = strict_script(claude, STRICT["anthropic"])
        gpt.script = replying(gpt, "openai", "晴")
        message = (await openai_reply(made, ASK, False)).model_dump(exclude_none=True)
        kinds = [detail["type"] for detail in message["reasoning_details"]]
        assert kinds == ["reasoning.text", "reasoning.encrypted", "reasoning.text"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "晴"}
        claude.script = claude.answer(503, {"type": "error", "error": {"type": "overloaded_error"}})
        assert (await openai_reply(made, [*ASK, message, result], False)).content == "晴"
        (asked,) = [each for each in gpt.last["messages"] if each["role"] == "assistant"]
        assert set(asked) == {"role", "content", "tool_calls"}


async def test_forwarded_request_learns_that_reasoning_must_go_back(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "openai")
    sentence = "reasoning_content is missing in assistant tool call message at index 1"
    refused = provider.answer(400, {"error": {"message": sentence}})
    answered = replying(provider, "openai", "晴")

    async def run(request: Any) -> Any:
        return await (answered if provider.last["messages"][1].get("reasoning_content") else refused)(request)

    provider.script = run
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "晴"},
    ]
    body = {"model": "m", "messages": history, "tools": [FUNCTION]}
    for requests in (2, 3):
        answer = await post(client, "/v1/chat/completions", body, admin)
        assert answer["choices"][0]["message"]["content"] == "晴"
        assert len(provider.bodies) == requests
    assert provider.last["messages"][1]["tool_calls"] == [call]


async def test_forwarded_thinking_whose_signature_is_refused_is_left_out(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    sentence = "messages.1.content.0: Invalid `signature` in `thinking` block"
    error = {"type": "invalid_request_error", "message": sentence}
    refused = provider.answer(400, {"type": "error", "error": error})
    answered = replying(provider, "anthropic", "晴")

    async def run(request: Any) -> Any:
        return await (refused if "of another" in str(provider.last["messages"]) else answered)(request)

    provider.script = run
    use = {"type": "tool_use", "id": "c", "name": "weather", "input": {}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "of another"}
    history = [
        *ASK,
        {"role": "assistant", "content": [thought, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "晴"}]},
    ]
    body = {"model": "m", "max_tokens": 9000, "messages": history, "tools": TOOLS, "thinking": THINK}
    answer = await post(client, "/v1/messages", body, admin)
    assert answer["content"][0]["text"] == "晴"
    assert provider.last["messages"][1]["content"] == [use]
    # thinking is refused after calls that were made without
    assert "thinking" not in provider.last


def test_the_strict_providers_are_strict() -> None:
    bare = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather"}}]}
    for kind, strict in STRICT.items():
        call = {"functionCall": {"name": "weather", "args": {}}}
        body = {"messages": [bare], "contents": [{"role": "model", "parts": [call]}]}
        if strict.protocol == "anthropic":
            body["messages"] = [{"role": "assistant", "content": THINKING[2:]}]
        assert strict.problem(body), kind
    assert len(DETAILS) == 3


NO_BUDGET = (
    '"thinking.type.enabled" is not supported for this model.'
    ' Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
)
NO_ADAPTIVE = "adaptive thinking is not supported on this model"


@pytest.mark.parametrize(
    ("thinking", "sentence", "kind"),
    [(THINK, NO_BUDGET, "adaptive"), ({"type": "adaptive"}, NO_ADAPTIVE, "enabled")],
)
async def test_forwarded_thinking_is_converted_as_a_refusal_teaches(
    client: TestClient, admin: Headers, provider: Provider, sdk: Sdk, thinking: Any, sentence: str, kind: str
) -> None:
    await add(client, admin, provider.base_url, "anthropic")

    async def script(request: Any) -> Any:
        if (await request.json())["thinking"]["type"] != kind:
            return await provider.answer(400, refusal("anthropic", 400, sentence))(request)
        return await replying(provider, "anthropic", "好", "", [])(request)

    provider.script = script
    made = await sdk(anthropic)
    for _ in range(2):
        message = await anthropic_reply(made, ASK, False, thinking=thinking)
        assert [block.text for block in message.content if block.type == "text"] == ["好"]
    # the second request knows it
    assert [body["thinking"]["type"] for body in provider.bodies] == [thinking["type"], kind, kind]
