"""The fields of a forwarded body that ChatHub checks are those that the provider reads.

Each name occurs once and in our case, and no field may change the model or the price that a caller is bound
to.
"""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, sent, token
from scripted import Provider
from scripted_formats import whole

from chathub.errors import BadRequest
from chathub.formats import anthropic, openai
from chathub.formats.body_fields import Known, fields_of

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"
JSON = {"Content-Type": "application/json"}
HELLO = [{"role": "user", "content": "hi"}]
ASKED: dict[str, Any] = {"model": "m", "messages": HELLO, "max_tokens": 9}
EXTRAS = {
    "models": ["dearer"],
    "route": "fallback",
    "provider": {"order": ["x"]},
    "plugins": [{"id": "web"}],
    "preset": "dear",
    "fallbacks": [{"model": "dear"}],
    "web_search_options": {},
    "speed": "fast",
    "inference_geo": "us",
    "service_tier": "priority",
}
KNOWN = Known("model", "messages", "stream", "tools", "max_tokens")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{}", {}),
        (b" {\n} ", {}),
        (b'{"model":"m"}', {"model": "m"}),
        (b' { "model" : "m" ,\r\n\t"x" : [1, {"x": 2, "x": 3}] } ', {"model": "m", "x": [1, {"x": 3}]}),
        (rb'{"a\"b":1,"a\\":2,"a":3}', {'a"b': 1, "a\\": 2, "a": 3}),
        (rb'{"\u0061b":1,"b":"}"}', {"ab": 1, "b": "}"}),
        (b'{"":1,"x":""}', {"": 1, "x": ""}),
        ('{"模型":1,"ｍodel":2}'.encode(), {"模型": 1, "ｍodel": 2}),
    ],
)
def test_fields_are_separated_with_their_raw_values(body: bytes, fields: dict[str, Any]) -> None:
    assert {name: json.loads(bytes(raw)) for name, raw in fields_of(body, KNOWN).items()} == fields


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":1,"x":1}',
        b'{"x":1,"x":2}',
        b'{"x":12,"x":1}',
        b'{"x":1,"x":12}',
        b'{"x":1,"y":2,"x":1}',
        b'{"y":2,"x":{"a":1},"z":0,"x":{"a":1}}',
        rb'{"x":1,"\u0078":1}',
        b'{"x":"1,\\"x\\":2","x":2}',
        b'{"x":[],"x":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"x":"' + b"a" * 100_000 + b'","x":1}',
    ],
)
def test_duplicate_field_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(BadRequest, match="field_repeated") as refusal:
        fields_of(body, KNOWN)
    assert refusal.value.details["param"] == "x"


@pytest.mark.parametrize("name", ["Model", "MODEL", "mODel", "meſſages", "Max_Tokens", "toolS", "maX_toKens"])
def test_known_field_in_another_case_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        fields_of(json.dumps({name: 1}, ensure_ascii=False).encode(), KNOWN)
    assert refusal.value.details["param"] == name


def test_body_with_too_many_fields_is_refused_without_being_built() -> None:
    body = b'{"model":"m",' + b",".join(b'"a%d":1' % number for number in range(200_000)) + b"}"
    with pytest.raises(BadRequest, match="other_fields_too_large"):
        fields_of(body, KNOWN)
    with pytest.raises(BadRequest, match="too_many_fields"):
        fields_of(body[:20_000].rpartition(b",")[0] + b"}", KNOWN)


def test_long_messages_are_accepted() -> None:
    body = json.dumps({"model": "m", "messages": "x" * 3_000_000, "input": "x" * 3_000_000}).encode()
    assert list(fields_of(body, KNOWN)) == ["model", "messages", "input"]


@pytest.mark.parametrize("front", [openai, anthropic])
def test_too_many_messages_are_refused_without_being_built(front: Any) -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[' + b",".join([b"0"] * 200_000) + b"]}"
    with pytest.raises(BadRequest, match="list_too_long"):
        front.decode_request(body)


def test_arguments_of_tool_calls_are_limited_together() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "x" * 1_100_000}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    openai.decode_request(json.dumps({"model": "m", "messages": [message]}).encode())
    with pytest.raises(BadRequest, match="arguments_too_large"):
        openai.decode_request(json.dumps({"model": "m", "messages": [message] * 2}).encode())
    use = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "x" * 2_200_000}}
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": [use]}]}
    with pytest.raises(BadRequest, match="field_too_many_bytes"):
        anthropic.decode_request(json.dumps(body).encode())


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("more", [b'"Model":"dear"', b'"model":"m"', b'"Max_Tokens":9999', b'"x":1,"x":1'])
async def test_ambiguous_body_gets_400_and_is_not_sent(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str, more: bytes
) -> None:
    await add(client, admin, provider.base_url, protocol)
    body = json.dumps(ASKED).encode()[:-1] + b"," + more + b"}"
    async with client.post(path, data=body, headers={**admin, **JSON}) as response:
        answer = await response.json()
        assert response.status == 400
    name = json.loads(b"{" + more + b"}").popitem()[0]
    assert name in answer["error"]["message"] and provider.bodies == []
    assert answer["error"].get("param", name) == name


