"""Prices: which models have one, and what a model without one is refused to."""

import dataclasses
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, read_events
from conftest import Connect, sign_in
from gateway import add, post, token
from scripted import Provider, reply

from chathub.config import Config

KEY = {"model_provider": "upstream", "api_key": "sk-of-the-tests-aaaa1111"}
MESSAGES = [{"role": "user", "content": "hi"}]
ZEROS = {"input_price_per_1k": 0, "output_price_per_1k": 0}


async def model_named(client: TestClient, name: str) -> dict[str, Any]:
    listed = await (await client.get("/api/models")).json()
    (found,) = [model for model in listed if model["model_name"] == name]
    return dict(found)


async def put(client: TestClient, path: str, headers: Headers, **fields: Any) -> dict[str, Any]:
    response = await client.put(path, json=fields, headers=headers)
    assert response.status == 200, await response.text()
    return dict(await response.json())


async def change(client: TestClient, admin: Headers, name: str, **fields: Any) -> dict[str, Any]:
    row = await model_named(client, name)
    return dict((await put(client, f"/api/models/{row['id']}", admin, **fields))["model"])


# --- which models are priced


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        (ZEROS, False),
        ({"priced": False}, False),
        ({"priced": None}, False),
        (ZEROS | {"priced": True}, True),
        ({"input_price_per_1k": 0.001}, True),
        ({"output_price_per_1k": 0.001, "priced": False}, True),
        ({"cached_price_per_1k": 0}, True),
        ({"cache_write_1h_price_per_1k": None}, False),
    ],
)
async def test_new_model_is_priced_once_a_price_is_set(
    client: TestClient, admin: Headers, fields: dict[str, Any], expected: bool
) -> None:
    await add(client, admin, "http://127.0.0.1:9/v1", needs_key=True, **fields)
    assert (await model_named(client, "m"))["priced"] is expected
    # and so does a model that exists already
    await add(client, admin, "http://127.0.0.1:9/v1", name="n")
    assert (await change(client, admin, "n", **fields))["priced"] is expected


async def test_whole_record_sent_back_changes_nothing(client: TestClient, admin: Headers) -> None:
    for needs_key in (True, False):
        name = f"m_{needs_key}".lower()
        await add(client, admin, "http://127.0.0.1:9/v1", name=name, provider=name, needs_key=needs_key)
        for fields in ({}, {"priced": True}, {"input_price_per_1k": 3, "cached_price_per_1k": 0.3}):
            old = await change(client, admin, name, **fields)
            new = await change(client, admin, name, **old)
            assert {**new, "updated_at": ""} == {**old, "updated_at": ""}
    # without a key every price is known, which says nothing of a provider with one
    await add(client, admin, "http://127.0.0.1:9/v1", name="free", provider="m_false")
    record = await model_named(client, "free")
    assert record["priced"] is True
    assert (await change(client, admin, "free", **(record | {"model_provider": "m_true"})))["priced"] is False


async def test_price_can_be_called_unknown_again(client: TestClient, admin: Headers) -> None:
    await add(client, admin, "http://127.0.0.1:9/v1", needs_key=True, input_price_per_1k=3)
    assert (await change(client, admin, "m", priced=False))["priced"] is False
    assert (await change(client, admin, "m", output_price_per_1k=15))["priced"] is True


async def test_price_that_is_taken_back_is_no_known_price(client: TestClient, admin: Headers) -> None:
    await change(client, admin, "gpt-4o-mini", priced=False)
    taken = await change(client, admin, "gpt-4o-mini", input_price_per_1k=None, cached_price_per_1k=None)
    assert (taken["input_price_per_1k"], taken["priced"]) == (0, False)
    assert (await change(client, admin, "gpt-4o-mini", priced=None, input_price_per_1k=0.5))["priced"]


