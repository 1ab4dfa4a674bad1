"""What the chat tests share: a model at the scripted provider, and reading ChatHub's own stream."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

Headers = dict[str, str]


async def add_model(
    client: TestClient, admin: Headers, base_url: str, name: str = "test-model", **fields: Any
) -> None:
    """A model of a provider at ``base_url`` that needs no key; its prices are those of GPT-4o."""
    key = "p_" + name.replace("-", "_").replace(".", "_").lower()
    provider = {
        "provider_key": key,
        "display_name": "测试商",
        "default_base_url": base_url,
        "needs_key": False,
    }
    response = await client.post("/api/providers", json=provider, headers=admin)
    assert response.status == 200, await response.text()
    model = {"model_name": name, "display_name": name, "model_provider": key}
    prices = {"input_price_per_1k": 0.0025, "output_price_per_1k": 0.01}
    response = await client.post("/api/models", json=model | prices | fields, headers=admin)
    assert response.status == 200, await response.text()


async def read_events(response: ClientResponse) -> list[dict[str, Any]]:
    """All events of a stream, read as the front end reads them: each non-empty line is one of JSON."""
    assert response.status == 200, await response.text()
    events = []
    for line in (await response.read()).decode().split("\n"):
        if line.strip():
            assert line.startswith("data: {"), line
            events.append(json.loads(line[6:]))
    return events


async def stream(
    client: TestClient, headers: Headers, message: str = "你好", **body: Any
) -> list[dict[str, Any]]:
    wanted = {"message": message, "model": "test-model", **body}
    async with client.post("/api/chat/stream", json=wanted, headers=headers) as response:
        return await read_events(response)


def text_of(events: list[dict[str, Any]], kind: str = "content") -> str:
    return "".join(event["content"] for event in events if event["type"] == kind)


async def messages_of(client: TestClient, headers: Headers, conversation_id: str) -> list[dict[str, Any]]:
    response = await client.get(f"/api/conversations/{conversation_id}/messages", headers=headers)
    assert response.status == 200, await response.text()
    found: list[dict[str, Any]] = await response.json()
    return found


async def chat(client: TestClient, headers: Headers, message: str = "你好", **body: Any) -> Any:
    wanted = {"message": message, "model": "test-model", **body}
    async with client.post("/api/chat", json=wanted, headers=headers) as response:
        return response.status, await response.json(), response.headers


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
