"""Import of models out of a provider's list: what is known of them afterwards."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from chathub.app_keys import CATALOG
from chathub.providers.chat_model import ChatModel
from chathub.providers.prices import Prices

Headers = dict[str, str]
DOLLAR = 1_000_000


async def imported(
    client: TestClient, admin: Headers, entries: list[dict[str, Any]], slug: str = "relay", **provider: Any
) -> dict[str, dict[str, Any]]:
    """The models in the table after all of a provider's list were imported, by name."""

    async def listing(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": entries})

    app = web.Application()
    app.router.add_get("/v1/models", listing)
    async with TestServer(app) as server:
        address = {"default_base_url": str(server.make_url("/v1"))}
        listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
        ids = {row["provider_key"]: row["id"] for row in listed}
        if slug in ids:
            await client.put(f"/api/providers/{ids[slug]}", json=address, headers=admin)
        else:
            new = {"provider_key": slug, "display_name": slug, **address, **provider}
            made = await client.post("/api/providers", json=new, headers=admin)
            ids[slug] = (await made.json())["data"]["id"]
        key = {"model_provider": slug, "api_key": "sk-of-the-import-0123456789"}
        await client.post("/api/apikeys", json=key, headers=admin)
        path = f"/api/providers/{ids[slug]}/models/import"
        names = {"models": [entry["id"] for entry in entries]}
        response = await client.post(path, json=names, headers=admin)
        assert response.status == 200, await response.text()
    return {row["model_name"]: row for row in await (await client.get("/api/models")).json()}


def chat_model(client: TestClient, name: str) -> ChatModel:
    return client.app[CATALOG].get(name)


async def test_what_the_list_tells_is_imported(client: TestClient, admin: Headers) -> None:
    entry = {
        "id": "somebody/new-model",
        "context_length": 200_000,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "pricing": {
            "prompt": "0.000003",
            "completion": "0.000015",
            "input_cache_read": "0.0000003",
            "input_cache_write": "0.00000375",
        },
        "top_provider": {"max_completion_tokens": 300_000},
        "supported_parameters": ["tools"],
    }
    row = (await imported(client, admin, [entry]))["somebody/new-model"]
    assert (row["model_type"], row["context_window"], row["max_tokens"]) == ("chat", 200_000, 200_000)
    assert row["supports_vision"] and row["supports_function_calling"]
    assert (row["input_price_per_1k"], row["output_price_per_1k"], row["priced"]) == (0.003, 0.015, True)
    assert (row["cached_price_per_1k"], row["cache_write_price_per_1k"]) == (0.0003, 0.00375)
    model = chat_model(client, "somebody/new-model")
    assert model.prices == Prices(3 * DOLLAR, 300_000, 3_750_000, 3_750_000, 15 * DOLLAR) and model.is_priced


async def test_what_the_list_does_not_tell_is_known_by_name(client: TestClient, admin: Headers) -> None:
    names = ["Qwen/Qwen3-VL-32B-Instruct", "BAAI/bge-reranker-v2-m3", "gpt-4o", "nobody/has-heard-of-it"]
    rows = await imported(client, admin, [{"id": name} for name in names])
    seeing = rows["Qwen/Qwen3-VL-32B-Instruct"]
    assert (seeing["context_window"], seeing["max_tokens"]) == (262_144, 32_768)
    assert seeing["supports_vision"] and seeing["supports_function_calling"]
    assert rows["BAAI/bge-reranker-v2-m3"]["model_type"] == "rerank"
    unknown = rows["nobody/has-heard-of-it"]
    assert (unknown["model_type"], unknown["context_window"], unknown["max_tokens"]) == ("chat", None, 4096)
    assert not unknown["supports_vision"] and not unknown["supports_function_calling"]
    # a relay's prices are its own
    model = chat_model(client, "gpt-4o")
    assert model.prices == Prices() and not model.is_priced


async def test_the_list_counts_before_the_name(client: TestClient, admin: Headers) -> None:
    entry = {
        "id": "gpt-4o",
        "context_length": 8192,
        "capabilities": {"vision": False, "function_calling": False},
    }
    row = (await imported(client, admin, [entry]))["gpt-4o"]
    assert (row["context_window"], row["max_tokens"]) == (8192, 8192)
    assert not row["supports_vision"] and not row["supports_function_calling"]


async def test_a_seller_that_states_no_prices_has_its_list_prices(client: TestClient, admin: Headers) -> None:
    names = ["gpt-4o-2024-08-06", "gpt-99", "text-embedding-3-small"]
    await imported(client, admin, [{"id": name} for name in names], "openai")
    model = chat_model(client, "gpt-4o-2024-08-06")
    dollars = Prices.of(2_500_000, 10 * DOLLAR, 1_250_000)
    assert model.prices == dollars and model.is_priced
    assert not chat_model(client, "gpt-99").is_priced
    assert client.app[CATALOG].get("text-embedding-3-small", ("embedding",)).prices == Prices.of(20_000, 0)


async def test_no_model_gets_the_price_of_another_seller(client: TestClient, admin: Headers) -> None:
    names = ["deepseek-chat-v9", "claude-opus-4-1", "Pro/deepseek-ai/DeepSeek-V3"]
    await imported(client, admin, [{"id": name} for name in names], "siliconflow")
    assert not any(chat_model(client, name).is_priced for name in names)


@pytest.mark.parametrize(
    "entry",
    [
        {"pricing": {"prompt": "0", "completion": "0"}},
        {"pricing": {"prompt": "0.000001", "completion": "0"}},
        {"pricing": {"prompt": "-1", "completion": "-1"}},
        {"pricing": {"prompt": "5", "completion": "5"}, "context_length": -3, "max_completion_tokens": "all"},
    ],
)
async def test_absurd_values_leave_a_model_without_a_price(
    client: TestClient, admin: Headers, entry: dict[str, Any]
) -> None:
    row = (await imported(client, admin, [{"id": "odd", **entry}]))["odd"]
    assert (row["context_window"], row["max_tokens"]) == (None, 4096)
    assert not chat_model(client, "odd").is_priced


async def test_a_provider_without_keys_costs_nothing(client: TestClient, admin: Headers) -> None:
    await imported(client, admin, [{"id": "qwen3:8b"}], "here", needs_key=False)
    model = chat_model(client, "qwen3:8b")
    assert model.prices == Prices() and model.is_priced


async def test_models_that_exist_stay_as_they_are(client: TestClient, admin: Headers) -> None:
    before = {row["model_name"]: row for row in await (await client.get("/api/models")).json()}
    pricing = {"prompt": "0.001", "completion": "0.001"}
    entry = {"id": "gpt-4o-mini", "context_length": 7, "pricing": pricing}
    assert await imported(client, admin, [entry], "openai") == before


async def test_prices_of_units_are_imported_for_what_a_model_is_paid_by(
    client: TestClient, admin: Headers
) -> None:
    by_size = [
        {"size": "1024x1024", "quality": "high", "cost": "0.1"},
        {"size": "no size at all", "cost": "0.2"},
    ]
    entries: list[dict[str, Any]] = [
        {"id": "a/painter", "type": "image", "pricing": {"image": "0.04"}},
        {"id": "a/sizes", "type": "image", "pricing": {"image_dimension_quality_pricing": by_size}},
        {"id": "a/voice", "type": "speech", "pricing": {"speech_input_character_cost": "0.000015"}},
        {"id": "a/chat", "pricing": {"image": "0.04"}},
        {"id": "a/unknown-image", "type": "image"},
    ]
    rows = await imported(client, admin, entries)
    found = {name: (row["units"], row["priced"]) for name, row in rows.items() if name.startswith("a/")}
    assert found == {
        "a/painter": ({"image": 0.04}, True),
        "a/sizes": ({"image/1024x1024/high": 0.1}, True),
        "a/voice": ({"character": 0.000015}, True),
        "a/chat": ({}, False),
        "a/unknown-image": ({}, False),
    }


async def test_public_prices_of_units_are_those_of_their_seller(client: TestClient, admin: Headers) -> None:
    names = ["dall-e-3", "whisper-1", "tts-1", "gpt-image-1"]
    rows = await imported(client, admin, [{"id": name} for name in names], slug="openai")
    assert rows["dall-e-3"]["units"]["image/1024x1792/hd"] == 0.12
    assert rows["whisper-1"]["units"] == {"second": 0.0001}
    assert rows["tts-1"]["units"] == {"character": 0.000015}
    assert (rows["gpt-image-1"]["units"], rows["gpt-image-1"]["priced"]) == ({}, False)
    rows = await imported(client, admin, [{"id": "tts-1-hd"}], slug="somebody")
    assert (rows["tts-1-hd"]["units"], rows["tts-1-hd"]["priced"]) == ({}, False)
