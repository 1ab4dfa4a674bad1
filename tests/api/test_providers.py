"""Section 3 of the API document: providers."""

from typing import Any

import pytest
from accounts import done, sentence
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from conftest import Connect
from scripted import Provider

from chathub.config import Config

Headers = dict[str, str]

EXAMPLE = {
    "provider_key": "custom_provider",
    "display_name": "自定义提供商",
    "default_base_url": "https://api.custom.com/v1",
    "is_active": True,
    "sort_order": 0,
}
FIELDS = {*EXAMPLE, "id", "needs_key", "protocol", "created_at", "updated_at"}
SEED = {
    "openai",
    "anthropic",
    "google",
    "siliconflow",
    "deepseek",
    "moonshot",
    "zhipu",
    "alibaba",
    "baidu",
    "doubao",
    "openrouter",
    "groq",
    "mistral",
    "xai",
    "ollama",
}
KEY = "sk-of-the-provider-tests-0123456789"


async def providers(client: TestClient, headers: Headers, **query: str) -> dict[str, dict[str, Any]]:
    """The listed providers by their provider key."""
    body = await done(await client.get("/api/providers", params=query, headers=headers))
    return {row["provider_key"]: row for row in body["data"]}


async def create(client: TestClient, admin: Headers, **fields: Any) -> dict[str, Any]:
    response = await client.post("/api/providers", json={**EXAMPLE, **fields}, headers=admin)
    row: dict[str, Any] = (await done(response))["data"]
    return row


async def change(client: TestClient, admin: Headers, provider_id: int, **fields: Any) -> dict[str, Any]:
    return await done(await client.put(f"/api/providers/{provider_id}", json=fields, headers=admin))


# the list, and one of them


async def test_fresh_database_lists_all_seeded_providers(client: TestClient, user: Headers) -> None:
    response = await client.get("/api/providers", headers=user)
    body = await done(response)
    assert {row["provider_key"] for row in body["data"]} == SEED
    for row in body["data"]:
        assert set(row) == FIELDS
        assert row["is_active"] is True and row["display_name"]
        assert row["needs_key"] is (row["provider_key"] != "ollama")
        assert row["default_base_url"].startswith("https://") or row["provider_key"] == "ollama"
    assert [row["sort_order"] for row in body["data"]] == sorted(row["sort_order"] for row in body["data"])


async def test_single_provider_can_be_read(client: TestClient, user: Headers) -> None:
    row = (await providers(client, user))["groq"]
    response = await client.get(f"/api/providers/{row['id']}", headers=user)
    assert (await done(response))["data"] == row


@pytest.mark.parametrize("provider_id", ["0", "99999", "abc", "-1", "1.5", "9" * 50, "9223372036854775808"])
async def test_unknown_provider_id_is_not_found(client: TestClient, admin: Headers, provider_id: str) -> None:
    path = f"/api/providers/{provider_id}"
    await sentence(await client.get(path, headers=admin), 404)
    await sentence(await client.put(path, json={"sort_order": 1}, headers=admin), 404)
    await sentence(await client.delete(path, headers=admin), 404)


# create


async def test_created_provider_is_returned_and_listed(client: TestClient, admin: Headers) -> None:
    row = await create(client, admin)
    assert {name: row[name] for name in EXAMPLE} == EXAMPLE
    assert (await providers(client, admin))["custom_provider"] == row


async def test_null_or_absent_field_gets_its_default(client: TestClient, admin: Headers) -> None:
    required = {name: EXAMPLE[name] for name in ("provider_key", "display_name", "default_base_url")}
    bare = await done(await client.post("/api/providers", json=required, headers=admin))
    null = await create(client, admin, provider_key="two", is_active=None, sort_order=None, needs_key=None)
    for row in (bare["data"], null):
        assert (row["is_active"], row["sort_order"], row["needs_key"]) == (True, 0, True)


async def test_read_only_fields_of_an_earlier_record_are_ignored(client: TestClient, admin: Headers) -> None:
    old = (await providers(client, admin))["openai"]
    stale = {"id": old["id"], "created_at": "1999-01-01T00:00:00Z", "updated_at": None}
    row = await create(client, admin, **stale)
    assert row["id"] != old["id"] and not row["created_at"].startswith("1999") and row["updated_at"]
    assert (await providers(client, admin))["openai"] == old


@pytest.mark.parametrize(
    "key",
    ["", "Open", "with-dash", "with space", "dots.too", "ключ", "a" * 51, "new\n", "\nnew", "nul\0", 5, None],
)
async def test_invalid_provider_key_gets_400(client: TestClient, admin: Headers, key: Any) -> None:
    before = await providers(client, admin)
    response = await client.post("/api/providers", json={**EXAMPLE, "provider_key": key}, headers=admin)
    assert "provider_key" in await sentence(response, 400)
    assert await providers(client, admin) == before


