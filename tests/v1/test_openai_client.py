"""OpenAI's own Python client against ChatHub, with providers of every format behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import PATHS, PIXEL, TOOL, Headers, add, official, sent, spent, stats, token, unused_address
from scripted import Provider, chunk, without_markers
from scripted_formats import PROTOCOLS, refusal, refusal_event, replying, streamed

openai = official("openai")

Hub = Callable[..., Awaitable[Any]]
every_format = pytest.mark.parametrize("protocol", PROTOCOLS)
HELLO: list[Any] = [{"role": "user", "content": "hi"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": TOOL["name"],
            "description": TOOL["description"],
            "parameters": TOOL["schema"],
        },
    }
]
CALL = ("call_1", "weather", {"place": "北京"})


@pytest.fixture
async def hub(client: TestClient, admin: Headers) -> AsyncIterator[Hub]:
    """OpenAI's client with an access token: ``await hub()``, or with the fields of the token."""
    opened: list[Any] = []

    async def connect(key: str = "", **fields: Any) -> Any:
        key = key or await token(client, admin, **fields)
        # no TLS is used here, and reading the certificates of all authorities takes 60 ms
        http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
        base_url = str(client.make_url("/v1"))
        made = openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30, http_client=http)
        opened.append(made)
        return made

    yield connect
    for each in opened:
        await each.close()


async def read(stream: Any) -> list[Any]:
    async with asyncio.timeout(30):
        return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)


# answers


@every_format
async def test_chat_completion_is_answered(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "你好，世界")
    answer = await (await hub()).chat.completions.create(model="m", messages=HELLO)
    assert answer.object == "chat.completion" and answer.model == "m" and answer.id
    assert answer.choices[0].message.content == "你好，世界"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        7,
        3,
        10,
    )
    assert provider.last["_path"] == PATHS[protocol][0]
    assert (await spent(client, admin, 1))["tokens_used"] == 10


@every_format
@pytest.mark.parametrize("include_usage", [False, True])
async def test_stream_has_usage_only_if_requested(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, include_usage: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "你好，世界")
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = await (await hub()).chat.completions.create(model="m", messages=HELLO, stream=True, **more)
    chunks = await read(stream)
    assert text_of(chunks) == "你好，世界"
    assert [each.choices[0].finish_reason for each in chunks if each.choices][-1] == "stop"
    told = [each.usage for each in chunks if each.usage]
    if include_usage:
        assert [(each.prompt_tokens, each.completion_tokens) for each in told] == [(7, 3)]
        assert chunks[-1].choices == []
    else:
        assert told == [] and all(each.choices for each in chunks)
    assert provider.last["_path"] == PATHS[protocol][1]
    assert (await spent(client, admin, 1))["tokens_used"] == 10


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_reasoning_arrives_as_reasoning_content(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "42", "想一想")
    create = (await hub()).chat.completions.create
    if streams:
        chunks = await read(await create(model="m", messages=HELLO, stream=True))
        thoughts = [getattr(each.choices[0].delta, "reasoning_content", None) for each in chunks]
        assert "".join(each or "" for each in thoughts) == "想一想" and text_of(chunks) == "42"
    else:
        message = (await create(model="m", messages=HELLO)).choices[0].message
        assert message.reasoning_content == "想一想" and message.content == "42"


# tools


