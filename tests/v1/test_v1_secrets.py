"""An API key in a provider's response does not reach a gateway client, wherever it is."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in
from gateway import Headers, add, post
from scripted import DONE, Provider, chunk

from chathub.config import Config

KEY = "canary-0123456789-of-the-programs"
CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY}, admin)


@pytest.mark.parametrize("cut", [1, 8, len(KEY) - 1])
@pytest.mark.parametrize("begun", [False, True])
async def test_api_key_split_over_two_chunks_is_masked(
    client: TestClient, user: Headers, provider: Provider, cut: int, begun: bool
) -> None:
    head, tail = chunk(f"so {KEY} it is").split(KEY.encode())
    halves = [head + KEY[:cut].encode(), KEY[cut:].encode() + tail]
    provider.script = provider.stream([*([chunk("well")] if begun else []), *halves, DONE], pause=0.05)
    response = await client.post(CHAT, json=ASKED | {"stream": True}, headers=user)
    text = await response.text()
    assert KEY not in text and "so *** it is" in text and "[DONE]" in text


async def test_api_key_in_half_an_event_at_the_end_of_a_stream_is_left_out_with_it(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    rest = chunk(KEY).removesuffix(b"\n\n")
    provider.script = provider.stream([chunk("well"), rest], pause=0.05)
    response = await client.post(CHAT, json=ASKED | {"stream": True}, headers=user)
    text = await response.text()
    assert KEY not in text and "well" in text and "upstream_cut" in text


async def test_api_key_in_a_whole_reply_is_masked(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    body = {"id": KEY, "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    provider.script = provider.answer(200, body)
    response = await client.post(CHAT, json=ASKED, headers=user)
    assert response.status == 200 and (await response.json())["id"] == "***"


async def test_api_key_in_a_failure_after_the_response_headers_is_masked(
    connect: Connect, config: Config, provider: Provider
) -> None:
    """Heartbeats began the response while the first model was silent; then the fallback model failed."""
    quick = replace(config, heartbeat_seconds=0.05, database=config.database.with_name("quick.db"))
    client = await connect(quick)
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider.base_url, "openai", "second", needs_key=True)
    await add(client, admin, provider.base_url, "anthropic", provider="slow", fallback_model="second")
    await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY}, admin)

    async def answer(request: web.Request) -> Any:
        if request.path.endswith("/messages"):
            await asyncio.sleep(0.3)
            return web.json_response({"error": {"message": "later"}}, status=500)
        return web.json_response({"error": {"message": f"Unknown key {KEY}"}}, status=401)

    provider.script = answer
    response = await client.post(CHAT, json=ASKED | {"stream": True}, headers=admin)
    text = await response.text()
    assert response.status == 200 and text.startswith(":") and "Unknown key" in text and KEY not in text
