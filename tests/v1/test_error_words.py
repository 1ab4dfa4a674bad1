"""Errors at /v1 in the provider's own words, and the headers that go with them."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import ONE, Headers, add, add_pool, post
from scripted import DONE, Provider, chunk, reply

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
TOO_LONG = {
    "message": "This model's maximum context length is 8192 tokens.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}
LIMITS = {
    "x-request-id": "req_abc",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-tokens": "6m0s",
    "anthropic-ratelimit-tokens-remaining": "7",
    "openai-organization": "org-secret",
    "set-cookie": "a=b",
}
each_path = pytest.mark.parametrize("path", [CHAT, MESSAGES])
whole_or_streamed = pytest.mark.parametrize("streams", [False, True])


async def ask(
    client: TestClient, headers: Headers, path: str = CHAT, **more: Any
) -> tuple[int, Any, Any, bytes]:
    """Status, headers, the error object, and the whole body."""
    wanted = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **more}
    async with client.post(path, json=wanted, headers=headers) as response:
        raw = await response.read()
        is_json = response.content_type == "application/json"
        return response.status, response.headers, (json.loads(raw) if is_json else {}).get("error"), raw


@whole_or_streamed
async def test_providers_code_type_and_param_reach_an_openai_client(
    client: TestClient, admin: Headers, provider: Provider, streams: bool
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.answer(400, {"error": TOO_LONG})
    status, headers, error, _ = await ask(client, admin, stream=streams)
    assert status == 400 and headers["X-ChatHub-Code"] == "upstream_refused"
    assert {name: error[name] for name in ("type", "param", "code")} == {
        name: TOO_LONG[name] for name in ("type", "param", "code")
    }
    assert "maximum context length" in error["message"]


@pytest.mark.parametrize(
    ("protocol", "status", "refusal", "seen", "kind", "code"),
    [
        ("anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}},
         400, "invalid_request_error", "upstream_refused"),
        ("anthropic", 404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
         404, "not_found_error", "model_not_found"),
        ("gemini", 400, {"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}},
         400, "invalid_request_error", "upstream_refused"),
        ("gemini", 429, {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}},
         429, "rate_limit_error", "rate_limit_exceeded"),
        ("openai", 403, {"error": {"message": "no access to model m", "code": "model_not_found"}},
         404, "not_found_error", "model_not_found"),
        ("openai", 401, {"error": {"message": "m", "type": "odd_error", "code": "invalid_api_key"}},
         502, "server_error", "upstream_invalid_key"),
        ("openai", 500, {"error": {"message": "m", "type": "server_error"}},
         502, "server_error", "upstream_failed"),
        ("openai", 200, {"error": {"message": "m", "code": 429}},
         429, "rate_limit_error", "rate_limit_exceeded"),
        ("openai", 400, {"error": {"message": "m", "code": "content_filter", "param": "prompt"}},
         400, "invalid_request_error", "content_filter"),
        ("openai", 400, {"error": {"message": "m", "code": {"a": 1}, "type": "<b>", "param": "a\\nb"}},
         400, "invalid_request_error", "upstream_refused"),
    ],
)  # fmt: skip
async def test_every_error_has_a_type_and_a_code_for_an_openai_client(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    protocol: str,
    status: int,
    refusal: Any,
    seen: int,
    kind: str,
    code: str,
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.answer(status, refusal)
    found, _, error, _ = await ask(client, admin)
    assert (found, error["type"], error["code"]) == (seen, kind, code)


@pytest.mark.parametrize(
    ("status", "refusal", "seen", "kind", "code"),
    [
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
         502, "overloaded_error", "upstream_overloaded"),
        (503, {"error": {"message": "busy"}}, 502, "overloaded_error", "upstream_overloaded"),
        (429, {"error": {"message": "slow"}}, 429, "rate_limit_error", "upstream_rate_limited"),
        (400, {"error": TOO_LONG}, 400, "invalid_request_error", "upstream_refused"),
        (401, {"error": {"message": "no", "type": "authentication_error"}}, 502, "api_error",
         "upstream_invalid_key"),
        (500, {"error": {"message": "no"}}, 502, "api_error", "upstream_failed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_error_has_anthropics_type_and_our_code_in_a_header_for_an_anthropic_client(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    protocol: str,
    status: int,
    refusal: Any,
    seen: int,
    kind: str,
    code: str,
) -> None:
    await add(client, admin, provider.base_url, protocol)
    provider.script = provider.answer(status, refusal)
    found, headers, error, _ = await ask(client, admin, MESSAGES)
    assert (found, error["type"], headers["X-ChatHub-Code"]) == (seen, kind, code)


@each_path
async def test_reason_behind_a_relay_is_told(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    raw = json.dumps({"error": {"message": "prompt is too long", "code": "too_long", "param": "messages"}})
    relayed = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}
    provider.script = provider.answer(400, {"error": relayed})
    status, _, error, _ = await ask(client, admin, path)
    assert status == 400 and "Provider returned error: prompt is too long" in error["message"]
    assert path == MESSAGES or (error["code"], error["param"]) == ("too_long", "messages")


async def test_words_about_an_api_key_of_another_user_are_our_own(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    refusal = {"message": "org-owner has no credit", "type": "owner_type", "code": "insufficient_quota"}
    provider.script = provider.answer(402, {"error": refusal})
    _, _, error, raw = await ask(client, user)
    assert "owner" not in raw.decode() and "no credit left" in error["message"]
    assert (error["type"], error["code"]) == ("server_error", "insufficient_quota")


async def test_api_key_in_a_providers_code_or_header_is_not_shown(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    refusal = {"message": "m", "type": f"t_{ONE}", "code": ONE, "param": ONE}
    provider.script = provider.answer(400, {"error": refusal}, {"x-request-id": f"of {ONE}"})
    _, headers, error, raw = await ask(client, admin)
    assert ONE not in f"{headers} {raw!r}" and error["code"] == "upstream_refused"


@each_path
@whole_or_streamed
@pytest.mark.parametrize("outcome", ["reply", "refusal", "error in a 200"])
async def test_request_id_and_rate_limits_of_the_provider_are_passed_on(
    client: TestClient, admin: Headers, provider: Provider, path: str, streams: bool, outcome: str
) -> None:
    await add(client, admin, provider.base_url)
    choice = {"message": {"content": "ok"}, "finish_reason": "stop"}
    status, body = {
        "reply": (200, {"choices": [choice]}),
        "refusal": (429, {"error": {"message": "slow"}}),
        "error in a 200": (200, {"error": {"message": "slow", "code": 429}}),
    }[outcome]
    provider.script = provider.answer(status, body, LIMITS)
    seen, headers, _, _ = await ask(client, admin, path, stream=streams)
    assert seen == (200 if outcome == "reply" else 429)
    for name in ("x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens", "x-request-id"):
        assert headers[name] == LIMITS[name]
    assert headers["request-id"] == "req_abc" and headers["anthropic-ratelimit-tokens-remaining"] == "7"
    assert headers["X-ChatHub-Request-ID"] and "openai-organization" not in headers
    assert "set-cookie" not in headers


@each_path
async def test_head_of_a_stream_has_the_providers_headers(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    stream = provider.answer(200, b"".join(reply("ok")), {**LIMITS, "Content-Type": "text/event-stream"})
    provider.script = stream
    status, headers, _, raw = await ask(client, admin, path, stream=True)
    assert status == 200 and b"ok" in raw and headers["x-request-id"] == "req_abc"


async def test_own_request_id_stays_where_the_provider_gives_none(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("ok"), chunk(finish="stop"), DONE])
    _, headers, _, _ = await ask(client, {**admin, "X-Request-ID": "mine"})
    assert headers["X-Request-ID"] == "mine" and "X-ChatHub-Request-ID" not in headers


async def test_embeddings_have_the_providers_headers_and_count_a_lone_total(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="vectors", model_type="embedding")
    vectors = {"data": [{"embedding": [0.1]}], "usage": {"total_tokens": 25}}
    provider.script = provider.answer(200, vectors, LIMITS)
    wanted = {"model": "vectors", "input": "hi"}
    async with client.post("/v1/embeddings", json=wanted, headers=admin) as response:
        assert response.status == 200 and response.headers["x-request-id"] == "req_abc"
    (row,) = (await (await client.get("/api/usage", headers=admin)).json())["data"]
    assert (row["prompt_tokens"], row["usage_source"]) == (25, "reported")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"error": {"message": "slow", "code": 429}}, 429, "upstream_rate_limited"),
        ([{"error": {"message": "no", "code": "model_not_found"}}], 404, "model_unavailable"),
        ({"detail": "odd"}, 502, "upstream_failed"),
        (b"<html>Please log in</html>", 502, "upstream_blocked"),
        ({"object": "list"}, 502, "upstream_cut"),
    ],
)
async def test_error_inside_a_200_for_embeddings_means_the_same(
    client: TestClient, admin: Headers, provider: Provider, body: Any, status: int, code: str
) -> None:
    await add(client, admin, provider.base_url, name="vectors", model_type="embedding")
    provider.script = provider.answer(200, body)
    async with client.post(
        "/v1/embeddings", json={"model": "vectors", "input": "hi"}, headers=admin
    ) as response:
        assert (response.status, response.headers["X-ChatHub-Code"]) == (status, code)


@each_path
async def test_spent_budget_is_told_so_that_no_client_repeats(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, path: str
) -> None:
    await add(client, admin, provider.base_url)
    rows = (await (await client.get("/api/users?search=user", headers=admin)).json())["users"]
    (mine,) = [row["id"] for row in rows if row["username"] == "user"]
    assert (await client.put(f"/api/users/{mine}", json={"usage_limit": 1}, headers=admin)).status == 200
    status, headers, error, _ = await ask(client, user, path)
    assert status == 429 and headers["x-should-retry"] == "false" and "Retry-After" not in headers
    if path == CHAT:
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    else:
        assert error["type"] == "rate_limit_error"
    assert provider.bodies == []


@each_path
async def test_bad_token_is_told_so_that_no_client_repeats(client: TestClient, path: str) -> None:
    for headers in ({"Authorization": "Bearer sk-hub-no"}, {"x-api-key": "sk-hub-no"}, {}):
        status, answered, _, _ = await ask(client, headers, path)
        assert status == 401 and answered["x-should-retry"] == "false"


@each_path
async def test_rate_limit_is_told_with_its_wait_and_may_be_repeated(
    client: TestClient, admin: Headers, provider: Provider, path: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = provider.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "9"})
    for _ in range(2):
        status, headers, _, _ = await ask(client, admin, path)
        assert status == 429 and 0 < int(headers["Retry-After"]) <= 9 and "x-should-retry" not in headers


async def test_error_in_mid_stream_has_a_code(client: TestClient, admin: Headers, provider: Provider) -> None:
    await post(client, "/api/providers", {
        "provider_key": "upstream", "display_name": "u", "default_base_url": provider.base_url,
        "needs_key": False, "protocol": "anthropic",
    }, admin)  # fmt: skip
    await add(client, admin, provider.base_url)
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "half"}}
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    data = [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in (start, event)]
    provider.script = provider.stream(data)
    _, _, _, raw = await ask(client, admin, stream=True)
    last = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")][-1]
    assert last["error"]["code"] == "upstream_cut"
