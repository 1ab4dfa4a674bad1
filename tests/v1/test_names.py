"""Names at /v1: what providers are called with, aliases of several targets, and tokens bound to one."""

import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import ONE, Headers, add, key_states, post, sent, spent, token, unused_address
from scripted import Provider, Script
from scripted_formats import PROTOCOLS, refusal, replying

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5]}


async def alias(
    client: TestClient, admin: Headers, *targets: str, name: str = "smart", **fields: Any
) -> None:
    """An alias whose targets are tried in the order in which they are given."""
    wanted = [{"model_name": target, "order": place} for place, target in enumerate(targets)]
    body = {"model_name": name, "display_name": name, "targets": wanted, **fields}
    await post(client, "/api/models", body, admin)


async def ask(
    client: TestClient, headers: Headers, path: str = CHAT, model: str = "smart", **more: Any
) -> tuple[int, bytes]:
    async with client.post(path, json=ASKED | {"model": model} | more, headers=headers) as response:
        return response.status, await response.read()


async def ledger(client: TestClient, headers: Headers, **filters: str) -> list[tuple[str, str]]:
    """The models and the requested names of the newest attempts, the newest last."""
    rows = (await (await client.get("/api/usage", params=filters, headers=headers)).json())["data"]
    return [(row["model"], row["requested_model"]) for row in reversed(rows)]


def refusing(provider: Provider, *names: str, status: int = 503) -> Script:
    """Refuse requests for models of these names, and reply to others."""
    good = replying(provider, "openai", "fine")
    bad = provider.answer(status, refusal("openai", status, "busy"))

    async def run(request: web.Request) -> web.StreamResponse:
        return await (bad if provider.last["model"] in names else good)(request)

    return run


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_provider_is_called_by_its_own_name_forwarded_and_translated(
    client: TestClient, admin: Headers, provider: Provider, path: str, streams: bool, protocol: str
) -> None:
    called = "claude-opus-4-7" if protocol == "anthropic" else "gemini-3-pro-preview"
    await add(client, admin, provider.base_url, protocol, "ours", upstream_name=called)
    await alias(client, admin, "ours")
    provider.script = replying(provider, protocol, "fine")
    for model in ("ours", "smart"):
        status, raw = await ask(client, admin, path, model, stream=streams)
        assert status == 200 and b"fine" in raw, raw
        if protocol == "gemini":
            assert f"/models/{called}:" in provider.last["_path"]
        else:
            assert provider.last["model"] == called
    assert len(provider.bodies) == 2
    await spent(client, admin, 2)
    assert await ledger(client, admin) == [("ours", ""), ("ours", "smart")]


