"""Cache poisoning: what one user's request makes a provider answer changes nothing for other users."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, chat
from conftest import sign_in
from gateway import key_of
from scripted import DONE, Provider, chunk, usage
from world import new_user

KNOWN = {"model", "messages", "stream", "stream_options", "max_tokens", "_path"}
PHRASES = (
    "incorrect api key - pay at http://evil.example",
    "余额不足",
    "Insufficient Balance",
    "API key not valid",
)


@pytest.fixture
async def mallory(client: TestClient, admin: Headers) -> Headers:
    return await new_user(client, "mallory")


async def share_keys(client: TestClient, admin: Headers, provider: Provider, count: int = 3) -> None:
    row = {"provider_key": "lab", "display_name": "lab", "default_base_url": provider.base_url}
    assert (await client.post("/api/providers", json=row, headers=admin)).status == 200
    model = {"model_name": "m", "display_name": "m", "model_provider": "lab", "output_price_per_1k": 1}
    model["supports_function_calling"] = True
    assert (await client.post("/api/models", json=model, headers=admin)).status == 200
    for number in range(count):
        body = {"model_provider": "lab", "api_key": f"sk-shared-{number}-0123456789", "label": str(number)}
        assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200


async def health(client: TestClient, admin: Headers) -> list[tuple[str, bool]]:
    rows = await (await client.get("/api/apikeys", headers=admin)).json()
    return [(row["health"], bool(row["cooldown_until"])) for row in rows]


def repeating(provider: Provider, wording: str) -> Any:
    """A provider that refuses unknown fields and quotes them: ``{}`` stands for the field."""

    async def run(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        odd = [body["stop"] if name == "stop" else name for name in body if name not in KNOWN]
        if odd:
            error = {"message": wording.format(odd[-1]), "type": "invalid_request_error", "param": odd[-1]}
            return await provider.answer(400, {"error": error})(request)
        parts = [chunk("ok"), chunk(finish="stop"), usage(7, 3), DONE]
        return await provider.stream(parts)(request)

    return run


@pytest.mark.parametrize("wording", ["Unknown parameter: '{}'.", "{}: unknown parameter"])
@pytest.mark.parametrize("phrase", PHRASES)
async def test_field_named_like_a_key_failure_does_not_break_an_api_key(
    client: TestClient,
    admin: Headers,
    user: Headers,
    mallory: Headers,
    provider: Provider,
    phrase: str,
    wording: str,
) -> None:
    await share_keys(client, admin, provider)
    provider.script = repeating(provider, wording)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], phrase: 1}
    response = await client.post("/v1/chat/completions", json=body, headers=mallory)
    # a field that the provider does not know may be left out, with the same key
    assert response.status == (400 if len(provider.bodies) == 1 else 200)
    assert len({key_of(headers) for headers in provider.headers}) == 1, "no other key is asked"
    count = len(provider.bodies)
    status, _, _ = await chat(client, mallory, model="m", stop=phrase)
    assert status == 502 and len(provider.bodies) == count + 1
    assert await health(client, admin) == [("ok", False)] * 3
    status, answered, _ = await chat(client, user, model="m")
    assert status == 200 and "evil" not in str(answered)


async def test_providers_message_about_a_shared_api_key_is_shown_to_its_owner_only(
    client: TestClient, admin: Headers, user: Headers, mallory: Headers, provider: Provider
) -> None:
    await share_keys(client, admin, provider, count=1)
    provider.script = provider.answer(401, {"error": {"message": "account of Ms. Owner is closed"}})
    _, first, _ = await chat(client, mallory, model="m")
    _, second, _ = await chat(client, user, model="m")
    response = await client.post(
        "/v1/chat/completions",
        json={"model": "m", "messages": [{"role": "user", "content": "x"}]},
        headers=user,
    )
    told = str((first, second, await response.text()))
    assert "Owner" not in told and "拒绝" in first["error"] and "拒绝" in second["error"]
    (row,) = await (await client.get("/api/apikeys", headers=admin)).json()
    assert row["health"] == "broken" and "Owner" in row["last_error"]


async def test_request_cannot_turn_off_usage_reports_for_others(
    client: TestClient, admin: Headers, user: Headers, mallory: Headers, provider: Provider
) -> None:
    """Otherwise hidden reasoning would be free for everybody."""
    await share_keys(client, admin, provider)

    async def strict(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        for tool in body.get("tools") or []:
            if tool["function"]["parameters"].get("type") != "object":
                error = f"Invalid schema for function '{tool['function']['name']}': extra inputs"
                return await provider.answer(400, {"error": {"message": error}})(request)
        if "stream_options" in body and not body.get("stream"):
            error = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            return await provider.answer(400, {"error": {"message": error}})(request)
        told = [usage(11, 9000)] if body.get("stream_options", {}).get("include_usage") else []
        return await provider.stream([chunk("short"), chunk(finish="stop"), *told, DONE])(request)

    provider.script = strict
    base = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for name in ("include_usage", "stream_options", "Extra inputs"):
        odd = [{"type": "function", "function": {"name": name, "parameters": {"type": "string"}}}]
        for body in (
            {**base, "tools": odd, "stream": True},
            {**base, "stream_options": {"include_usage": True}},
        ):
            response = await client.post("/v1/chat/completions", json=body, headers=mallory)
            # options of a stream are left out where there is none
            assert response.status == (400 if "tools" in body else 200)
    for headers in (user, mallory):
        status, answered, _ = await chat(client, headers, model="m")
        assert status == 200 and answered["usage"]["completion_tokens"] == 9000
        assert answered["usage"]["estimated"] is False


async def test_quirk_is_not_learned_if_the_second_attempt_is_refused_too(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await share_keys(client, admin, provider)
    refusal = {"error": {"message": "Unrecognized request argument supplied: stream_options"}}
    provider.script = provider.answer(400, refusal)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 400
    assert [("stream_options" in each) for each in provider.bodies] == [True, False]
    assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 400
    assert "stream_options" in provider.bodies[2]


async def test_quirk_learned_from_one_user_applies_to_others_after_a_second_user_met_it(
    client: TestClient, admin: Headers, user: Headers, mallory: Headers, provider: Provider
) -> None:
    await share_keys(client, admin, provider)
    third = await new_user(client, "third")

    async def strict(request: web.Request) -> web.StreamResponse:
        if "temperature" in json.loads(await request.read()):
            error = {"message": "Unsupported value", "param": "temperature"}
            return await provider.answer(400, {"error": error})(request)
        return await provider.stream([chunk("ok"), chunk(finish="stop"), usage(7, 3), DONE])(request)

    provider.script = strict
    counts = []
    for headers in (mallory, mallory, user, third):
        before = len(provider.bodies)
        assert (await chat(client, headers, model="m", temperature=0.5))[0] == 200
        counts.append(len(provider.bodies) - before)
    assert counts == [2, 1, 2, 1]


# what an attacker writes, as texts of messages
WRITTEN = [
    ["Unsupported parameter: 'temperature' is not supported with this model."],
    ["Unsupported parameter: 'temperature' is"],
    ["UNSUPPORTED  parameter:\n\t'TEMPERATURE'"],
    ["unsupported"],
    ["Repeat what I say now: temperature is not ", "supported by this model, and nothing else"],
    ["Repeat what I say now: temperature is unsup", "ported by this model, and nothing else"],
    ["First a long story about a river. Then: temperature: Extra inputs are not permitted"],
    ["extra inputs " + "and a long story about a river " * 20],
]
# what a provider makes of it, though all it does not like is a temperature
REPEATED: list[Callable[[list[str]], str]] = [
    lambda texts: f"temperature must be at most 2, in '{''.join(texts)}'",
    lambda texts: f"Bad body: {json.dumps([{'content': text} for text in texts])}",
    lambda texts: f"Bad: {' '.join(texts)[:80]}… (temperature)",
    lambda texts: " ".join(" ".join(texts).lower().split()),
]


@pytest.mark.parametrize("texts", WRITTEN)
async def test_refusal_written_into_a_prompt_removes_no_parameter(
    client: TestClient, admin: Headers, mallory: Headers, provider: Provider, texts: list[str]
) -> None:
    await share_keys(client, admin, provider)
    for repeated in REPEATED:

        async def strict(request: web.Request, repeated: Any = repeated) -> web.StreamResponse:
            body = json.loads(await request.read())
            if body.get("temperature", 0) > 2:
                message = repeated([each["content"] for each in body["messages"]])
                error = {"message": message, "param": "temperature"}
                return await provider.answer(400, {"error": error})(request)
            return await provider.stream([chunk("ok"), chunk(finish="stop"), usage(7, 3), DONE])(request)

        provider.script = strict
        provider.bodies.clear()
        messages = [{"role": "user", "content": text} for text in texts]
        body = {"model": "m", "messages": messages, "temperature": 5}
        response = await client.post("/v1/chat/completions", json=body, headers=mallory)
        assert response.status == 400 and len(provider.bodies) == 1, provider.bodies
        assert (await chat(client, mallory, model="m", temperature=0.5))[0] == 200
        assert provider.bodies[-1]["temperature"] == 0.5


async def test_long_prompt_with_ordinary_words_does_not_hide_a_refusal(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await share_keys(client, admin, provider)
    provider.script = repeating(provider, "Failed to deserialize the JSON body: unknown field `{}`, expected")
    words = "of an unknown size, not supported, unsupported: extra inputs are permitted, verbosity. "
    body = {"model": "m", "messages": [{"role": "user", "content": words * 3000}], "verbosity": "low"}
    for count in (2, 3):
        response = await client.post("/v1/chat/completions", json=body, headers=user)
        assert response.status == 200 and len(provider.bodies) == count
        assert "verbosity" not in provider.bodies[-1]


async def test_request_refused_as_invalid_is_not_sent_with_every_api_key(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await share_keys(client, admin, provider)
    headers = await sign_in(client, "user", "user123")
    for status in (400, 413, 422):
        provider.bodies.clear()
        provider.script = provider.answer(status, {"error": {"message": "Insufficient room"}})
        await chat(client, headers, model="m")
        assert len(provider.bodies) == 1
    assert await health(client, admin) == [("ok", False)] * 3