async def ask(create: Any, messages: list[Any], streams: bool) -> tuple[list[Any], str, str]:
    """The tool calls (id, name, arguments) of a reply, its finish reason, and its text."""
    if not streams:
        choice = (await create(model="m", messages=messages, tools=TOOLS)).choices[0]
        calls = [(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or []]
        return calls, choice.finish_reason, choice.message.content or ""
    found: dict[int, list[str]] = {}
    finish = ""
    chunks = await read(await create(model="m", messages=messages, tools=TOOLS, stream=True))
    for each in chunks:
        finish = each.choices[0].finish_reason or finish
        for call in each.choices[0].delta.tool_calls or []:
            parts = found.setdefault(call.index, ["", "", ""])
            parts[0] += call.id or ""
            parts[1] += call.function.name or ""
            parts[2] += call.function.arguments or ""
    return [tuple(found[index]) for index in sorted(found)], finish, text_of(chunks)


def round_trip_in(protocol: str, call_id: str, arguments: str) -> Any:
    """The conversation after a tool call, as the provider should receive it."""
    if protocol == "openai":
        function = {"name": "weather", "arguments": arguments}
        calls = [{"id": call_id, "type": "function", "function": function}]
        return [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": call_id, "content": "晴"},
        ]
    if protocol == "anthropic":
        use = {"type": "tool_use", "id": call_id, "name": "weather", "input": CALL[2]}
        result = {"type": "tool_result", "tool_use_id": call_id, "content": "晴"}
        return [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    # the ids are Gemini's own
    call = {"functionCall": {"id": call_id, "name": "weather", "args": CALL[2]}}
    response = {"functionResponse": {"id": call_id, "name": "weather", "response": {"output": "晴"}}}
    return [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [response]},
    ]


def tools_in(protocol: str) -> Any:
    if protocol == "openai":
        return TOOLS
    named = {"name": TOOL["name"], "description": TOOL["description"]}
    if protocol == "anthropic":
        return [{**named, "input_schema": TOOL["schema"]}]
    return [{"functionDeclarations": [{**named, "parametersJsonSchema": TOOL["schema"]}]}]


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_tool_call_and_its_result_are_translated(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    create = (await hub()).chat.completions.create
    provider.script = replying(provider, protocol, wanted=[CALL])
    calls, finish, _ = await ask(create, HELLO, streams)
    ((call_id, name, arguments),) = calls
    assert (call_id, name, json.loads(arguments), finish) == (*CALL, "tool_calls")
    assert provider.unmarked["tools"] == tools_in(protocol)

    provider.script = replying(provider, protocol, "晴天")
    function = {"name": name, "arguments": arguments}
    answer = {"id": call_id, "type": "function", "function": function}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [answer]},
        {"role": "tool", "tool_call_id": call_id, "content": "晴"},
    ]
    assert await ask(create, messages, streams) == ([], "stop", "晴天")
    field = "contents" if protocol == "gemini" else "messages"
    assert provider.unmarked[field] == round_trip_in(protocol, call_id, arguments)