async def test_quirks_are_those_of_the_name_that_the_provider_is_called_by(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic", "ours", upstream_name="claude-3-haiku-20240307")
    provider.script = replying(provider, "anthropic", "fine")
    body = {"model": "ours", "messages": ASKED["messages"]}
    async with client.post(CHAT, json=body, headers=admin) as response:
        assert response.status == 200
    # the longest reply of that model, and not the usual one
    assert provider.last["max_tokens"] == 4096


async def test_embeddings_are_requested_by_the_providers_name_and_fail_over_to_the_next_target(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    told = {"prompt_tokens": 5, "total_tokens": 5}
    good = provider.answer(200, {"object": "list", "data": [VECTOR], "usage": told})
    kind = {"model_type": "embedding", "upstream_name": "bge-m3"}
    await add(client, admin, unused_address(), name="e1", provider="down", fallback_model="chat", **kind)
    await add(client, admin, provider.base_url, "anthropic", "e2", provider="other", **kind)
    await add(client, admin, provider.base_url, name="e3", **kind)
    await add(client, admin, provider.base_url, name="chat")
    provider.script = good
    await alias(client, admin, "e1", "e2", "e3", name="vectors")
    async with client.post(EMBEDDINGS, json={"model": "vectors", "input": "hi"}, headers=admin) as response:
        assert response.status == 200 and (await response.json())["data"] == [VECTOR]
    assert sent(provider) == {"model": "bge-m3", "input": "hi"}
    await spent(client, admin, 1)
    assert await ledger(client, admin) == [("e1", "vectors"), ("e3", "vectors")]
    # the vectors of a fallback model could not be compared
    provider.script = provider.answer(503, refusal("openai", 503, "busy"))
    async with client.post(EMBEDDINGS, json={"model": "vectors", "input": "hi"}, headers=admin) as response:
        assert response.status == 502


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("streams", [False, True])
async def test_one_model_stands_at_two_providers_and_moves_on_when_one_fails(
    client: TestClient, admin: Headers, provider: Provider, path: str, streams: bool
) -> None:
    async with Provider() as other:
        await add(client, admin, provider.base_url, name="gpt/first", provider="p1", upstream_name="gpt-4o")
        await add(client, admin, other.base_url, name="gpt/second", provider="p2", upstream_name="gpt-4o")
        await alias(client, admin, "gpt/first", "gpt/second", name="gpt-4o")
        provider.script = provider.answer(503, refusal("openai", 503, "busy"))
        other.script = replying(other, "openai", "from the second")
        status, raw = await ask(client, admin, path, "gpt-4o", stream=streams)
        assert status == 200 and b"from the second" in raw
        assert provider.last["model"] == other.last["model"] == "gpt-4o"
    await spent(client, admin, 1)
    assert await ledger(client, admin) == [("gpt/first", "gpt-4o"), ("gpt/second", "gpt-4o")]


async def test_target_whose_format_cannot_express_the_request_is_skipped(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, "anthropic", "a", provider="p1")
    await add(client, admin, provider.base_url, "openai", "b", provider="p2")
    await alias(client, admin, "a", "b")
    await alias(client, admin, "a", name="alone")
    provider.script = replying(provider, "openai", "fine")
    strange = [{"role": "critic", "content": "hm"}]
    assert (await ask(client, admin, messages=strange))[0] == 200
    assert provider.last["model"] == "b" and len(provider.bodies) == 1
    status, raw = await ask(client, admin, model="alone", messages=strange)
    assert status == 400 and b"critic" in raw and len(provider.bodies) == 1


async def test_access_token_bound_to_an_alias_uses_its_targets_through_it_alone(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    for name in ("one", "two", "behind"):
        await add(client, admin, provider.base_url, name=name)
    await alias(client, admin, "one", "two", fallback_model="behind")
    await alias(client, admin, "one", name="claude-*")
    await alias(client, admin, "two", name="other")
    provider.script = refusing(provider, "one")
    bound = {"Authorization": f"Bearer {await token(client, admin, allowed_models=['smart'])}"}
    assert (await ask(client, bound))[0] == 200
    assert [body["model"] for body in provider.bodies] == ["one", "two"]
    for name in ("one", "two", "behind", "other", "claude-3"):
        status, raw = await ask(client, bound, model=name)
        assert status == 403 and json.loads(raw)["error"]["code"] == "model_not_allowed"
    provider.script = refusing(provider, "one", "two")
    status, _ = await ask(client, bound)
    assert status == 503 or status == 502
    assert "behind" not in [body["model"] for body in provider.bodies]
    listed = (await (await client.get("/v1/models", headers=bound)).json())["data"]
    assert [row["id"] for row in listed] == ["smart"]


async def test_access_token_may_be_bound_to_a_wildcard_or_to_a_name_that_it_matches(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="one")
    await add(client, admin, provider.base_url, name="claude-listed")
    await alias(client, admin, "one", name="claude-*")
    provider.script = replying(provider, "openai", "fine")
    for allowed, asked, expected in (
        ("claude-*", "claude-3", 200),
        ("claude-3", "claude-3", 200),
        ("claude-3", "claude-4", 403),
        ("claude-*", "claude-listed", 403),
        ("one", "claude-3", 403),
    ):
        bound = {"Authorization": f"Bearer {await token(client, admin, allowed_models=[allowed])}"}
        assert (await ask(client, bound, model=asked))[0] == expected, (allowed, asked)


async def test_health_belongs_to_the_model_and_not_to_the_name_of_the_provider(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Two models of one provider with one name there: what is refused for one says nothing of the other."""
    await add(client, admin, provider.base_url, name="a", upstream_name="same", needs_key=True)
    await add(client, admin, provider.base_url, name="b", upstream_name="same")
    await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": ONE, "label": "one"}, admin)
    error = {"error": {"message": "The model `same` does not exist", "code": "model_not_found"}}
    provider.script = provider.answer(404, error)
    assert (await ask(client, admin, model="a"))[0] == 404
    (key,) = (await key_states(client, admin)).values()
    assert [row["model"] for row in key["models"]] == ["a"] and key["health"] == "ok"
    provider.script = replying(provider, "openai", "fine")
    assert (await ask(client, admin, model="b"))[0] == 200
    # a test of the key asks for the model by its provider's name
    tested = await client.post(f"/api/apikeys/{key['id']}/test", json={"model": "a"}, headers=admin)
    assert tested.status == 200 and provider.last["model"] == "same"
    (key,) = (await key_states(client, admin)).values()
    assert key["models"] == []


async def test_provider_name_of_a_listed_model_has_its_price_and_is_disabled_with_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """``deepseek-v9`` is not in the table, but its family's provider has it under another name."""
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == "deepseek"]
    change = {"default_base_url": provider.base_url, "needs_key": False}
    assert (await client.put(f"/api/providers/{row['id']}", json=change, headers=admin)).status == 200
    model = {"model_name": "ours", "display_name": "O", "model_provider": "deepseek"}
    prices = {"input_price_per_1k": 1, "output_price_per_1k": 1, "upstream_name": "deepseek-v9"}
    made = (await post(client, "/api/models", model | prices, admin))["model"]
    provider.script = replying(provider, "openai", "fine")
    assert (await ask(client, admin, model="deepseek-v9"))[0] == 200
    assert provider.last["model"] == "deepseek-v9"
    (used,) = (await spent(client, admin, 1))["by_model"]
    assert used["model"] == "deepseek-v9" and used["cost"] == pytest.approx(0.01)
    await client.post(f"/api/models/{made['id']}/toggle", headers=admin)
    assert (await ask(client, admin, model="deepseek-v9"))[0] == 400
