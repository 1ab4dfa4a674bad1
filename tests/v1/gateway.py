"""Shared by the tests of /v1: models of every provider format, pools of API keys, access tokens."""

import asyncio
import socket
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from scripted import Provider, Script

Headers = dict[str, str]

ONE, TWO = "sk-one-of-the-tests-aaaa1111", "sk-two-of-the-tests-bbbb2222"
TOOL = {
    "name": "weather",
    "description": "The weather of a place",
    "schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
# a PNG of one pixel
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# the paths of each format's requests, whole and streamed
PATHS = {
    "openai": ("/v1/chat/completions", "/v1/chat/completions"),
    "anthropic": ("/v1/messages", "/v1/messages"),
    "gemini": ("/v1/models/m:generateContent", "/v1/models/m:streamGenerateContent"),
}


def official(name: str) -> Any:
    """A provider's own client, or the module's tests are skipped; one for all modules. Its two seconds of
    import come with its first use: they are spent by the one process that runs these tests, not by all that
    collect them."""
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec(name)
    if spec is None or spec.loader is None:
        pytest.skip(f"the official client {name} is not installed", allow_module_level=True)
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def post(client: TestClient, path: str, body: dict[str, Any], headers: Headers) -> Any:
    response = await client.post(path, json=body, headers=headers)
    assert response.status == 200, await response.text()
    return await response.json()


async def add(
    client: TestClient,
    admin: Headers,
    base_url: str,
    protocol: str = "openai",
    name: str = "m",
    *,
    provider: str = "upstream",
    needs_key: bool = False,
    **model: Any,
) -> None:
    """Add a model, and its provider if it does not exist yet."""
    row = {"provider_key": provider, "display_name": provider, "default_base_url": base_url}
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    if provider not in [each["provider_key"] for each in listed]:
        row |= {"needs_key": needs_key, "protocol": protocol}
        await post(client, "/api/providers", row, admin)
    wanted = {
        "model_name": name,
        "display_name": name,
        "model_provider": provider,
        "supports_vision": True,
        "supports_function_calling": True,
    }
    await post(client, "/api/models", wanted | model, admin)


async def add_pool(client: TestClient, admin: Headers, provider: Provider, protocol: str) -> None:
    """The model ``m`` with two API keys: ``ONE`` is tried before ``TWO``."""
    await add(client, admin, provider.base_url, protocol, needs_key=True)
    for label, key, priority in (("one", ONE, 10), ("two", TWO, 0)):
        body = {"model_provider": "upstream", "api_key": key, "label": label, "priority": priority}
        await post(client, "/api/apikeys", body, admin)


def by_key(scripts: dict[str, Script]) -> Script:
    """Choose the response by the API key."""

    async def run(request: web.Request) -> web.StreamResponse:
        return await scripts[key_of(request.headers)](request)

    return run


def key_of(headers: Any) -> str:
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    return str(headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer)


async def key_states(client: TestClient, admin: Headers) -> dict[str, dict[str, Any]]:
    """The API keys of the pool by label."""
    rows = await (await client.get("/api/apikeys", headers=admin)).json()
    return {row["label"]: row for row in rows}


async def token(client: TestClient, headers: Headers, **fields: Any) -> str:
    made = await post(client, "/api/tokens", {"name": "tests", **fields}, headers)
    assert made["token"].startswith("sk-hub-")
    return str(made["token"])


async def stats(client: TestClient, headers: Headers) -> dict[str, Any]:
    response = await client.get("/api/stats", headers=headers)
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def spent(client: TestClient, headers: Headers, requests: int) -> dict[str, Any]:
    """The statistics after so many requests: a stream is settled a moment after its last byte."""
    async with asyncio.timeout(30):
        while (found := await stats(client, headers))["today"]["requests"] < requests:
            await asyncio.sleep(0.02)
    assert found["today"]["requests"] == requests
    return found


def sent(provider: Provider) -> dict[str, Any]:
    """The newest body as received, without what the scripted provider adds."""
    return {name: value for name, value in provider.last.items() if name != "_path"}


def unused_address() -> str:
    """A base URL at which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
