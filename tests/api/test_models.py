"""Section 2 of the API document: models."""

import asyncio
import json
from typing import Any

import pytest
from accounts import sentence
from aiohttp.test_utils import TestClient
from conftest import Connect

from chathub.clock import Clock
from chathub.config import Config

Headers = dict[str, str]

# the document's example with another name, since a seeded model has that one
EXAMPLE = {
    "model_name": "gpt-example",
    "display_name": "GPT Example",
    "model_provider": "openai",
    "model_type": "chat",
    "max_tokens": 4096,
    "supports_streaming": True,
    "supports_function_calling": True,
    "supports_vision": True,
    "input_price_per_1k": 5.0,
    "output_price_per_1k": 15.0,
    "cached_price_per_1k": 0.5,
    "cache_write_price_per_1k": 6.25,
    "cache_write_1h_price_per_1k": 10.0,
    "units": {"image": 0.04, "image/1024x1024/high": 0.167},
    "priced": True,
    "description": "OpenAI最新的多模态模型",
    "is_active": True,
    "sort_order": 0,
}
DEFAULTS = {
    "model_type": "chat",
    "max_tokens": 4096,
    "context_window": None,
    "supports_streaming": True,
    "supports_function_calling": False,
    "supports_vision": False,
    "input_price_per_1k": 0.0,
    "output_price_per_1k": 0.0,
    "cached_price_per_1k": None,
    "cache_write_price_per_1k": None,
    "cache_write_1h_price_per_1k": None,
    "units": {},
    "priced": False,
    "description": "",
    "is_active": True,
    "sort_order": 0,
}
REQUIRED = ("model_name", "display_name", "model_provider")
# field → invalid values
WRONG: dict[str, list[Any]] = {
    "model_name": [1, "", "   ", ["a"], "x" * 201, None],
    "display_name": [True, "", "\t", {}, "x" * 201, None],
    "model_provider": [7, "", None, "x" * 201],
    "model_type": ["chatty", "", 1, "CHAT"],
    "max_tokens": [0, -1, 1.5, "4096", True, 10**9, 10**30],
    "context_window": [0, -1, "big", 10**30],
    "supports_streaming": ["true", 1, 0, []],
    "supports_function_calling": ["false", 1],
    "supports_vision": [{}, 0],
    "input_price_per_1k": [-0.01, "5", True, 1e300, 10**30, [1]],
    "output_price_per_1k": [-1, "", False, 1_000_001],
    "cached_price_per_1k": [-0.01, "5", 1_000_001],
    "cache_write_price_per_1k": [-0.01, True],
    "cache_write_1h_price_per_1k": [-0.01, []],
    "units": [
        [],
        {"image": "1"},
        {"image": -0.01},
        {"image": 1_000_001},
        {"picture": 1},
        {"": 1},
        {"image/": 1},
        {"image/a/b/c": 1},
        {"second/high": 1},
        {f"image/{n}": 1 for n in range(51)},
    ],
    "priced": [0, "true", []],
    "description": [1, ["text"], "x" * 2001],
    "is_active": ["yes", 1, 0.0],
    "sort_order": ["first", 0.5, 10**10, -(10**30)],
}


async def models(client: TestClient, **query: str) -> list[dict[str, Any]]:
    response = await client.get("/api/models", params=query)
    assert response.status == 200, await response.text()
    listed: list[dict[str, Any]] = await response.json()
    return listed


async def names(client: TestClient, **query: str) -> set[str]:
    return {model["model_name"] for model in await models(client, **query)}


async def create(client: TestClient, admin: Headers, **fields: Any) -> dict[str, Any]:
    """Create a model; fields that are not given get their defaults."""
    body = {"model_name": "m", "display_name": "M", "model_provider": "openai", **fields}
    response = await client.post("/api/models", json=body, headers=admin)
    assert response.status == 200, await response.text()
    model: dict[str, Any] = (await response.json())["model"]
    return model


