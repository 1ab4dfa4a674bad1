"""Which models a caller can use: ``available`` in the list of models."""

import sqlite3
from contextlib import closing
from random import Random
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import add, token, unused_address
from scripted import Provider

from chathub.config import Config

Headers = dict[str, str]

KEY = "sk-of-the-available-models-0123"
REFUSED = {"error": {"message": "The model does not exist", "code": "model_not_found"}}


async def available(client: TestClient, headers: Headers | None = None, **query: str) -> set[str]:
    """The names of the models that are shown as available; the list of these alone has the same."""
    response = await client.get("/api/models", params=query, headers=headers or {})
    assert response.status == 200, await response.text()
    shown = {row["model_name"] for row in await response.json() if row["available"] is True}
    response = await client.get(
        "/api/models", params={**query, "available_only": "true"}, headers=headers or {}
    )
    assert shown == {row["model_name"] for row in await response.json()}
    return shown


async def save_key(client: TestClient, headers: Headers, provider: str = "upstream", **key: Any) -> int:
    body = {"model_provider": provider, "api_key": KEY, **key}
    response = await client.post("/api/apikeys", json=body, headers=headers)
    assert response.status == 200, await response.text()
    key_id: int = (await response.json())["apikey"]["id"]
    return key_id


async def change(client: TestClient, admin: Headers, name: str, **fields: Any) -> dict[str, Any]:
    rows = await (await client.get("/api/models", headers=admin)).json()
    (row,) = [row for row in rows if row["model_name"] == name]
    response = await client.put(f"/api/models/{row['id']}", json=fields, headers=admin)
    assert response.status == 200, await response.text()
    changed: dict[str, Any] = (await response.json())["model"]
    return changed


async def chat(client: TestClient, headers: Headers, model: str) -> int:
    async with client.post("/api/chat", json={"message": "hi", "model": model}, headers=headers) as response:
        return response.status


@pytest.fixture
async def shop(client: TestClient, admin: Headers, provider: Provider) -> Provider:
    """A provider that needs an API key, with two models for chats, one for vectors and one for images."""
    for name, model_type in (("m", "chat"), ("n", "chat"), ("v", "embedding"), ("i", "image")):
        await add(client, admin, provider.base_url, name=name, needs_key=True, model_type=model_type)
    return provider