@pytest.mark.parametrize("key", ["a", "0", "_", "open_ai_2", "x" * 50])
async def test_provider_key_of_lower_case_letters_digits_and_underscores_is_accepted(
    client: TestClient, admin: Headers, key: str
) -> None:
    assert (await create(client, admin, provider_key=key))["provider_key"] == key


async def test_provider_key_of_the_built_in_model_is_reserved(client: TestClient, admin: Headers) -> None:
    response = await client.post("/api/providers", json={**EXAMPLE, "provider_key": "local"}, headers=admin)
    assert "local" in await sentence(response, 400)
    assert "local" not in await providers(client, admin)


async def test_duplicate_provider_key_gets_400(client: TestClient, admin: Headers) -> None:
    taken, before = {**EXAMPLE, "provider_key": "openai"}, await providers(client, admin)
    assert "已存在" in await sentence(await client.post("/api/providers", json=taken, headers=admin), 400)
    assert await providers(client, admin) == before


BAD_URLS = [
    "ftp://api.custom.com/v1",
    "file:///etc/passwd",
    "api.custom.com/v1",
    "//api.custom.com/v1",
    "https://",
    "https:///v1",
    "http://:8080/v1",
    "https://user@api.custom.com/v1",
    "https://user:pass@api.custom.com/v1",
    "https://api custom.com/v1",
    "https://api.custom.com/v 1",
    "https://api.custom.com/\nv1",
    "https://api.custom.com\\@evil.com/v1",
    "https://api.custom.com:99999/v1",
    "https://api.custom.com:port/v1",
    "https://[::1/v1",
    "javascript:alert(1)",
    "   ",
    "",
    "https://" + "a" * 2000 + ".com",
    None,
    7,
]