async def change(client: TestClient, admin: Headers, model_id: int, **fields: Any) -> dict[str, Any]:
    response = await client.put(f"/api/models/{model_id}", json=fields, headers=admin)
    assert response.status == 200, await response.text()
    model: dict[str, Any] = (await response.json())["model"]
    return model


# the list


async def test_fresh_database_lists_models_of_the_main_providers(client: TestClient) -> None:
    listed = await models(client)
    providers = {model["model_provider"] for model in listed}
    assert {"openai", "anthropic", "google", "siliconflow", "deepseek", "moonshot", "zhipu"} <= providers
    assert {"alibaba", "baidu", "doubao"} <= providers
    for model in listed:
        assert model["is_active"] and model["model_type"] == "chat" and model["priced"]
        assert model["input_price_per_1k"] > 0 and model["output_price_per_1k"] > 0
        assert model["max_tokens"] > 0 and model["provider_display_name"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer a.b.c",
        "Basic YTpi",
        "Bearer demo-token",
        "x" * 6000,
    ],
)
async def test_list_of_models_is_public_whatever_the_token(client: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = await client.get("/api/models", headers=headers)
    assert response.status == 200
    assert await response.json() == await models(client)


async def test_provider_filter_lists_only_that_providers_models(client: TestClient) -> None:
    listed = await models(client, provider="deepseek")
    assert {model["model_name"] for model in listed} == {"deepseek-chat", "deepseek-reasoner"}
    assert await models(client, provider="nobody") == []


async def test_type_filter_lists_only_that_type(client: TestClient, admin: Headers) -> None:
    await create(client, admin, model_name="embed", model_type="embedding")
    assert await names(client, type="embedding") == {"embed"}
    assert "embed" not in await names(client, type="chat")


async def test_active_only_omits_inactive_models_and_those_of_deleted_providers(
    client: TestClient, admin: Headers
) -> None:
    await create(client, admin, model_name="asleep", is_active=False)
    baidu = (await models(client, provider="baidu"))[0]
    listed = await client.get("/api/providers", headers=admin)
    baidu_id = {p["provider_key"]: p["id"] for p in (await listed.json())["data"]}["baidu"]
    await client.delete(f"/api/providers/{baidu_id}", headers=admin)
    awake = await names(client, active_only="true")
    assert not awake & {"asleep", baidu["model_name"]}
    assert awake | {"asleep", baidu["model_name"]} == await names(client)
    assert await names(client, active_only="false") == await names(client)


async def test_filters_can_be_combined(client: TestClient, admin: Headers) -> None:
    await create(client, admin, model_name="a", model_provider="groq", model_type="embedding")
    await create(
        client, admin, model_name="b", model_provider="groq", model_type="embedding", is_active=False
    )
    await create(client, admin, model_name="c", model_provider="groq")
    await create(client, admin, model_name="d", model_provider="xai", model_type="embedding")
    assert await names(client, provider="groq", type="embedding") == {"a", "b"}
    assert await names(client, provider="groq", type="embedding", active_only="true") == {"a"}
    assert await names(client, provider="groq", active_only="true") == {"a", "c"}
    assert await names(client, type="embedding", active_only="true") == {"a", "d"}


async def test_empty_filter_is_ignored(client: TestClient) -> None:
    assert await models(client, active_only="", provider="", type="") == await models(client)


async def test_filter_that_is_not_a_boolean_gets_400(client: TestClient) -> None:
    response = await client.get("/api/models", params={"active_only": "perhaps"})
    assert "active_only" in await sentence(response, 400)


async def test_models_are_listed_by_sort_order_then_newest_first(connect: Connect) -> None:
    seconds = [1_700_000_000.0]
    client = await connect(clock=Clock(seconds=lambda: seconds[0]))
    login = await client.post("/api/auth/login", json={"username": "admin", "password": "admin123"})
    admin = {"Authorization": "Bearer " + (await login.json())["token"]}
    for name, order in (("old", -5), ("new", -5), ("first", -6), ("last", 10_000)):
        seconds[0] += 10
        await create(client, admin, model_name=name, sort_order=order)
    listed = [model["model_name"] for model in await models(client)]
    assert listed[:3] == ["first", "new", "old"] and listed[-1] == "last"


async def test_list_contains_neither_api_keys_nor_base_urls(
    client: TestClient, admin: Headers, config: Config
) -> None:
    key = "sk-secret-of-the-list-0123456789"
    saved = await client.post(
        "/api/apikeys",
        json={"model_provider": "openai", "api_key": key, "base_url": "https://inner.example.com/v1"},
        headers=admin,
    )
    assert saved.status == 200
    response = await client.get("/api/models")
    text = await response.text()
    assert all(word not in text for word in ("http", "://", "api_key", "base_url", "sk-s", "inner.example"))
    fields = set((await response.json())[0])
    assert fields == {
        "id",
        "created_at",
        "updated_at",
        "provider_display_name",
        *EXAMPLE,
        "context_window",
        "fallback_model",
        "allow_extras",
        "available",
        "upstream_name",
        "targets",
    }


# create


async def test_created_model_is_returned_and_listed_with_every_field(
    client: TestClient, admin: Headers
) -> None:
    model = await create(client, admin, **EXAMPLE)
    assert {name: model[name] for name in EXAMPLE} == EXAMPLE
    assert model["id"] in {m["id"] for m in await models(client)}
    assert model == next(m for m in await models(client) if m["id"] == model["id"])


async def test_absent_or_null_field_gets_its_default(client: TestClient, admin: Headers) -> None:
    bare = await create(client, admin, model_name="bare")
    null = await create(client, admin, model_name="null", **dict.fromkeys(DEFAULTS))
    assert {name: bare[name] for name in DEFAULTS} == DEFAULTS
    assert {name: null[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    "price", [0.0, 0.000001, 0.1, 0.3, 1.1, 0.000498, 0.001989, 2.675, 0.00015, 123456.789012, 1_000_000.0]
)
async def test_prices_are_returned_exactly_as_given(client: TestClient, admin: Headers, price: float) -> None:
    model = await create(client, admin, input_price_per_1k=price, output_price_per_1k=price)
    listed = next(m for m in await models(client) if m["id"] == model["id"])
    assert listed["input_price_per_1k"] == listed["output_price_per_1k"] == price
    assert isinstance(listed["input_price_per_1k"], float)


async def test_integer_price_is_accepted_and_returned_as_a_float(client: TestClient, admin: Headers) -> None:
    await create(client, admin, model_name="five", input_price_per_1k=5)
    text = await (await client.get("/api/models")).text()
    assert '"input_price_per_1k":5.0' in text


async def test_duplicate_model_name_gets_400(client: TestClient, admin: Headers) -> None:
    before = await models(client)
    body = {**EXAMPLE, "model_name": "gpt-4o-mini"}
    assert "已存在" in await sentence(await client.post("/api/models", json=body, headers=admin), 400)
    body["model_name"] = "  gpt-4o-mini "
    assert "已存在" in await sentence(await client.post("/api/models", json=body, headers=admin), 400)
    assert await models(client) == before


async def test_concurrent_creations_of_one_name_create_one_model(client: TestClient, admin: Headers) -> None:
    answers = await asyncio.gather(
        *(client.post("/api/models", json=EXAMPLE, headers=admin) for _ in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert [m["model_name"] for m in await models(client)].count(EXAMPLE["model_name"]) == 1


async def test_unknown_provider_is_refused_by_name(client: TestClient, admin: Headers) -> None:
    before = await models(client)
    body = {**EXAMPLE, "model_provider": "nobody"}
    assert "nobody" in await sentence(await client.post("/api/models", json=body, headers=admin), 400)
    assert await models(client) == before


@pytest.mark.parametrize("field", REQUIRED)
async def test_missing_required_field_is_named(client: TestClient, admin: Headers, field: str) -> None:
    body = {name: value for name, value in EXAMPLE.items() if name != field}
    response = await client.post("/api/models", json=body, headers=admin)
    assert field in await sentence(response, 400)


@pytest.mark.parametrize("field", WRONG)
async def test_invalid_value_is_refused_with_the_field_name(
    client: TestClient, admin: Headers, field: str
) -> None:
    before = await models(client)
    for value in WRONG[field]:
        response = await client.post("/api/models", json={**EXAMPLE, field: value}, headers=admin)
        assert field in await sentence(response, 400), value
        response = await client.put(
            f"/api/models/{before[0]['id']}", json={"description": "changed", field: value}, headers=admin
        )
        assert field in await sentence(response, 400), value
    assert await models(client) == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0x10", "1_000"])
async def test_price_that_is_not_a_finite_number_gets_400(
    client: TestClient, admin: Headers, number: str
) -> None:
    before = await models(client)
    text = json.dumps({**EXAMPLE, "input_price_per_1k": 77.0}).replace("77.0", number)
    response = await client.post(
        "/api/models", data=text, headers={**admin, "Content-Type": "application/json"}
    )
    await sentence(response, 400)
    assert await models(client) == before


async def test_unknown_and_read_only_fields_are_ignored(client: TestClient, admin: Headers) -> None:
    stale = {
        "id": 1,
        "created_at": "1999-01-01",
        "provider_id": 3,
        "provider_display_name": "x",
        "colour": [],
    }
    model = await create(client, admin, model_name="fresh", **stale)
    assert model["id"] != 1 and model["model_provider"] == "openai" and "colour" not in model
    assert not model["created_at"].startswith("1999")


# update


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_name", "renamed"),
        ("display_name", "另一个名字"),
        ("model_provider", "groq"),
        ("model_type", "embedding"),
        ("max_tokens", 99),
        ("context_window", 8192),
        ("supports_streaming", False),
        ("supports_function_calling", False),
        ("supports_vision", False),
        ("input_price_per_1k", 0.25),
        ("output_price_per_1k", 0.5),
        ("cached_price_per_1k", 0.0),
        ("cache_write_price_per_1k", 0.000000001),
        ("cache_write_1h_price_per_1k", None),
        ("units", {"second": 0.0001}),
        ("priced", False),
        ("description", "short"),
        ("is_active", False),
        ("sort_order", -7),
    ],
)
async def test_update_changes_only_the_given_fields(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    old = await create(client, admin, **EXAMPLE)
    new = await change(client, admin, old["id"], **{field: value})
    assert new[field] == value != old[field]
    may_change = {field, "updated_at"} | ({"provider_display_name"} if field == "model_provider" else set())
    assert all(new[name] == old[name] for name in old if name not in may_change)
    assert new in await models(client)


async def test_update_with_null_sets_the_default(client: TestClient, admin: Headers) -> None:
    old = await create(
        client, admin, **{**EXAMPLE, "supports_streaming": False, "is_active": False, "sort_order": 9}
    )
    new = await change(client, admin, old["id"], **dict.fromkeys(DEFAULTS))
    assert {name: new[name] for name in DEFAULTS} == DEFAULTS
    assert new["model_name"] == old["model_name"]


async def test_whole_record_can_be_sent_back(client: TestClient, admin: Headers) -> None:
    old = (await models(client))[3]
    new = await change(client, admin, old["id"], **{**old, "id": 999, "description": "edited"})
    assert new == {**old, "description": "edited", "updated_at": new["updated_at"]}


async def test_rename_to_a_used_name_or_move_to_an_unknown_provider_gets_400(
    client: TestClient, admin: Headers
) -> None:
    before = await models(client)
    path = f"/api/models/{next(m['id'] for m in before if m['model_name'] == 'gpt-5')}"
    response = await client.put(path, json={"model_name": "gpt-4o-mini", "sort_order": 5}, headers=admin)
    assert "已存在" in await sentence(response, 400)
    response = await client.put(path, json={"model_provider": "nobody", "sort_order": 5}, headers=admin)
    assert "nobody" in await sentence(response, 400)
    assert await models(client) == before


# toggle and delete


async def test_toggle_deactivates_and_reactivates_a_model(client: TestClient, admin: Headers) -> None:
    model = (await models(client))[0]
    for expected in (False, True):
        response = await client.post(f"/api/models/{model['id']}/toggle", headers=admin)
        assert response.status == 200
        assert (await response.json())["model"]["is_active"] is expected
        assert (await models(client))[0]["is_active"] is expected


async def test_deleted_model_is_not_found_and_its_name_can_be_reused(
    client: TestClient, admin: Headers
) -> None:
    model = await create(client, admin, model_name="brief")
    response = await client.delete(f"/api/models/{model['id']}", headers=admin)
    assert response.status == 200 and (await response.json())["success"] is True
    assert "brief" not in await names(client)
    assert await sentence(await client.delete(f"/api/models/{model['id']}", headers=admin), 404)
    again = await create(client, admin, model_name="brief")
    assert again["id"] != model["id"]


@pytest.mark.parametrize(
    "model_id",
    [
        "0",
        "999999",
        "-1",
        "1.0",
        "abc",
        "１",
        "%00",
        "1%20",
        "9223372036854775807",
        "9223372036854775808",
        pytest.param("9" * 400, id="400 digits"),
        pytest.param("0" * 30 + "9" * 30, id="zeros before a huge number"),
        pytest.param("0" * 30 + "9" * 5000, id="zeros before 5000 digits"),
    ],
)
async def test_unknown_model_id_is_not_found(client: TestClient, admin: Headers, model_id: str) -> None:
    path = f"/api/models/{model_id}"
    await sentence(await client.put(path, json={"sort_order": 1}, headers=admin), 404)
    await sentence(await client.delete(path, headers=admin), 404)
    await sentence(await client.post(path + "/toggle", headers=admin), 404)


# the order


async def test_batch_sets_the_order_of_several_models(client: TestClient, admin: Headers) -> None:
    listed = await models(client)
    turned = [{"id": model["id"], "sort_order": -place} for place, model in enumerate(listed)]
    response = await client.post(
        "/api/models/batch-update-order", json={"model_orders": turned}, headers=admin
    )
    assert response.status == 200 and (await response.json())["success"] is True
    assert [m["id"] for m in await models(client)] == [m["id"] for m in reversed(listed)]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_batch_with_an_unknown_id_changes_nothing(
    client: TestClient, admin: Headers, place: int
) -> None:
    before = await models(client)
    orders = [{"id": before[0]["id"], "sort_order": 50}, {"id": before[1]["id"], "sort_order": 60}]
    orders.insert(place, {"id": 99_999, "sort_order": 55})
    response = await client.post(
        "/api/models/batch-update-order", json={"model_orders": orders}, headers=admin
    )
    assert "99999" in await sentence(response, 404)
    assert await models(client) == before


@pytest.mark.parametrize(
    "orders",
    [
        None,
        {},
        [],
        "1,2",
        [1, 2],
        [{"id": 1}],
        [{"sort_order": 1}],
        [{"id": "1", "sort_order": 1}],
        [{"id": 1, "sort_order": "1"}],
        [{"id": 1, "sort_order": None}],
        [{"id": -1, "sort_order": 1}],
        [{"id": 10**30, "sort_order": 1}],
        [{"id": 1, "sort_order": 10**30}],
        [{"id": 1, "sort_order": 7}, {"id": 2, "sort_order": 0.5}],
    ],
)
async def test_malformed_batch_changes_nothing(client: TestClient, admin: Headers, orders: Any) -> None:
    before = await models(client)
    response = await client.post(
        "/api/models/batch-update-order", json={"model_orders": orders}, headers=admin
    )
    assert "model_orders" in await sentence(response, 400)
    assert await models(client) == before


async def test_batch_without_its_list_names_the_field(client: TestClient, admin: Headers) -> None:
    response = await client.post("/api/models/batch-update-order", json={}, headers=admin)
    assert "model_orders" in await sentence(response, 400)
