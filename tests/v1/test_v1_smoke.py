"""Short end-to-end tests of /v1: forwarded and translated, streamed and whole."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from scripted import Provider, reply

Headers = dict[str, str]


async def add(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, name: str, **model: Any
) -> None:
    row = {
        "provider_key": "p_" + name.replace("-", "_"),
        "display_name": name,
        "default_base_url": provider.base_url,
        "needs_key": False,
        "protocol": protocol,
    }
    response = await client.post("/api/providers", json=row, headers=admin)
    assert response.status == 200, await response.text()
    wanted = {"model_name": name, "display_name": name, "model_provider": row["provider_key"]}
    response = await client.post("/api/models", json=wanted | model, headers=admin)
    assert response.status == 200, await response.text()


async def test_openai_stream_to_an_openai_provider_is_forwarded_unchanged_without_usage(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider, "openai", "m")
    parts = reply("你好", "，世界")
    provider.script = provider.stream(parts)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, "weird": {"x": 1}}
    async with client.post("/v1/chat/completions", json=body, headers=admin) as response:
        assert response.status == 200
        got = await response.read()
    assert got == b"".join(part for part in parts if b'"usage"' not in part)
    assert provider.last["weird"] == {"x": 1}
    assert provider.last["stream_options"] == {"include_usage": True}
    stats = await (await client.get("/api/stats", headers=admin)).json()
    assert stats["tokens_used"] == 10 and stats["total_conversations"] == 0


async def test_openai_request_to_an_openai_provider_is_forwarded(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider, "openai", "m")
    answer = {"id": "x", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "odd": [1]}
    provider.script = provider.answer(200, answer | {"usage": {"prompt_tokens": 3, "completion_tokens": 4}})
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    response = await client.post("/v1/chat/completions", json=body, headers=admin)
    assert (await response.json())["odd"] == [1]
    assert (await (await client.get("/api/stats", headers=admin)).json())["tokens_used"] == 7


@pytest.mark.parametrize("streamed", [True, False])
async def test_anthropic_message_is_translated_for_an_openai_provider(
    client: TestClient, admin: Headers, provider: Provider, streamed: bool
) -> None:
    await add(client, admin, provider, "openai", "m")
    provider.script = provider.stream(reply("你好"))
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": streamed,
    }
    async with client.post("/v1/messages", json=body, headers=admin) as response:
        assert response.status == 200, await response.text()
        text = await response.text()
    assert "你好" in text and ("message_stop" in text) == streamed
    assert provider.last["max_tokens"] == 9
    if not streamed:
        assert json.loads(text)["content"] == [{"type": "text", "text": "你好"}]
    assert (await (await client.get("/api/stats", headers=admin)).json())["tokens_used"] == 10


async def test_errors_have_the_clients_format(client: TestClient, admin: Headers, provider: Provider) -> None:
    response = await client.post("/v1/chat/completions", json={"model": "nobody", "messages": []})
    assert response.status == 401 and (await response.json())["error"]["type"] == "authentication_error"
    response = await client.post("/v1/messages", json={}, headers={"x-api-key": "bad"})
    assert response.status == 401 and (await response.json())["type"] == "error"
    await add(client, admin, provider, "openai", "m")
    provider.script = provider.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "3"})
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    response = await client.post("/v1/chat/completions", json=body, headers=admin)
    assert response.status == 429 and response.headers["Retry-After"] == "3"
    assert "slow down" in (await response.json())["error"]["message"]