async def test_prices_of_the_cache_are_exact_and_null_where_they_are_the_input_price(
    client: TestClient, admin: Headers
) -> None:
    seeded = await model_named(client, "claude-sonnet-4-5")
    names = ("input", "cached", "cache_write", "cache_write_1h", "output")
    assert [seeded[f"{name}_price_per_1k"] for name in names] == [0.003, 0.0003, 0.00375, 0.006, 0.015]
    assert (await model_named(client, "gpt-4o-mini"))["cache_write_price_per_1k"] is None
    new = await change(client, admin, "claude-sonnet-4-5", cached_price_per_1k=None)
    assert new["cached_price_per_1k"] is None and new["cache_write_price_per_1k"] == 0.00375
    (entry, *_) = (await (await client.get("/api/audit", headers=admin)).json())["data"]
    assert entry["details"]["cached_price_per_1k"] == [0.0003, None]


# --- models without a price


async def ways(client: TestClient, headers: Headers, model: str = "m") -> list[tuple[int, str]]:
    """The status and the code of a chat in every way."""
    said = []
    for path, body in (
        ("/api/chat", {"message": "hi"}),
        ("/v1/chat/completions", {"messages": MESSAGES}),
        ("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}),
    ):
        response = await client.post(path, json={"model": model, **body}, headers=headers)
        is_json = response.content_type == "application/json"
        answer = await response.json() if is_json else {}
        error = answer.get("error")
        said.append((response.status, answer.get("code") or (error or {}).get("code") or ""))
    body = {"message": "hi", "model": model}
    async with client.post("/api/chat/stream", json=body, headers=headers) as response:
        last = (await read_events(response))[-1]
    said.append((last.get("status", 200), last.get("code", "")))
    return said


async def is_served(client: TestClient, headers: Headers, model: str = "m") -> bool:
    """Whether every way is; else every way is refused in the same words."""
    answers = set(await ways(client, headers, model))
    assert answers in ({(200, "")}, {(403, "model_has_no_price"), (403, "")}, {(403, "model_has_no_price")})
    return answers == {(200, "")}


@pytest.fixture
async def unpriced(client: TestClient, admin: Headers, provider: Provider) -> None:
    """The model ``m`` without a price, at a provider with a shared API key."""
    await add(client, admin, provider.base_url, needs_key=True)
    await post(client, "/api/apikeys", KEY | {"shared": True}, admin)
    provider.script = provider.stream(reply("好"))


async def limit(client: TestClient, admin: Headers, money: float | None) -> None:
    listed = (await (await client.get("/api/users", headers=admin)).json())["users"]
    (user_id,) = [row["id"] for row in listed if row["username"] == "user"]
    await put(client, f"/api/users/{user_id}", admin, cost_limit=money)


@pytest.mark.usefixtures("unpriced")
async def test_unpriced_model_is_refused_to_callers_with_a_budget_of_money(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    assert await is_served(client, user)
    await limit(client, admin, 100)
    asked = len(provider.bodies)
    assert not await is_served(client, user)
    assert len(provider.bodies) == asked
    await limit(client, admin, None)
    await put(client, "/api/subscriptions/free", admin, cost_limit=100)
    assert not await is_served(client, user)
    assert await is_served(client, admin)
    await put(client, "/api/subscriptions/free", admin, cost_limit=None)
    bounded = {"Authorization": f"Bearer {await token(client, user, opens_api=True, cost_limit=5)}"}
    assert not await is_served(client, bounded)
    assert await is_served(client, user)
    await change(client, admin, "m", priced=True)
    assert await is_served(client, bounded)


@pytest.mark.usefixtures("unpriced")
async def test_unpriced_model_may_be_used_with_an_own_key(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, 100)
    await post(client, "/api/apikeys", KEY | {"api_key": "sk-own-of-the-user-bbbb2222"}, user)
    assert await is_served(client, user)
    assert {head["Authorization"] for head in provider.headers} == {"Bearer sk-own-of-the-user-bbbb2222"}


@pytest.mark.usefixtures("unpriced")
async def test_unpriced_fallback_is_skipped(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="first", output_price_per_1k=1, fallback_model="m")
    await limit(client, admin, 100)
    provider.script = provider.answer(500, {"error": {"message": "overloaded"}})
    await client.post("/v1/chat/completions", json={"model": "first", "messages": MESSAGES}, headers=user)
    assert {body["model"] for body in provider.bodies} == {"first"}


@pytest.mark.usefixtures("unpriced")
async def test_unpriced_embeddings_are_refused(client: TestClient, admin: Headers, user: Headers) -> None:
    await add(client, admin, "", name="vectors", model_type="embedding")
    await limit(client, admin, 100)
    response = await client.post("/v1/embeddings", json={"model": "vectors", "input": "x"}, headers=user)
    assert (response.status, (await response.json())["error"]["code"]) == (403, "model_has_no_price")


@pytest.mark.usefixtures("unpriced")
@pytest.mark.parametrize(
    ("prices", "is_served"),
    [
        ({}, False),
        ({"priced": True}, False),
        ({"units": {"second": 1}}, False),
        ({"units": {"image/512x512": 1}}, False),
        ({"units": {"image": 0}}, True),
        ({"units": {"image/1024x1024": 0.04}}, True),
        ({"output_price_per_1k": 0.04}, True),
    ],
)
async def test_images_are_refused_where_neither_they_nor_tokens_have_a_price(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    prices: dict[str, Any],
    is_served: bool,
) -> None:
    await add(client, admin, "", name="painter", model_type="image", **prices)
    await limit(client, admin, 100)
    provider.script = provider.answer(200, {"data": [{"url": "x"}]})
    body = {"model": "painter", "prompt": "a cat", "size": "1024x1024"}
    response = await client.post("/v1/images/generations", json=body, headers=user)
    if is_served:
        assert response.status == 200, await response.text()
        return
    assert (response.status, (await response.json())["error"]["code"]) == (403, "model_has_no_price")


# --- models that are in no table


@pytest.mark.parametrize(
    ("name", "is_priced"),
    [
        ("gpt-5-2025-08-07", True),
        ("claude-haiku-4-5-20251001", True),
        ("gemini-2.5-pro-preview-06-05", True),
        ("qwen-max-latest", True),
        ("gpt-5-pro", False),
        ("gpt-4.1-mini-2025-04-14", False),
        ("o1-pro", False),
        ("glm-4.6-6", False),
    ],
)
async def test_version_of_a_priced_model_is_priced_and_no_other_unlisted_name(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, name: str, is_priced: bool
) -> None:
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    for row in listed:
        if row["provider_key"] in ("openai", "anthropic", "google", "alibaba", "zhipu"):
            fields = {"default_base_url": provider.base_url, "protocol": "openai"}
            await put(client, f"/api/providers/{row['id']}", admin, **fields)
            key = KEY | {"model_provider": row["provider_key"], "shared": True}
            await post(client, "/api/apikeys", key, admin)
    provider.script = provider.stream(reply("好"))
    await limit(client, admin, 100)
    assert await is_served(client, user, name) is is_priced


async def test_unlisted_names_are_refused_on_request(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(dataclasses.replace(config, listed_models_only=True))
    user = await sign_in(client, "user", "user123")
    for name in ("gpt-4o-mini-2024-07-18", "o1-pro"):
        assert set(await ways(client, user, name)) == {
            (400, "unknown_model"),
            (404, "model_not_found"),
            (404, ""),
        }
    saved = await post(client, "/api/apikeys", KEY | {"model_provider": "openai"}, user)
    path = f"/api/apikeys/{saved['apikey']['id']}/test"
    response = await client.post(path, json={"model": "o1-pro"}, headers=user)
    assert (await response.json())["code"] == "unknown_model" and not provider.bodies
