"""Requests of OpenAI's Responses, translated for providers of every format: what goes to the provider, and
what comes back."""

import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import PIXEL, Headers, add, official, sent, spent, token
from scripted import Provider, Script
from scripted_formats import PROTOCOLS, Call, replying

openai = official("openai")

PATH = "/v1/responses"
HELLO = {"model": "m", "input": "hi"}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": False,
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin end"},
}
AGENTS = {
    "type": "namespace",
    "name": "agents",
    "description": "Other agents",
    "tools": [{"type": "function", "name": "close", "description": "Close one", "parameters": {}}],
}
# fields of a request and the one that is refused
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": [{"type": "item_reference", "id": "msg_unknown"}]}, "input[0].id"),
    ({"instructions": 5}, "instructions"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"temperature": "warm"}, "temperature"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort"),
    ({"tools": 5}, "tools"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
    ({"tools": [{"type": "custom", "name": ""}]}, "tools[0].name"),
    ({"tools": [AGENTS | {"tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "tools[0].type"),
    ({"tools": [WEATHER, {"type": "mcp", "server_label": "x"}]}, "tools[1].type"),
    ({"tools": [{"type": "local_shell"}]}, "tools[0].type"),
    ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": "sometimes"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice"),
]
PARIS: Call = ("call_1", "weather", {"place": "Paris"})


def lacking(script: Script) -> Script:
    """A provider of chats alone: it has no path of Responses."""

    async def run(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/responses"):
            return web.json_response({"error": {"message": "Not Found"}}, status=404)
        return await script(request)

    return run


async def ask(client: TestClient, headers: Headers, body: dict[str, Any]) -> Any:
    response = await client.post(PATH, json=body, headers=headers)
    assert response.status == 200, await response.text()
    return await response.json()


async def refused(client: TestClient, headers: Headers, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post(PATH, json=body, headers=headers)
    assert response.status == 400, await response.text()
    error: dict[str, Any] = (await response.json())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


@pytest.fixture
async def sdk(client: TestClient, user: Headers) -> Any:
    made = openai.AsyncOpenAI(
        base_url=str(client.make_url("/v1")), api_key=await token(client, user), max_retries=0
    )
    async with made as sdk:
        yield sdk


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_the_official_client_calls_a_function_and_gets_the_reply(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    sdk: Any,
    protocol: str,
    is_stream: bool,
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = lacking(replying(provider, protocol, "I look.", wanted=[PARIS]))
    asked: dict[str, Any] = {
        "model": "m",
        "instructions": "Be brief",
        "input": "The weather in Paris?",
        "tools": [WEATHER],
        "max_output_tokens": 900,
    }
    first = await _response(sdk, is_stream, **asked)
    assert first.status == "completed" and first.output_text == "I look."
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"place": "Paris"})
    assert "Be brief" in json.dumps(sent(provider))
    provider.script = lacking(replying(provider, protocol, "Sunny"))
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    history = [{"role": "user", "content": "The weather in Paris?"}, *first.output, result]
    second = await _response(sdk, is_stream, **{**asked, "input": history})
    assert second.output_text == "Sunny" and second.usage.total_tokens == 10
    assert _result_of(protocol, sent(provider)) == "sun"
    found = await spent(client, user, 2)
    assert found["today"]["total_tokens"] == 20


async def _response(sdk: Any, is_stream: bool, **asked: Any) -> Any:
    if not is_stream:
        return await sdk.responses.create(**asked)
    async with sdk.responses.stream(**asked) as stream:
        async for _ in stream:
            pass
        return await stream.get_final_response()


def _result_of(protocol: str, body: dict[str, Any]) -> str:
    """The result of the call in what the provider got."""
    if protocol == "openai":
        return str(body["messages"][-1]["content"])
    if protocol == "anthropic":
        return str(body["messages"][-1]["content"][0]["content"])
    return str(body["contents"][-1]["parts"][0]["functionResponse"]["response"]["output"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_custom_tools_and_namespaces_are_functions_for_the_provider_only(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    wanted: list[Call] = [("c1", "apply_patch", {"input": "*** Begin"}), ("c2", "agents__close", {"id": 1})]
    provider.script = lacking(replying(provider, protocol, "", "", wanted))
    search = {"type": "web_search", "external_web_access": True}
    asked = {**HELLO, "tools": [PATCH, AGENTS, search], "parallel_tool_calls": True, "store": False}
    found = await ask(client, user, asked)
    custom, inner = [item for item in found["output"] if item["type"].endswith("_call")]
    assert (custom["type"], custom["name"], custom["input"]) == (
        "custom_tool_call",
        "apply_patch",
        "*** Begin",
    )
    assert (inner["name"], inner["namespace"]) == ("close", "agents")
    received = json.dumps(sent(provider))
    assert "start: begin end" in received and "web_search" not in received
    # in the history they are what the provider knows
    history = [
        {"role": "user", "content": "hi"},
        *found["output"],
        {"type": "custom_tool_call_output", "call_id": custom["call_id"], "output": "one"},
        {"type": "function_call_output", "call_id": inner["call_id"], "output": "two"},
    ]
    await ask(client, user, {**asked, "input": history})
    calls = _calls_in(protocol, sent(provider))
    assert calls == [("apply_patch", {"input": "*** Begin"}), ("agents__close", {"id": 1})]


def _calls_in(protocol: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
    """The calls in what the provider got."""
    if protocol == "openai":
        (made,) = [each["tool_calls"] for each in body["messages"] if each.get("tool_calls")]
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in made]
    if protocol == "anthropic":
        blocks = [block for each in body["messages"] for block in each["content"]]
        return [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    parts = [part for each in body["contents"] for part in each["parts"]]
    return [
        (part["functionCall"]["name"], part["functionCall"]["args"])
        for part in parts
        if "functionCall" in part
    ]


async def test_signature_of_anthropics_thinking_goes_back_with_the_reasoning(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = replying(provider, "anthropic", "I look.", "Hm.", [PARIS])
    asked = {**HELLO, "tools": [WEATHER], "reasoning": {"effort": "high", "summary": "auto"}}
    found = await ask(client, user, asked | {"include": ["reasoning.encrypted_content"]})
    reasoning, *_, call = found["output"]
    assert reasoning["type"] == "reasoning" and reasoning["encrypted_content"]
    assert sent(provider)["thinking"]["type"] in ("enabled", "adaptive")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    history = [{"role": "user", "content": "hi"}, *found["output"], result]
    await ask(client, user, {**asked, "input": history})
    blocks = sent(provider)["messages"][1]["content"]
    assert blocks[0] == {"type": "thinking", "thinking": "Hm.", "signature": "signed"}
    # a client that sends no reasoning: it is remembered
    await ask(client, user, {**asked, "input": [history[0], call, result]})
    assert sent(provider)["messages"][1]["content"][0] == blocks[0]


async def test_signature_of_geminis_call_goes_back_with_the_call(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "gemini", upstream_name="gemini-3-pro")
    part = {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "c2lnbmVk"}
    told = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    provider.script = provider.answer(200, told)
    asked = {**HELLO, "tools": [WEATHER]}
    found = await ask(client, user, asked)
    call = found["output"][-1]
    # another id: nothing is remembered of it
    own = {**call, "call_id": "call_of_mine"}
    result = {"type": "function_call_output", "call_id": "call_of_mine", "output": "sun"}
    history = [{"role": "user", "content": "hi"}, *found["output"][:-1], own, result]
    await ask(client, user, {**asked, "input": history})
    assert sent(provider)["contents"][1]["parts"][-1]["thoughtSignature"] == "c2lnbmVk"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_parameters_go_in_the_words_of_the_provider(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = lacking(replying(provider, protocol, '{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}
    asked = {
        **HELLO,
        "text": {"format": form, "verbosity": None},
        "temperature": 0.5,
        "max_output_tokens": 77,
        "metadata": {"a": "b"},
        "truncation": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "auto",
        "stream_options": {"include_obfuscation": False},
        "include": ["reasoning.encrypted_content"],
        "client_metadata": {"x": "y"},
        "max_tool_calls": 3,
    }
    found = await ask(client, user, asked)
    assert found["output"][-1]["content"][0]["text"] == '{"a": 1}'
    received = sent(provider)
    lengths = json.dumps(received)
    assert "77" in lengths and '"integer"' in lengths and "0.5" in lengths
    assert not received.keys() & {"metadata", "truncation", "include", "client_metadata", "store", "input"}


async def test_refused_field_is_named(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    for fields, param in REFUSED:
        error = await refused(client, user, {**HELLO, **fields})
        assert (error["param"], error["type"]) == (param, "invalid_request_error"), fields
    assert not provider.bodies


async def test_model_without_tools_is_asked_without_those_that_are_left_out(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic", supports_function_calling=False)
    provider.script = replying(provider, "anthropic", "Hello")
    await ask(client, user, {**HELLO, "tools": [{"type": "web_search"}]})
    assert "tools" not in sent(provider)
    assert "tools" in (await refused(client, user, {**HELLO, "tools": [WEATHER]}))["message"]


async def test_images_need_a_model_that_sees(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic", supports_vision=False)
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
    said = {"role": "user", "content": [image]}
    result = {"type": "function_call_output", "call_id": "c", "output": [image]}
    for item in (said, result):
        assert "image" in (await refused(client, user, {**HELLO, "input": [item]}))["message"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_input_tokens_are_counted_as_those_of_messages(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, sdk: Any, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    told = {"input_tokens": 14, "totalTokens": 14}
    provider.script = lacking(provider.answer(200, told))
    raw = await sdk.responses.input_tokens.with_raw_response.count(model="m", input="hi", tools=[WEATHER])
    counted = raw.parse()
    assert counted.object == "response.input_tokens"
    if protocol == "openai":
        assert raw.headers["x-chathub-estimated"] == "true" and 5 < counted.input_tokens < 100
    else:
        assert "x-chathub-estimated" not in raw.headers and counted.input_tokens == 14


@pytest.mark.parametrize("is_stream", [False, True])
async def test_items_are_found_again_by_their_ids(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, sdk: Any, is_stream: bool
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = replying(provider, "anthropic", "I look.", "Hm.", [PARIS])
    first = await _response(sdk, is_stream, model="m", input="hi", tools=[WEATHER])
    names = [{"type": "item_reference", "id": item.id} for item in first.output]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
    history = [{"role": "user", "content": "hi"}, *names, result]
    await ask(client, user, {**HELLO, "input": history})
    blocks = sent(provider)["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    # they are the user's own
    error = await refused(client, admin, {**HELLO, "input": history})
    assert error["param"] == "input[1].id" and "store: false" in error["message"]


async def test_items_are_not_remembered_where_the_client_says_that_nothing_is_stored(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, sdk: Any
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = replying(provider, "anthropic", "Hello")
    first = await _response(sdk, True, model="m", input="hi", store=False)
    reference = {"type": "item_reference", "id": first.output[0].id}
    assert (await refused(client, user, {**HELLO, "input": [reference]}))["param"] == "input[0].id"


@pytest.mark.parametrize("coding", ["zstd", "gzip", "br"])
@pytest.mark.parametrize("path", [PATH, PATH + "/input_tokens", "/v1/chat/completions"])
@pytest.mark.shared
async def test_compressed_body_is_refused(client: TestClient, user: Headers, coding: str, path: str) -> None:
    headers = user | {"Content-Encoding": coding, "Content-Type": "application/json"}
    response = await client.post(path, data=b"\x28\xb5\x2f\xfd", headers=headers)
    assert response.status == 415
    assert "Content-Encoding" in (await response.json())["error"]["message"]


# a request as a coding agent sends it, after its first turn
AGENTS_REQUEST: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "instructions": "Be brief",
    "tools": [WEATHER, PATCH, AGENTS, {"type": "web_search", "external_web_access": True}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}", "namespace": None},
        {"type": "custom_tool_call", "call_id": "b", "name": "apply_patch", "input": "x"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "y"}]},
        {"type": "custom_tool_call_output", "call_id": "b", "output": "z"},
        {"type": "local_shell_call", "id": "l", "call_id": "l", "action": {"command": ["ls"]}},
        {"type": "image_generation_call", "id": "i", "result": PIXEL},
    ],
}
ODD: list[Any] = [
    None,
    True,
    -1,
    "",
    "\ud800",
    "x",
    [],
    {},
    [[]],
    [None],
    {"type": []},
    [{"type": "x"}],
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of a value and of all values in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a value with another one at a place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_any_value_in_any_place_is_a_reply_or_an_error_that_names_its_field(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = lacking(replying(provider, protocol, "Hello"))
    cases = [(path, new) for path in _places(AGENTS_REQUEST)[1:] for new in ODD]
    # every format gets other ones of them
    for path, new in cases[PROTOCOLS.index(protocol) :: 11]:
        body = _with(AGENTS_REQUEST, path, new)
        response = await client.post(PATH, json=body, headers=user)
        text = await response.text()
        assert response.status in (200, 400, 404), (path, new, text)
        if response.status == 200:
            assert "response.completed" in text or '"status":"completed"' in text, (path, new, text)
        else:
            assert json.loads(text)["error"]["param"] or path == ("model",), (path, new, text)