@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_two_tool_calls_arrive_in_one_reply(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    await add(client, admin, provider.base_url, protocol)
    other = ("call_2", "weather", {"place": "上海"})
    provider.script = replying(provider, protocol, "看看", wanted=[CALL, other])
    calls, finish, said = await ask((await hub()).chat.completions.create, HELLO, streams)
    assert [(i, n, json.loads(a)) for i, n, a in calls] == [CALL, other]
    assert (finish, said) == ("tool_calls", "看看")


# requests to the provider


@every_format
async def test_image_is_sent_in_the_providers_format(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = replying(provider, protocol, "a pixel")
    url = f"data:image/png;base64,{PIXEL}"
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = await (await hub()).chat.completions.create(
        model="m", messages=[{"role": "user", "content": parts}]
    )
    assert answer.choices[0].message.content == "a pixel"
    if protocol == "openai":
        assert provider.last["messages"][0]["content"] == parts
    elif protocol == "anthropic":
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        got = provider.unmarked["messages"][0]["content"]
        assert got == [{"type": "text", "text": "what?"}, {"type": "image", "source": source}]
    else:
        image = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
        assert provider.last["contents"][0]["parts"] == [{"text": "what?"}, image]


async def test_body_with_unknown_fields_reaches_an_openai_provider_unchanged(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = replying(provider, "openai", "{}")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    more = {"chat_template_kwargs": {"enable_thinking": False}, "odd": [1, None, {"x": 1.50}]}
    await (await hub()).chat.completions.create(
        model="m",
        messages=[{"role": "system", "content": "be brief"}, *HELLO],
        response_format=form,
        temperature=0.5,
        max_completion_tokens=9,
        user="me",
        logit_bias={"5": -1},
        extra_body=more,
    )
    assert sent(provider) == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, *HELLO],
        "response_format": form,
        "temperature": 0.5,
        "max_completion_tokens": 9,
        "user": "me",
        "logit_bias": {"5": -1},
        **more,
    }


async def test_stream_options_are_forwarded_together_with_include_usage(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = replying(provider, "openai", "hi")
    options = {"include_obfuscation": False}
    create = (await hub()).chat.completions.create
    await read(await create(model="m", messages=HELLO, stream=True, stream_options=options))
    assert provider.last["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_parameters_are_translated_to_other_formats(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    asked: dict[str, Any] = {
        "messages": [{"role": "system", "content": "be brief"}, *HELLO],
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
    }
    create = (await hub()).chat.completions.create
    await add(client, admin, provider.base_url, "anthropic", "a", provider="anthropic_like")
    provider.script = replying(provider, "anthropic", "hi")
    await create(model="a", **asked)
    body = without_markers(sent(provider))
    assert body["system"] == "be brief" and body["messages"] == HELLO and body["model"] == "a"
    assert (body["temperature"], body["max_tokens"], body["stop_sequences"]) == (0.5, 9, ["END"])
    await add(client, admin, provider.base_url, "gemini", "g", provider="gemini_like")
    provider.script = replying(provider, "gemini", "hi")
    await create(model="g", response_format={"type": "json_object"}, **asked)
    assert sent(provider)["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert sent(provider)["generationConfig"] == {
        "temperature": 0.5,
        "maxOutputTokens": 9,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
    }


# models and embeddings


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_embeddings_are_forwarded_and_charged(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, form: str
) -> None:
    await add(client, admin, provider.base_url, name="e", model_type="embedding")
    # 0.5 and -1.0 as two little-endian floats
    vector = [0.5, -1.0] if form == "float" else "AAAAPwAAgL8="
    row = {"object": "embedding", "index": 0, "embedding": vector}
    told = {"prompt_tokens": 5, "total_tokens": 5}
    provider.script = provider.answer(200, {"object": "list", "model": "e", "data": [row], "usage": told})
    more: dict[str, Any] = {"encoding_format": "float"} if form == "float" else {}
    answer = await (await hub()).embeddings.create(model="e", input=["你好"], dimensions=2, **more)
    assert answer.data[0].embedding == [0.5, -1.0] and answer.usage.prompt_tokens == 5
    assert provider.last["_path"] == "/v1/embeddings"
    assert sent(provider) == {"model": "e", "input": ["你好"], "dimensions": 2, "encoding_format": form}
    used = await spent(client, admin, 1)
    assert used["today"]["prompt_tokens"] == 5 and used["today"]["completion_tokens"] == 0


async def test_embeddings_and_chats_require_models_of_their_type(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, name="e", model_type="embedding")
    await add(client, admin, provider.base_url)
    made = await hub()
    with pytest.raises(openai.BadRequestError):
        await made.embeddings.create(model="m", input="x")
    with pytest.raises(openai.BadRequestError):
        await made.chat.completions.create(model="e", messages=HELLO)
    assert provider.bodies == []


async def test_embeddings_response_that_is_cut_gets_502(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url, name="e", model_type="embedding")
    provider.script = provider.stream([b'{"object": "li'], cut=True, content_type="application/json")
    with pytest.raises(openai.InternalServerError) as caught:
        await (await hub()).embeddings.create(model="e", input="x")
    assert caught.value.status_code == 502


async def test_models_are_listed_and_read_also_with_slashes_in_their_names(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    for name in ("m", "Qwen/Qwen3-8B", "org/sub/x:free"):
        await add(client, admin, provider.base_url, name=name)
    made = await hub()
    listed = {each.id: each async for each in made.models.list()}
    assert {"m", "Qwen/Qwen3-8B", "org/sub/x:free"} <= set(listed)
    assert listed["m"].object == "model" and listed["m"].owned_by == "upstream"
    for name in ("m", "Qwen/Qwen3-8B", "org/sub/x:free"):
        assert (await made.models.retrieve(name)).id == name
    with pytest.raises(openai.NotFoundError):
        await made.models.retrieve("nobody/knows")
    answer = await made.chat.completions.create(model="Qwen/Qwen3-8B", messages=HELLO, stream=True)
    assert text_of(await read(answer)) == "你好，世界" and provider.last["model"] == "Qwen/Qwen3-8B"


async def test_access_token_for_some_models_lists_and_reaches_only_those(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    await add(client, admin, provider.base_url, name="other")
    await add(client, admin, provider.base_url, name="vectors", model_type="embedding")
    made = await hub(allowed_models=["m"])
    assert [each.id async for each in made.models.list()] == ["m"]
    with pytest.raises(openai.NotFoundError):
        await made.models.retrieve("other")
    provider.script = replying(provider, "openai", "ok")
    await made.chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError):
        await made.chat.completions.create(model="other", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError):
        await made.embeddings.create(model="vectors", input="x")
    assert len(provider.bodies) == 1


# errors

REFUSALS = [
    (400, openai.BadRequestError, 400),
    (401, openai.InternalServerError, 502),
    (403, openai.InternalServerError, 502),
    (404, openai.NotFoundError, 404),
    (413, openai.APIStatusError, 413),
    (422, openai.UnprocessableEntityError, 422),
    (429, openai.RateLimitError, 429),
    (500, openai.InternalServerError, 502),
    (503, openai.InternalServerError, 502),
    (529, openai.InternalServerError, 502),
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
        await (await hub()).chat.completions.create(model="m", messages=HELLO, stream=streams)
    assert caught.value.status_code == seen
    assert "the reason" in caught.value.body["message"] and caught.value.type
    assert caught.value.response.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert (await stats(client, admin))["tokens_used"] == 0


@pytest.mark.impatient
@every_format
@pytest.mark.parametrize("streams", [False, True])
async def test_silent_provider_gets_504_and_an_unreachable_one_502(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub, protocol: str, streams: bool
) -> None:
    create = (await hub()).chat.completions.create
    await add(client, admin, provider.base_url, protocol)
    address = unused_address()
    await add(client, admin, address, protocol, "gone", provider="gone")
    provider.script = provider.hang()
    for name, status in (("m", 504), ("gone", 502)):
        with pytest.raises(openai.InternalServerError) as caught:
            await create(model=name, messages=HELLO, stream=streams)
        assert caught.value.status_code == status
        # the host alone is named
        assert address.split(":")[2] not in str(caught.value)


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
    stream = await (await hub()).chat.completions.create(model="m", messages=HELLO, stream=True)
    text = ""
    with pytest.raises(openai.APIError) as caught:
        async with asyncio.timeout(30):
            async for each in stream:
                text += each.choices[0].delta.content or ""
    assert text == "so far"
    assert type(caught.value) is openai.APIError and caught.value.message
    if trouble == "told":
        assert "it broke" in caught.value.message


async def test_stream_cut_inside_an_event_raises_the_same_exception(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("so far"), chunk("lost")[:-9]], cut=True, pause=0.05)
    for more in ({}, {"stream_options": {"include_usage": True}}):
        stream = await (await hub()).chat.completions.create(model="m", messages=HELLO, stream=True, **more)
        with pytest.raises(openai.APIError):
            await read(stream)


async def test_invalid_token_raises_an_authentication_error(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    for key in ("sk-hub-" + "x" * 40, "sk-something", "a.b.c"):
        made = await hub(key)
        with pytest.raises(openai.AuthenticationError) as caught:
            await made.chat.completions.create(model="m", messages=HELLO)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await made.models.list()
    assert provider.bodies == []


async def test_access_token_from_another_network_raises_a_permission_error(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    made = await hub(allowed_networks=["10.0.0.0/8"])
    with pytest.raises(openai.PermissionDeniedError):
        await made.chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError):
        await made.models.list()
    near = await hub(allowed_networks=["10.0.0.0/8", "127.0.0.0/8"])
    assert text_of(await read(await near.chat.completions.create(model="m", messages=HELLO, stream=True)))
    assert len(provider.bodies) == 1


async def test_unknown_model_is_not_found(client: TestClient, hub: Hub) -> None:
    """As at OpenAI: 404 with the code ``model_not_found``."""
    made = await hub()
    with pytest.raises(openai.NotFoundError) as caught:
        await made.chat.completions.create(model="nobody-knows", messages=HELLO)
    assert caught.value.code == "model_not_found" and "nobody-knows" in caught.value.message
    with pytest.raises(openai.NotFoundError):
        await made.embeddings.create(model="nobody-knows", input="x")


async def test_used_up_monthly_limit_of_an_access_token_raises_a_rate_limit_error(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = replying(provider, "openai", "ok")
    # a reservation is for about 20 tokens
    made = await hub(monthly_limit=35)
    for _ in range(2):  # 10 tokens each
        await made.chat.completions.create(model="m", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as caught:
        await made.chat.completions.create(model="m", messages=HELLO)
    assert "20" in caught.value.message and len(provider.bodies) == 2
    await (await hub()).chat.completions.create(model="m", messages=HELLO)


async def test_request_that_the_model_cannot_serve_raises_a_bad_request_error(
    client: TestClient, admin: Headers, provider: Provider, hub: Hub
) -> None:
    await add(
        client,
        admin,
        provider.base_url,
        "gemini",
        supports_vision=False,
        supports_function_calling=False,
    )
    create = (await hub()).chat.completions.create
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    with pytest.raises(openai.BadRequestError):
        await create(model="m", messages=[{"role": "user", "content": [image]}])
    with pytest.raises(openai.BadRequestError):
        await create(model="m", messages=HELLO, tools=TOOLS)
    with pytest.raises(openai.BadRequestError) as caught:
        await create(model="m", messages=HELLO, n=2)
    assert caught.value.param == "n"
    assert provider.bodies == []
