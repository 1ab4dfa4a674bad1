"""Tokens are counted before a prompt is sent: by the provider, or by an estimate that says so."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import ONE, TWO, Headers, add, add_pool, by_key, key_of, key_states, sent, stats, token
from scripted import DONE, Provider, Script, chunk, usage
from texts_to_count import CHINESE, CODE, ENGLISH
from tokenizer import count_tokens

PATH = "/v1/messages/count_tokens"
HI = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
FULL = {
    **HI,
    "system": "Be brief.",
    "tools": [
        {
            "name": "weather",
            "description": "The weather",
            "input_schema": {"type": "object", "properties": {}},
        }
    ],
    "thinking": {"type": "enabled", "budget_tokens": 2000},
}
ESTIMATED = "X-ChatHub-Estimated"


async def count(client: TestClient, headers: Headers, body: Any = HI, **more: str) -> tuple[int, Any, Any]:
    response = await client.post(PATH, json=body, headers=headers | more)
    return response.status, await response.json(), response.headers


def counted(provider: Provider, **body: Any) -> Script:
    return provider.answer(200, body)


async def test_anthropic_counts_with_the_clients_own_body(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    told = {"input_tokens": 14, "context_management": {"original_input_tokens": 20}}
    provider.script = provider.answer(200, told, {"request-id": "req_1"})
    more = {"max_tokens": 99, "stream": True, "temperature": 1}
    status, body, headers = await count(client, user, FULL | more, **{"anthropic-beta": "token-x"})
    assert (status, body) == (200, told)
    assert ESTIMATED not in headers and headers["request-id"] == "req_1"
    assert provider.last["_path"] == PATH and sent(provider) == FULL
    assert provider.headers[-1]["anthropic-beta"] == "token-x"


async def test_gemini_counts_the_translated_request(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "gemini")
    provider.script = counted(provider, totalTokens=31)
    status, body, headers = await count(client, user, FULL | {"max_tokens": 5000})
    assert (status, body) == (200, {"input_tokens": 31}) and ESTIMATED not in headers
    assert provider.last["_path"] == "/v1/models/m:countTokens"
    asked = provider.last["generateContentRequest"]
    assert asked["model"] == "models/m" and "generationConfig" not in asked
    assert asked["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert asked["systemInstruction"] and asked["tools"]


async def test_openai_does_not_count_and_the_estimate_says_so(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    for body in (HI, FULL, HI | {"messages": [{"role": "user", "content": ""}]}):
        status, answer, headers = await count(client, user, body)
        assert status == 200 and answer["input_tokens"] > 0 and headers[ESTIMATED] == "true"
    assert not provider.bodies


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"404 page not found"),
        (404, {"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}}),
        (405, {"detail": "Method Not Allowed"}),
        (429, {"error": {"type": "rate_limit_error", "message": "slow down"}}),
        (500, {"error": {"message": "broken"}}),
        (200, {"input_tokens": 0}),
        (200, {"input_tokens": 10**30}),
        (200, {"content": []}),
        (200, b"<html>"),
    ],
)
async def test_provider_that_cannot_count_is_estimated_for(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, status: int, body: Any
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = provider.answer(status, body)
    got, answer, headers = await count(client, user)
    assert got == 200 and answer["input_tokens"] > 0 and headers[ESTIMATED] == "true"


async def test_unknown_model_and_invalid_request_are_errors_in_anthropics_shape(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    gone = {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}
    provider.script = provider.answer(404, gone)
    status, body, _ = await count(client, user)
    assert (status, body["type"], body["error"]["type"]) == (404, "error", "not_found_error")
    invalid = {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: too odd"}}
    provider.script = provider.answer(400, invalid)
    status, body, _ = await count(client, user)
    assert (status, body["type"]) == (400, "error") and "too odd" in body["error"]["message"]
    for wrong, expected in (({"model": "nobody-has-this"}, 404), ({"model": 7}, 400)):
        status, body, _ = await count(client, user, HI | wrong)
        assert (status, body["type"]) == (expected, "error")
    bound = {"Authorization": f"Bearer {await token(client, user, allowed_models=['m'])}"}
    await add(client, admin, provider.base_url, "anthropic", name="n")
    assert (await count(client, bound, HI | {"model": "n"}))[0] == 403
    assert (await count(client, {}))[0] == 401


async def test_messages_that_cannot_be_read_are_refused_where_tokens_are_estimated(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    for wrong in ({"messages": []}, {"messages": "hi"}, {"messages": [{"role": "x", "content": "y"}]}):
        status, body, _ = await count(client, user, HI | wrong)
        assert (status, body["type"]) == (400, "error")


async def test_another_api_key_counts_where_one_is_refused(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "anthropic")
    refused = {"error": {"type": "authentication_error", "message": "invalid x-api-key"}}
    provider.script = by_key({ONE: provider.answer(401, refused), TWO: counted(provider, input_tokens=9)})
    assert (await count(client, admin))[1] == {"input_tokens": 9}
    assert [key_of(headers) for headers in provider.headers] == [ONE, TWO]
    assert (await key_states(client, admin))["one"]["health"] == "broken"


async def test_limit_of_counts_does_not_rest_an_api_key(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "anthropic")
    provider.script = provider.answer(429, {"error": {"type": "rate_limit_error", "message": "slow down"}})
    assert (await count(client, admin))[2][ESTIMATED] == "true"
    assert {state["health"] for state in (await key_states(client, admin)).values()} == {"ok"}


async def test_counting_costs_nothing_and_needs_no_budget(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic", input_price_per_1k=1.0)
    limits = {"usage_limit": 0, "cost_limit": 0, "requests_per_minute": 1}
    assert (await client.put("/api/users/2", json=limits, headers=admin)).status == 200
    provider.script = counted(provider, input_tokens=9)
    for _ in range(3):
        assert (await count(client, user))[0] == 200
    assert (await stats(client, user))["today"]["requests"] == 0
    assert (await (await client.get("/api/usage", headers=user)).json())["data"] == []


async def test_many_counts_at_once_of_one_user_are_bounded(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")

    async def slowly(request: web.Request) -> web.StreamResponse:
        await provider.gate.wait()
        return web.json_response({"input_tokens": 9})

    provider.script = slowly
    counts = [asyncio.create_task(count(client, user)) for _ in range(50)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in counts) < 18:
            await asyncio.sleep(0.02)
    provider.gate.set()
    answers = await asyncio.gather(*counts)
    assert len(provider.bodies) == 32 and {status for status, _, _ in answers} == {200}


# --- what usage teaches


def told(provider: Provider, instructions: int = 9) -> Script:
    """A provider that counts with a published tokenizer, and puts some instructions before each prompt."""
    # skips the test where there is no tokenizer: inside the provider it would only break the connection
    count_tokens("")

    async def run(request: web.Request) -> web.StreamResponse:
        messages = provider.last["messages"]
        prompt = instructions + sum(4 + count_tokens(each["content"]) for each in messages)
        if provider.last.get("stream"):
            return await provider.stream([chunk("ok"), chunk(finish="stop"), usage(prompt, 1), DONE])(request)
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        counts = {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}
        return web.json_response({"choices": [choice], "usage": counts})

    return run


def prompts() -> list[str]:
    """Chinese, English, code and mixtures of them, of many lengths."""
    texts = [CHINESE, ENGLISH, CODE, CHINESE + CODE, ENGLISH + CHINESE, "hi", "你好", "print(x)"]
    return [text[: len(text) // part] * times for part, times in ((1, 1), (2, 3), (1, 8)) for text in texts]


@pytest.mark.parametrize("way", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_after_20_requests_estimates_are_within_15_percent_of_what_the_provider_reports(
    client: TestClient, admin: Headers, provider: Provider, way: str, stream: bool
) -> None:
    await add(client, admin, provider.base_url, context_window=200_000)
    provider.script = told(provider)
    for text in prompts()[:20]:
        body: dict[str, Any] = {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": text}],
        }
        path = way + "/stream" if stream and way == "/api/chat" else way
        asked = {"model": "m", "message": text} if way == "/api/chat" else body | {"stream": stream}
        async with client.post(path, json=asked, headers=admin) as response:
            assert response.status == 200 and b"ok" in await response.read()
    for text in prompts():
        _, answer, headers = await count(
            client, admin, {**HI, "messages": [{"role": "user", "content": text}]}
        )
        assert headers[ESTIMATED] == "true"
        assert answer["input_tokens"] == pytest.approx(9 + 4 + count_tokens(text), rel=0.15, abs=2)
    assert len(provider.bodies) == 20