@pytest.mark.parametrize("url", BAD_URLS)
async def test_invalid_base_url_gets_400(client: TestClient, admin: Headers, url: Any) -> None:
    before = await providers(client, admin)
    response = await client.post("/api/providers", json={**EXAMPLE, "default_base_url": url}, headers=admin)
    assert "default_base_url" in await sentence(response, 400)
    response = await client.put(
        f"/api/providers/{before['groq']['id']}",
        json={"default_base_url": url, "display_name": "changed"},
        headers=admin,
    )
    assert "default_base_url" in await sentence(response, 400)
    assert await providers(client, admin) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", ""),
        ("display_name", "  "),
        ("display_name", None),
        ("display_name", 3),
        ("display_name", "x" * 201),
        ("is_active", "true"),
        ("is_active", 1),
        ("needs_key", "no"),
        ("sort_order", "1"),
        ("sort_order", 0.5),
        ("sort_order", 10**30),
        ("protocol", "smtp"),
        ("protocol", ""),
        ("protocol", 1),
    ],
)
async def test_invalid_value_is_refused_with_the_field_name(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    before = await providers(client, admin)
    response = await client.post("/api/providers", json={**EXAMPLE, field: value}, headers=admin)
    assert field in await sentence(response, 400)
    path = f"/api/providers/{before['groq']['id']}"
    assert field in await sentence(await client.put(path, json={field: value}, headers=admin), 400)
    assert await providers(client, admin) == before


@pytest.mark.parametrize("field", ["provider_key", "display_name", "default_base_url"])
async def test_missing_required_field_is_named(client: TestClient, admin: Headers, field: str) -> None:
    body = {name: value for name, value in EXAMPLE.items() if name != field}
    assert field in await sentence(await client.post("/api/providers", json=body, headers=admin), 400)


# update


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", "Renamed"),
        ("default_base_url", "https://other.example.com/v1"),
        ("needs_key", False),
        ("is_active", False),
        ("sort_order", -3),
    ],
)
async def test_update_changes_only_the_given_fields(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    old = (await providers(client, admin))["groq"]
    new = (await change(client, admin, old["id"], **{field: value}))["data"]
    assert new == {**old, field: value, "updated_at": new["updated_at"]} and old[field] != value


async def test_another_address_changes_the_protocol_only_where_the_protocol_is_null(
    client: TestClient, admin: Headers
) -> None:
    """A provider may move behind a proxy, whose address says nothing of it."""
    row = (await providers(client, admin))["anthropic"]
    moved = {"default_base_url": "https://proxy.example.com/v1"}
    assert (await change(client, admin, row["id"], **moved))["data"]["protocol"] == "anthropic"
    again = await change(client, admin, row["id"], **moved, protocol=None)
    assert again["data"]["protocol"] == "openai"


async def test_whole_record_can_be_sent_back_and_the_provider_key_stays(
    client: TestClient, admin: Headers
) -> None:
    old = (await providers(client, admin))["groq"]
    body = {**old, "id": 1, "provider_key": "stolen", "display_name": "Groq 2", "created_at": "1999"}
    new = (await change(client, admin, old["id"], **body))["data"]
    assert new == {**old, "display_name": "Groq 2", "updated_at": new["updated_at"]}


# delete and return


async def test_deleted_provider_is_unlisted_and_can_be_reactivated(
    client: TestClient, admin: Headers
) -> None:
    old = (await providers(client, admin))["xai"]
    path = f"/api/providers/{old['id']}"
    await done(await client.delete(path, headers=admin))
    assert "xai" not in await providers(client, admin)
    assert (await done(await client.get(path, headers=admin)))["data"]["is_active"] is False
    assert (await change(client, admin, old["id"], is_active=True))["data"]["is_active"] is True
    assert (await providers(client, admin))["xai"]["default_base_url"] == old["default_base_url"]


async def test_deleted_provider_is_listed_to_administrators_only(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    old = (await providers(client, admin))["xai"]
    await done(await client.delete(f"/api/providers/{old['id']}", headers=admin))
    plain = await providers(client, admin)
    for wish in ("true", "1"):
        found = await providers(client, admin, all=wish)
        assert found["xai"] == {**old, "is_active": False, "updated_at": found["xai"]["updated_at"]}
        assert {key: found[key] for key in plain} == plain and set(found) == SEED
    token = await done(await client.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=admin))
    program = {"Authorization": "Bearer " + token["token"]}
    for who, wish in ((user, "true"), (program, "true"), (admin, "false"), (admin, "")):
        assert set(await providers(client, who, all=wish)) == SEED - {"xai"}
    response = await client.get("/api/providers", params={"all": "maybe"}, headers=admin)
    assert "all" in await sentence(response, 400)


async def test_provider_created_again_is_restored_with_its_models_and_api_keys(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    wish = {"default_base_url": provider.base_url, "sort_order": 7, "needs_key": False}
    row = await create(client, admin, **wish)
    await offer(client, admin, "custom_provider")
    await done(await client.delete(f"/api/providers/{row['id']}", headers=admin))
    body = {
        "provider_key": "custom_provider",
        "display_name": "又回来了",
        "default_base_url": provider.base_url,
    }
    again = await done(await client.post("/api/providers", json=body, headers=admin))
    assert "恢复" in again["message"] and again["keys_to_reenter"] == 0
    assert again["data"] == {**row, "display_name": "又回来了", "updated_at": again["data"]["updated_at"]}
    assert (await providers(client, admin))["custom_provider"] == again["data"]
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=admin)
    assert response.status == 200 and provider.headers[-1]["Authorization"] == f"Bearer {KEY}"
    response = await client.post("/api/providers", json=body, headers=admin)
    assert "已存在" in await sentence(response, 400)


async def test_provider_restored_at_another_origin_requires_its_api_keys_again(
    client: TestClient, admin: Headers
) -> None:
    row = await create(client, admin)
    await offer(client, admin, "custom_provider")
    await done(await client.delete(f"/api/providers/{row['id']}", headers=admin))
    moved = {**EXAMPLE, "default_base_url": "https://elsewhere.example.com/v1", "is_active": None}
    body = await done(await client.post("/api/providers", json=moved, headers=admin))
    assert (body["data"]["id"], body["keys_to_reenter"]) == (row["id"], 1) and "1" in body["message"]
    assert body["data"]["is_active"] is True
    (key,) = await (await client.get("/api/apikeys", headers=admin)).json()
    assert key["needs_reentry"] is True


async def test_api_keys_of_a_deleted_provider_are_marked_and_no_more_can_be_saved(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    row = await create(client, admin)
    body = {"model_provider": "custom_provider", "api_key": KEY}
    key = (await done(await client.post("/api/apikeys", json=body, headers=user)))["apikey"]
    assert key["provider_is_active"] is True
    await done(await client.delete(f"/api/providers/{row['id']}", headers=admin))
    listed = await (await client.get("/api/apikeys", headers=user)).json()
    assert listed == [{**key, "provider_is_active": False}]
    path, more = f"/api/apikeys/{key['id']}", {**body, "label": "more"}
    for refused in (
        await client.post("/api/apikeys", json=body, headers=user),
        await client.post("/api/apikeys", json=more, headers=user),
        await client.put(path, json={"api_key": "sk-another-0123456789", "priority": 3}, headers=user),
    ):
        assert "提供商“自定义提供商”已停用" in await sentence(refused, 400)
    assert await (await client.get("/api/apikeys", headers=user)).json() == listed
    # what is sent without the API key is accepted
    same = {"api_key": key["api_key"], "priority": 3}
    changed = (await done(await client.put(path, json=same, headers=user)))["apikey"]
    assert (changed["priority"], changed["provider_is_active"]) == (3, False)
    toggled = await done(await client.post(path + "/toggle", headers=user))
    assert toggled["apikey"]["is_active"] is False
    await done(await client.delete(path, headers=user))


async def test_deleting_a_provider_twice_succeeds(client: TestClient, admin: Headers) -> None:
    path = f"/api/providers/{(await providers(client, admin))['xai']['id']}"
    for _ in range(2):
        assert (await done(await client.delete(path, headers=admin)))["data"]["is_active"] is False


async def test_models_of_a_deleted_provider_cannot_be_used(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    groq = (await providers(client, admin))["groq"]
    await change(client, admin, groq["id"], default_base_url=provider.base_url)
    await offer(client, admin, "groq")
    await done(await client.delete(f"/api/providers/{groq['id']}", headers=admin))
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=admin)
    assert "停用" in await sentence(response, 400)
    assert provider.bodies == []


async def test_provider_changes_survive_a_restart(connect: Connect, config: Config) -> None:
    client = await connect(config)
    admin = await signed_in(client)
    created = await create(client, admin)
    groq = (await providers(client, admin))["groq"]
    await done(await client.delete(f"/api/providers/{groq['id']}", headers=admin))
    await client.close()
    listed = await providers(await connect(config), admin)
    assert listed["custom_provider"] == created and "groq" not in listed


# another origin


async def signed_in(client: TestClient) -> Headers:
    response = await client.post("/api/auth/login", json={"username": "admin", "password": "admin123"})
    return {"Authorization": "Bearer " + (await response.json())["token"]}


async def offer(client: TestClient, admin: Headers, provider_key: str, **key: Any) -> None:
    """Add an API key for the provider and a model ``m``."""
    body = {"model_provider": provider_key, "api_key": KEY, **key}
    await done(await client.post("/api/apikeys", json=body, headers=admin))
    body = {"model_provider": provider_key, "model_name": "m", "display_name": "M"}
    await done(await client.post("/api/models", json=body, headers=admin))


async def test_changed_origin_requires_api_keys_again_until_it_is_changed_back(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    row = await create(client, admin, default_base_url=provider.base_url)
    await offer(client, admin, "custom_provider")
    for number, headers in enumerate((admin, user, user)):
        body: dict[str, Any] = {
            "model_provider": "custom_provider",
            "api_key": KEY,
            "label": f"more {number}",
        }
        await done(await client.post("/api/apikeys", json=body, headers=headers))
    # an API key with its own base URL stays there
    body = {"model_provider": "custom_provider", "api_key": KEY, "label": "own", "shared": False}
    body["base_url"] = "https://own.example.com/v1"
    await done(await client.post("/api/apikeys", json=body, headers=admin))
    elsewhere = provider.base_url.replace("127.0.0.1", "localhost")

    async def needing(headers: Headers) -> list[bool]:
        listed = await (await client.get("/api/apikeys", headers=headers)).json()
        return [key["needs_reentry"] for key in listed]

    async def chat() -> ClientResponse:
        return await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=user)

    assert (await chat()).status == 200 and len(provider.bodies) == 1

    body = await change(client, admin, row["id"], default_base_url=elsewhere)
    assert body["keys_to_reenter"] == 4 and "4" in body["message"]
    assert await needing(admin) == [True, True, False] and await needing(user) == [True, True]
    assert "自定义提供商的地址已变更" in await sentence(await chat(), 400)
    assert len(provider.bodies) == 1

    body = await change(client, admin, row["id"], default_base_url=provider.base_url)
    assert body["keys_to_reenter"] == 0
    assert await needing(admin) == [False] * 3 and await needing(user) == [False] * 2
    assert (await chat()).status == 200 and len(provider.bodies) == 2


async def test_api_key_entered_again_works_at_the_new_base_url(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    row = await create(client, admin)
    await offer(client, admin, "custom_provider")
    await change(client, admin, row["id"], default_base_url=provider.base_url)
    key_id = (await (await client.get("/api/apikeys", headers=admin)).json())[0]["id"]
    again = await client.put(
        f"/api/apikeys/{key_id}", json={"api_key": "sk-entered-again-0123456789"}, headers=admin
    )
    assert (await done(again))["apikey"]["needs_reentry"] is False
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=admin)
    assert response.status == 200
    assert provider.headers[-1]["Authorization"] == "Bearer sk-entered-again-0123456789"


async def test_another_path_at_the_same_origin_keeps_the_api_keys(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    row = await create(client, admin, default_base_url=provider.base_url)
    await offer(client, admin, "custom_provider")
    body = await change(
        client, admin, row["id"], default_base_url=provider.base_url + "/beta/chat/completions"
    )
    assert body["keys_to_reenter"] == 0
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=admin)
    assert response.status == 200 and provider.last["_path"] == "/v1/beta/chat/completions"