async def test_ambiguous_embeddings_body_gets_400_too(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, model_type="embedding")
    for body in (b'{"model":"m","input":"a","Input":"b"}', b'{"model":"m","input":"a","input":"b"}'):
        async with client.post(EMBEDDINGS, data=body, headers={**admin, **JSON}) as response:
            assert response.status == 400 and (await response.json())["error"]["param"].lower() == "input"
    assert provider.bodies == []


async def caller(client: TestClient, admin: Headers, user: Headers, kind: str) -> Headers:
    """A caller: an access token or user with a limit, or without."""
    bounds: dict[str, dict[str, Any]] = {
        "token for models": {"allowed_models": ["m"]},
        "token with money": {"cost_limit": 5},
    }
    limits = {"usage_limit": 10**9, "cost_limit": 5 if kind == "user with money" else None}
    assert (await client.put("/api/users/2", json=limits, headers=admin)).status == 200
    if kind == "subscription with money":
        changed = await client.put("/api/subscriptions/free", json={"cost_limit": 5}, headers=admin)
        assert changed.status == 200
    made = await token(client, user, **bounds.get(kind, {}))
    return {"Authorization": f"Bearer {made}"}


BOUND = ["token for models", "token with money", "user with money", "subscription with money"]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", [*BOUND, "nobody's"])
async def test_fields_that_change_model_or_price_are_removed_for_a_limited_caller(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, kind: str, protocol: str
) -> None:
    """The request is in OpenAI's format: forwarded, or translated if the provider uses Anthropic's."""
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.answer(200, whole(protocol, "ok"))
    who = await caller(client, admin, user, kind)
    body = ASKED | EXTRAS | {"Service_Tier": "priority", "top_k": 4}
    async with client.post(CHAT, json=body, headers=who) as response:
        assert response.status == 200, await response.text()
    (went,) = provider.bodies
    assert went["max_tokens"] == 9
    kept = {name for name in went if name.casefold() in EXTRAS}
    assert kept == ({*EXTRAS, "Service_Tier"} if kind == "nobody's" and protocol == "openai" else set())


async def test_service_tier_of_anthropic_is_removed_too(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = provider.answer(200, whole("anthropic", "ok"))
    who = await caller(client, admin, user, "token for models")
    async with client.post(MESSAGES, json=ASKED | {"service_tier": "auto"}, headers=who) as response:
        assert response.status == 200, await response.text()
    assert sent(provider) == ASKED


# what the client runs, and what the provider does
FUNCTION = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}
USED = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
BASH = {"type": "bash_20250124", "name": "bash"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
PAID_TOOLS = [
    SEARCH,
    {"type": "web_fetch_20250910", "name": "web_fetch"},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "advisor_20260301", "name": "advisor", "model": "dear"},
    {"type": "mcp_toolset", "mcp_server_name": "x"},
    {"type": "new_next_year", "name": "n"},
]
PAID_FIELDS = {
    "mcp_servers": [{"type": "url", "url": "https://x.example", "name": "x"}],
    "container": "c",
    "service_tier": "auto",
    "speed": "fast",
    "inference_geo": "us",
    "fallback_credit_token": "t",
    "billing_policy": {},
    "compaction": {},
    "n": 9,
    "max_completion_tokens": 99_999,
    "new_next_year": True,
    "context_management": {"edits": [{"type": "compact_20260112"}]},
}
BETA = "anthropic-beta"


@pytest.mark.parametrize("allows", [True, False])
async def test_tools_and_services_of_anthropic_are_not_for_a_limited_caller(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, allows: bool
) -> None:
    await add(client, admin, provider.base_url, "anthropic", allow_extras=allows)
    provider.script = provider.answer(200, whole("anthropic", "ok"))
    who = await caller(client, admin, user, "token with money")
    betas = "claude-code-20250219, context-1m-2025-08-07,interleaved-thinking-2025-05-14"
    added = [
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}
        for tool in PAID_TOOLS
    ]
    said = [{"role": "user", "content": [{"type": "text", "text": "hi"}, *added]}]
    body = ASKED | PAID_FIELDS | {"messages": said, "top_k": 4, "tools": [USED, BASH, *PAID_TOOLS]}
    body["tool_choice"] = {"type": "tool", "name": "web_search"}
    async with client.post(MESSAGES, json=body, headers={**who, BETA: betas}) as response:
        assert response.status == 200, await response.text()
    went, beta = sent(provider), provider.headers[-1][BETA]
    if allows:
        assert went == body and beta == betas
        return
    assert went == ASKED | {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "top_k": 4,
        "tools": [USED, BASH],
    }
    assert beta == "claude-code-20250219,interleaved-thinking-2025-05-14"
    # nothing is left of them
    own = {
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "thinking": {"type": "disabled"},
    }
    only = ASKED | own | {"tools": PAID_TOOLS, "tool_choice": {"type": "any"}}
    async with client.post(MESSAGES, json=only, headers={**who, BETA: "context-1m-2025-08-07"}) as response:
        assert response.status == 200, await response.text()
    assert sent(provider) == ASKED | own and BETA not in provider.headers[-1]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_too_many_tools_of_a_limited_caller_are_refused(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url, "anthropic" if path == MESSAGES else "openai")
    who = await caller(client, admin, user, "token for models")
    async with client.post(path, json=ASKED | {"tools": [SEARCH] * 1001}, headers=who) as response:
        assert response.status == 400 and (await response.json())["error"].get("param", "tools") == "tools"
    assert provider.bodies == []


@pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("allows", [True, False])
async def test_tools_of_the_provider_in_chat_completions_are_not_for_a_limited_caller(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, allows: bool, protocol: str
) -> None:
    """Forwarded, and translated to the formats whose providers have such tools."""
    await add(client, admin, provider.base_url, protocol, allow_extras=allows)
    provider.script = provider.answer(200, whole(protocol, "ok"))
    who = await caller(client, admin, user, "user with money")
    paid = {"openai": {"type": "web_search"}, "anthropic": SEARCH, "gemini": {"google_search": {}}}[protocol]
    more = {"search_parameters": {"mode": "on"}, "enable_search": True, "best_of": 5, "new_next_year": 1}
    body = ASKED | more | {"tools": [FUNCTION, paid], "min_p": 0.1}
    async with client.post(CHAT, json=body, headers=who) as response:
        assert response.status == 200, await response.text()
    went = sent(provider)
    written = json.dumps(went["tools"])
    assert (json.dumps(paid)[1:-1] in written) is allows and "look" in written
    if protocol == "openai":
        assert went == (body if allows else ASKED | {"tools": [FUNCTION], "min_p": 0.1})
        twice = json.dumps(ASKED | {"tools": [FUNCTION]}).replace(
            '"type": "function"', '"type": "web_search", "Type": "web_search", "type": "function"'
        )
        async with client.post(CHAT, data=twice, headers={**who, **JSON}) as response:
            assert response.status == 200, await response.text()
        assert allows or sent(provider) == ASKED | {"tools": [FUNCTION]}


async def test_completion_of_a_limited_caller_keeps_known_fields_only(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, model_type="completion")
    told = {"choices": [{"text": "ok", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    provider.script = provider.answer(200, told)
    who = await caller(client, admin, user, "token for models")
    asked = {"model": "m", "prompt": "hi", "max_tokens": 9, "n": 2, "best_of": 3, "min_p": 0.1}
    more = EXTRAS | {"max_completion_tokens": 99_999, "new_next_year": 1}
    async with client.post("/v1/completions", json=asked | more, headers=who) as response:
        assert response.status == 200, await response.text()
    assert sent(provider) == asked


async def test_model_setting_may_allow_such_fields(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, allow_extras=True)
    provider.script = provider.answer(200, whole("openai", "ok"))
    who = await caller(client, admin, user, "token with money")
    async with client.post(CHAT, json=ASKED | EXTRAS, headers=who) as response:
        assert response.status == 200, await response.text()
    assert sent(provider) == ASKED | EXTRAS


async def test_such_fields_are_removed_from_embeddings_of_a_limited_caller_too(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, model_type="embedding")
    vectors = {"data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    provider.script = provider.answer(200, vectors)
    who = await caller(client, admin, user, "user with money")
    async with client.post(EMBEDDINGS, json={"model": "m", "input": "a"} | EXTRAS, headers=who) as response:
        assert response.status == 200, await response.text()
    assert sent(provider) == {"model": "m", "input": "a"}


@pytest.mark.parametrize(("path", "protocol"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
async def test_headers_that_select_an_account_are_not_forwarded(
    client: TestClient, admin: Headers, provider: Provider, path: str, protocol: str
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.answer(200, whole(protocol, "ok"))
    accounts = {
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj-1",
        "anthropic-organization-id": "org-1",
        "anthropic-workspace-id": "w-1",
        "x-goog-user-project": "p-1",
        "X-Title": "t",
        "Cookie": "a=b",
    }
    async with client.post(path, json=ASKED, headers=admin | accounts) as response:
        assert response.status == 200, await response.text()
    assert not [name for name in accounts if name in provider.headers[0]]


async def test_only_administrators_may_change_what_a_model_allows(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)

    async def listed() -> dict[str, Any]:
        rows = await (await client.get("/api/models", headers=user)).json()
        return next(row for row in rows if row["model_name"] == "m")

    row = await listed()
    assert row["allow_extras"] is False
    path = f"/api/models/{row['id']}"
    assert (await client.put(path, json={"allow_extras": True}, headers=user)).status == 403
    for value, kept in ((True, True), (None, False)):
        assert (await client.put(path, json={"allow_extras": value}, headers=admin)).status == 200
        assert (await listed())["allow_extras"] is kept
    assert (await client.put(path, json={"allow_extras": "yes"}, headers=admin)).status == 400
