"""Images and tools for a model whose entry says that it cannot take them are 400, forwarded or translated.

So are fields that the format of the model's provider lacks.
"""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import PIXEL, Headers, add
from scripted import Provider, reply
from scripted_formats import replying

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ADDRESS = "https://example.com/cat.png"
SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
PARAMETERS = {"type": "object", "properties": {}}

IMAGES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"content": [{"type": "image_url", "image_url": {"url": ADDRESS}}]}),
    (CHAT, {"content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": ADDRESS}]}),
    (MESSAGES, {"content": [{"type": "image", "source": SOURCE}]}),
    (MESSAGES, {"content": [{"type": "tool_result", "tool_use_id": "t",
                             "content": [{"type": "image", "source": SOURCE}]}]}),
]  # fmt: skip
TOOLS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}]}),
    (CHAT, {"functions": [{"name": "f", "parameters": PARAMETERS}]}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": PARAMETERS}]}),
]
each_protocol = pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])


async def ask(
    client: TestClient, headers: Headers, path: str, message: dict[str, Any], **more: Any
) -> tuple[int, str]:
    messages = [{"role": "user", "content": "hi", **message}]
    wanted = {"model": "m", "max_tokens": 9, "messages": messages, **more}
    async with client.post(path, json=wanted, headers=headers) as response:
        return response.status, await response.text()


@each_protocol
@pytest.mark.parametrize(("path", "message"), IMAGES)
async def test_image_for_a_model_without_vision_is_400(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, path: str, message: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, protocol, supports_vision=False)
    status, text = await ask(client, admin, path, message)
    assert status == 400 and "m" in text and provider.bodies == []


@each_protocol
@pytest.mark.parametrize(("path", "more"), TOOLS)
async def test_tools_for_a_model_without_tools_are_400(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, path: str, more: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, protocol, supports_function_calling=False)
    status, _ = await ask(client, admin, path, {}, **more)
    assert status == 400 and provider.bodies == []


@pytest.mark.parametrize(
    "message",
    [
        {"content": "an image, image_url and a \\u0041"},
        {"content": [{"type": "text", "text": '{"type": "image_url"}'}]},
        {"content": [{"type": "text", "text": "x"}], "name": "image"},
    ],
)
async def test_words_about_images_need_no_vision(
    client: TestClient, admin: Headers, provider: Provider, message: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, supports_vision=False, supports_function_calling=False)
    provider.script = provider.answer(
        200, {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}
    )
    assert (await ask(client, admin, CHAT, message, tools=[]))[0] == 200


async def test_escaped_type_of_an_image_is_found(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, supports_vision=False)
    part = {"type": "TYPE", "image_url": {"url": ADDRESS}}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    body = body.replace("TYPE", "\\u0069mage_url").replace('"image_url"', '"\\u0069mage_url"')
    headers = {**admin, "Content-Type": "application/json"}
    async with client.post(CHAT, data=body.encode(), headers=headers) as response:
        assert response.status == 400 and provider.bodies == []


async def test_fallback_model_that_cannot_take_an_image_is_skipped(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, fallback_model="blind")
    await add(client, admin, provider.base_url, name="blind", supports_vision=False)
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    assert (await ask(client, admin, CHAT, IMAGES[0][1]))[0] == 502
    assert [body["model"] for body in provider.bodies] == ["m"]


async def test_name_outside_the_table_is_let_through(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (openai,) = [row["id"] for row in rows if row["provider_key"] == "openai"]
    moved = {"default_base_url": provider.base_url}
    assert (await client.put(f"/api/providers/{openai}", json=moved, headers=admin)).status == 200
    key = {"model_provider": "openai", "api_key": "a-key-of-the-tests-0123456789"}
    assert (await client.post("/api/apikeys", json=key, headers=admin)).status == 200
    provider.script = provider.stream(reply("ok"))
    status, _ = await ask(client, admin, CHAT, IMAGES[0][1], model="gpt-9-new", stream=True, **TOOLS[0][1])
    assert status == 200


BUSY = {"error": {"message": "busy"}}
FORMING: list[dict[str, Any]] = [
    {"seed": 7}, {"seed": 0}, {"presence_penalty": 0.5}, {"frequency_penalty": -1}, {"logprobs": True},
    {"logprobs": True, "top_logprobs": 2},
]  # fmt: skip


@pytest.mark.parametrize("more", FORMING, ids=str)
async def test_field_that_the_providers_format_lacks_is_400_by_its_name(
    client: TestClient, admin: Headers, provider: Provider, more: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    status, text = await ask(client, admin, CHAT, {}, **more)
    error = json.loads(text)["error"]
    assert (status, error["code"], error["param"]) == (400, "field_unsupported", next(iter(more)))
    assert next(iter(more)) in error["message"] and provider.bodies == []


@pytest.mark.parametrize("more", [*FORMING, {"n": 2}], ids=str)
async def test_fallback_of_a_format_that_lacks_the_field_is_skipped(
    client: TestClient, admin: Headers, provider: Provider, more: dict[str, Any]
) -> None:
    await add(client, admin, provider.base_url, fallback_model="other")
    await add(client, admin, provider.base_url, "anthropic", "other", provider="p2", fallback_model="last")
    await add(client, admin, provider.base_url, name="last")
    provider.script = provider.answer(503, BUSY)
    status, text = await ask(client, admin, CHAT, {}, **more)
    assert status == 502 and "upstream" in text, text
    assert [body["model"] for body in provider.bodies] == ["m", "last"]


async def test_field_that_only_another_clients_format_has_is_forwarded(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic")
    provider.script = replying(provider, "anthropic", "ok", "", [])
    assert (await ask(client, admin, MESSAGES, {}, seed=7))[0] == 200
    assert provider.last["seed"] == 7