async def test_without_api_keys_nothing_is_available(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    for headers in (None, {"Authorization": "Bearer wrong"}, user, admin):
        assert await available(client, headers) == set()


async def test_own_api_key_makes_the_models_of_its_provider_available_to_its_user_alone(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    await save_key(client, user)
    assert await available(client, user) == {"m", "n", "v", "i"}
    assert await available(client, admin) == await available(client) == set()


async def test_shared_api_key_makes_models_available_to_all_who_are_signed_in(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    key_id = await save_key(client, admin, shared=False)
    assert (await available(client, admin), await available(client, user)) == ({"m", "n", "v", "i"}, set())
    await client.put(f"/api/apikeys/{key_id}", json={"shared": True}, headers=admin)
    assert await available(client, user) == {"m", "n", "v", "i"}
    assert await available(client) == set()


async def test_models_of_a_provider_without_keys_are_available_to_all_who_are_signed_in(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await add(client, admin, unused_address(), name="free")
    assert await available(client, user) == {"free"}
    assert await available(client) == set()
    assert (await change(client, admin, "free", description="x"))["available"] is True
    assert (await change(client, admin, "free", is_active=False))["available"] is False
    assert await available(client, user) == set()


async def test_filters_count_beside_available_only(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    await save_key(client, user)
    assert await available(client, user, type="chat") == {"m", "n"}
    assert await available(client, user, provider="openai") == set()
    assert await available(client, user, active_only="true", type="embedding") == {"v"}
    response = await client.get("/api/models", params={"available_only": "perhaps"})
    assert response.status == 400


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE api_keys SET is_active = 0",
        "UPDATE api_keys SET health = 'broken'",
        "UPDATE api_keys SET origin = 'https://elsewhere.example.com:443'",
        "UPDATE api_keys SET secret = x'00'",
        "UPDATE providers SET default_base_url = 'https://elsewhere.example.com/v1'",
        "UPDATE providers SET is_active = 0 WHERE provider_key = 'upstream'",
    ],
)
async def test_api_key_that_cannot_be_used_makes_nothing_available(
    client: TestClient, shop: Provider, admin: Headers, user: Headers, config: Config, statement: str
) -> None:
    await save_key(client, user)
    assert await available(client, user)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute(statement)
    # the catalog is read again
    await change(client, admin, "m", description="x")
    assert await available(client, user) == set()
    assert await chat(client, user, "m") == 400


async def test_cooling_api_key_leaves_its_models_available(
    client: TestClient, shop: Provider, user: Headers
) -> None:
    await save_key(client, user)
    shop.script = shop.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "600"})
    assert await chat(client, user, "m") == 429
    assert await available(client, user) == {"m", "n", "v", "i"}


@pytest.mark.parametrize("owner", ["user", "admin"])
async def test_model_that_the_provider_refuses_to_all_api_keys_is_not_available(
    client: TestClient, shop: Provider, admin: Headers, user: Headers, owner: str
) -> None:
    who = {"user": user, "admin": admin}[owner]
    await save_key(client, who)
    shop.script = shop.answer(404, REFUSED)
    assert await chat(client, user, "m") in (404, 502)
    assert await available(client, user) == {"n", "v", "i"}
    await save_key(client, who, label="another")
    assert await available(client, user) == {"m", "n", "v", "i"}


async def test_model_that_falls_back_on_an_available_one_is_available(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await add(client, admin, unused_address(), name="free", provider="here")
    for name, behind in (("a", "b"), ("b", "free"), ("c", "d"), ("d", "c"), ("e", "nobody"), ("f", "v")):
        await add(client, admin, unused_address(), name=name, needs_key=True, fallback_model=behind)
    await add(client, admin, unused_address(), name="v", provider="here", model_type="embedding")
    await add(
        client,
        admin,
        unused_address(),
        name="w",
        needs_key=True,
        model_type="embedding",
        fallback_model="free",
    )
    assert await available(client, user) == {"a", "b", "free", "v"}
    # the one that would reply must be for the access token too
    for models, expected in ((["a", "b"], set()), (["a", "free"], {"a", "free"})):
        key = await token(client, user, opens_api=True, allowed_models=models)
        assert await available(client, {"Authorization": f"Bearer {key}"}) == expected


async def test_model_without_a_price_is_available_to_limited_callers_by_their_own_key_alone(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    await save_key(client, admin)
    await change(client, admin, "n", priced=True)
    limited = await token(client, user, opens_api=True, cost_limit=5)
    bearer = {"Authorization": f"Bearer {limited}"}
    assert (await available(client, user), await available(client, bearer)) == ({"m", "n", "v", "i"}, {"n"})
    assert (await chat(client, bearer, "m"), await chat(client, bearer, "n")) == (403, 200)
    await save_key(client, user)
    assert await available(client, bearer) == {"m", "n", "v", "i"}


async def add_alias(client: TestClient, admin: Headers, name: str, *targets: str, **fields: Any) -> None:
    listed = [{"model_name": target} for target in targets]
    body = {"model_name": name, "display_name": name, "targets": listed, **fields}
    response = await client.post("/api/models", json=body, headers=admin)
    assert response.status == 200, await response.text()


async def test_alias_is_available_where_one_of_its_targets_is(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    await add(client, admin, unused_address(), name="free", provider="here")
    await add(
        client, admin, unused_address(), name="behind", provider="far", needs_key=True, fallback_model="free"
    )
    await add_alias(client, admin, "both", "m", "free")
    await add_alias(client, admin, "locked", "m", "n")
    await add_alias(client, admin, "falls", "m", fallback_model="both")
    await add_alias(client, admin, "deep", "m", "behind")
    await add_alias(client, admin, "free-*", "free")
    free = {"free", "behind", "both", "falls", "deep", "free-*"}
    assert await available(client, user) == free
    # an access token for an alias is for its targets
    key = await token(client, user, opens_api=True, allowed_models=["both", "locked", "falls"])
    assert await available(client, {"Authorization": f"Bearer {key}"}) == {"both", "falls"}
    await save_key(client, user)
    assert await available(client, user) == free | {"m", "n", "v", "i", "locked"}
    await change(client, admin, "free", is_active=False)
    await change(client, admin, "both", is_active=False)
    assert await available(client, user) == {"m", "n", "v", "i", "locked", "falls", "deep"}


async def test_fallback_may_be_a_name_that_a_wildcard_matches_or_a_well_known_one(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await add(client, admin, unused_address(), name="free", provider="here")
    await add_alias(client, admin, "any-*", "free")
    for name, behind in (("a", "any-name"), ("b", "gpt-99"), ("c", "other-name")):
        await add(
            client, admin, unused_address(), name=name, provider="far", needs_key=True, fallback_model=behind
        )
    assert await available(client, user) == {"free", "any-*", "a"}
    await save_key(client, user, "openai")
    shown = await available(client, user)
    assert shown >= {"a", "b"} and "c" not in shown
    # an access token is for a name, for the wildcard, or for neither
    for models, expected in ((["a", "any-*"], {"a", "any-*"}), (["a", "any-name"], {"a"}), (["a"], set())):
        key = await token(client, user, opens_api=True, allowed_models=models)
        assert await available(client, {"Authorization": f"Bearer {key}"}) == expected


async def test_access_token_for_a_fallback_alone_does_not_open_what_falls_back_on_it(
    client: TestClient, provider: Provider, admin: Headers, user: Headers
) -> None:
    await add(client, admin, provider.base_url, name="free", provider="here")
    await add(client, admin, provider.base_url, name="a", provider="here", fallback_model="free")
    key = await token(client, user, opens_api=True, allowed_models=["free"])
    bearer = {"Authorization": f"Bearer {key}"}
    assert await available(client, bearer) == {"free"}
    assert (await chat(client, bearer, "a"), await chat(client, bearer, "free")) == (403, 200)
    assert len(provider.bodies) == 1


async def test_access_token_shows_what_it_may_use(
    client: TestClient, shop: Provider, admin: Headers, user: Headers
) -> None:
    await save_key(client, user)
    wide = await token(client, user, opens_api=True, allowed_models=["n", "gpt-5"])
    assert await available(client, {"Authorization": f"Bearer {wide}"}) == {"n"}
    # one that does not open /api is nobody there
    narrow = await token(client, user)
    assert await available(client, {"Authorization": f"Bearer {narrow}"}) == set()


async def test_key_with_a_base_url_of_its_own_is_usable_there(
    client: TestClient, shop: Provider, user: Headers
) -> None:
    await save_key(client, user, base_url="https://proxy.example.com/v1")
    assert await available(client, user) == {"m", "n", "v", "i"}


NAMES = [f"m{number}" for number in range(8)]
ALIASES = ["x", "y", "z-*"]


async def random_world(client: TestClient, admin: Headers, user: Headers, url: str, rng: Random) -> None:
    """Models, aliases and API keys whose every state is drawn at random; some were changed afterwards."""
    for place in range(3):
        key = {"provider_key": f"p{place}", "display_name": "p", "needs_key": rng.random() < 0.75}
        assert (
            await client.post("/api/providers", json={**key, "default_base_url": url}, headers=admin)
        ).status == 200
    for name in NAMES:
        prices = {"input_price_per_1k": 1, "output_price_per_1k": 1} if rng.random() < 0.6 else {}
        await post_model(
            client,
            admin,
            name,
            model_provider=f"p{rng.randrange(3)}",
            model_type=rng.choice(["chat", "chat", "chat", "completion", "embedding", "image", "moderation"]),
            is_active=rng.random() < 0.85,
            fallback_model=rng.choice([None, *NAMES, *ALIASES, "z-name", "nobody"]),
            **prices,
        )
    for name in ALIASES:
        # refused where the targets are of different types
        targets = [{"model_name": each, "order": rng.randrange(2)} for each in rng.sample(NAMES, 2)]
        await post_model(client, admin, name, targets=targets, fallback_model=rng.choice([None, *NAMES]))
    for headers in (admin, user):
        for place in range(3):
            if rng.random() < 0.6:
                key_id = await save_key(client, headers, f"p{place}", label=f"{rng.random()}")
                if rng.random() < 0.15:
                    await client.post(f"/api/apikeys/{key_id}/toggle", headers=headers)
    rows = await (await client.get("/api/models", headers=admin)).json()
    ids = [row["id"] for row in rows if row["model_name"] in NAMES]
    await client.delete(f"/api/models/{rng.choice(ids)}", headers=admin)


async def post_model(client: TestClient, admin: Headers, name: str, **fields: Any) -> None:
    body = {"model_name": name, "display_name": name, **fields}
    response = await client.post("/api/models", json=body, headers=admin)
    assert response.status in (200, 400), await response.text()


OTHER_PATHS = {
    "embedding": ("/v1/embeddings", "input"),
    "image": ("/v1/images/generations", "prompt"),
    "moderation": ("/v1/moderations", "input"),
}


async def is_sent(client: TestClient, headers: Headers, row: dict[str, Any], provider: Provider) -> bool:
    """Whether a request for a model reaches its provider, or would once its API keys are not cooling."""
    before, path = len(provider.bodies), "/v1/chat/completions"
    body: dict[str, Any] = {"model": row["model_name"], "messages": [{"role": "user", "content": "hi"}]}
    if row["model_type"] in OTHER_PATHS:
        path, field = OTHER_PATHS[row["model_type"]]
        body = {"model": row["model_name"], field: "hi"}
    response = await client.post(path, json=body, headers=headers)
    return len(provider.bodies) > before or response.status == 429


@pytest.mark.parametrize("seed", range(4))
async def test_available_models_are_those_whose_requests_are_sent(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, seed: int
) -> None:
    rng = Random(seed)
    await random_world(client, admin, user, provider.base_url, rng)
    failures = {404: REFUSED, 401: {"error": {"message": "wrong key"}}, 429: {"error": {"message": "slow"}}}
    outcomes = [provider.answer(status, body) for status, body in failures.items()]
    for headers in (admin, user):
        for models in ([], rng.sample([*NAMES, *ALIASES], 4), rng.sample([*NAMES, *ALIASES], 2)):
            limit = rng.choice([None, 50])
            key = await token(client, headers, opens_api=True, allowed_models=models, cost_limit=limit)
            bearer = {"Authorization": f"Bearer {key}"}
            rows = await (await client.get("/api/models", headers=bearer)).json()
            for row in [row for row in rows if row["model_name"] in (*NAMES, *ALIASES)]:
                shown = row["model_name"] in await available(client, bearer)
                provider.script = rng.choice([provider.answer(200, {}), *outcomes])
                assert await is_sent(client, bearer, row, provider) == shown, (seed, models, limit, row)
