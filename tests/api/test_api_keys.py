"""Section 7 of the API document: API keys can be saved, and no response contains one."""

import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import pytest
from accounts import sentence
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from conftest import Connect
from scripted import Provider, reply

from chathub.config import Config
from chathub.security.placeholder_keys import is_placeholder

Headers = dict[str, str]

FIRST = "sk-first-key-of-the-tests-aaaa1111"
SECOND = "sk-second-key-of-the-tests-bbbb2222"
THIRD = "sk-third-key-of-the-tests-cccc3333"


async def save(client: TestClient, headers: Headers, key: str = FIRST, **fields: Any) -> dict[str, Any]:
    body = {"model_provider": "scripted", "api_key": key, **fields}
    response = await client.post("/api/apikeys", json=body, headers=headers)
    answer = await response.json()
    assert response.status == 200 and answer["success"] is True, answer
    row: dict[str, Any] = answer["apikey"]
    return row


async def change(client: TestClient, headers: Headers, key_id: int, **fields: Any) -> dict[str, Any]:
    response = await client.put(f"/api/apikeys/{key_id}", json=fields, headers=headers)
    answer = await response.json()
    assert response.status == 200 and answer["success"] is True, answer
    row: dict[str, Any] = answer["apikey"]
    return row


async def keys(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    response = await client.get("/api/apikeys", headers=headers)
    assert response.status == 200
    listed: list[dict[str, Any]] = await response.json()
    return listed


async def chat(client: TestClient, headers: Headers) -> ClientResponse:
    return await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=headers)


async def key_used(client: TestClient, headers: Headers, provider: Provider) -> str:
    """The API key that the provider receives when this user chats."""
    count = len(provider.bodies)
    response = await chat(client, headers)
    assert response.status == 200, await response.text()
    assert len(provider.bodies) == count + 1
    scheme, _, key = provider.headers[-1]["Authorization"].partition(" ")
    assert scheme == "Bearer"
    return str(key)


@pytest.fixture
async def scripted(client: TestClient, admin: Headers, provider: Provider) -> Provider:
    """A provider ``scripted`` on loopback with a model ``m``; no API key is saved for it yet."""
    for path, body in (
        (
            "providers",
            {"provider_key": "scripted", "display_name": "S", "default_base_url": provider.base_url},
        ),
        ("models", {"model_name": "m", "display_name": "M", "model_provider": "scripted"}),
    ):
        response = await client.post(f"/api/{path}", json=body, headers=admin)
        assert response.status == 200, await response.text()
    provider.script = provider.stream(reply("ok"))
    return provider


# what is shown of an API key


@pytest.mark.parametrize(
    ("key", "mask"),
    [
        ("sk-1234567890abcd", "sk-1…abcd"),
        ("0123456789abcdef", "0123…cdef"),
        ("0123456789abcde", "********"),
        ("short", "********"),
        ("x", "********"),
        ("  sk-1234567890abcd\n", "sk-1…abcd"),
    ],
)
async def test_api_key_is_masked_and_a_short_one_is_hidden_completely(
    client: TestClient, scripted: Provider, user: Headers, key: str, mask: str
) -> None:
    assert (await save(client, user, key))["api_key"] == mask
    assert (await keys(client, user))[0]["api_key"] == mask
    assert await key_used(client, user, scripted) == key.strip()


async def test_no_response_contains_an_api_key(
    client: TestClient, scripted: Provider, admin: Headers
) -> None:
    saved = await save(client, admin)
    path = f"/api/apikeys/{saved['id']}"
    requests = [
        client.post("/api/apikeys", json={"model_provider": "scripted", "api_key": FIRST}, headers=admin),
        client.put(path, json={"api_key": FIRST, "base_url": scripted.base_url}, headers=admin),
        client.put(path, json={"api_key": FIRST, "base_url": "ftp://x"}, headers=admin),
        client.post(path + "/toggle", headers=admin),
        client.post(path + "/toggle", headers=admin),
        client.get("/api/apikeys", headers=admin),
        client.get("/api/models", headers=admin),
        client.get("/api/providers", headers=admin),
        client.get("/api/stats", headers=admin),
        client.get("/api/users/profile", headers=admin),
        chat(client, admin),
        client.get("/api/conversations", headers=admin),
        client.delete(path, headers=admin),
    ]
    for request in requests:
        response = await request
        text = await response.text()
        assert FIRST not in text and FIRST[3:-4] not in text and FIRST not in str(response.headers)


async def test_api_key_in_a_providers_error_is_not_shown(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    await save(client, admin)
    scripted.script = scripted.answer(401, {"error": {"message": f"Incorrect API key provided: {FIRST}."}})
    response = await chat(client, user)
    assert response.status == 502 and FIRST not in await response.text()


async def test_database_files_do_not_contain_an_api_key(
    client: TestClient, scripted: Provider, user: Headers, admin: Headers, config: Config
) -> None:
    await save(client, user, FIRST)
    saved = await save(client, admin, SECOND)
    await change(client, admin, saved["id"], api_key=THIRD)
    await key_used(client, user, scripted)
    files = [config.database, Path(f"{config.database}-wal"), Path(f"{config.database}-shm")]
    assert files[1].stat().st_size > 0
    content = b"".join(file.read_bytes() for file in files)
    assert FIRST[:4].encode() in content  # the mask is there, so these are the right files
    for key in (FIRST, SECOND, THIRD):
        assert key.encode() not in content and key.encode("utf-16-le") not in content
        assert key[4:-4].encode() not in content
        assert key.encode().hex().encode() not in content


async def test_saved_api_key_response_has_every_field_of_the_page(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    row = await save(client, user)
    assert row == {
        "id": row["id"],
        "model_provider": "scripted",
        "api_key": "sk-f…1111",
        "base_url": None,
        "default_base_url": scripted.base_url,
        "effective_base_url": scripted.base_url,
        "label": "",
        "shared": False,
        "needs_reentry": False,
        "priority": 0,
        "weight": 1,
        "health": "ok",
        "cooldown_until": None,
        "last_error": None,
        "success_count": 0,
        "failure_count": 0,
        "last_used_at": None,
        "is_active": True,
        "provider_is_active": True,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "models": [],
    }
    assert isinstance(row["id"], int) and row["updated_at"].endswith("Z")
    assert await keys(client, user) == [row]


# save


async def test_saving_again_replaces_the_api_key_and_activates_it(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    first = await save(client, user, FIRST)
    assert (await client.post(f"/api/apikeys/{first['id']}/toggle", headers=user)).status == 200
    second = await save(client, user, SECOND)
    assert second["is_active"] is True
    assert [row["api_key"] for row in await keys(client, user)] == ["sk-s…2222"]
    assert await key_used(client, user, scripted) == SECOND


async def test_another_label_adds_a_further_api_key(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    await save(client, user, FIRST, priority=1)
    await save(client, user, SECOND, label="work")
    await save(client, user, THIRD, label=" work ")
    listed = await keys(client, user)
    assert [(row["label"], row["api_key"]) for row in listed] == [("", "sk-f…1111"), ("work", "sk-t…3333")]
    assert await key_used(client, user, scripted) == FIRST


async def test_next_api_key_is_tried_when_the_provider_rejects_the_first(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    await save(client, user, FIRST, priority=1)
    await save(client, user, SECOND, label="work")
    scripted.script = scripted.one_after_the_other(
        scripted.answer(401, {"error": {"message": "bad key"}}), scripted.stream(reply("ok"))
    )
    assert (await chat(client, user)).status == 200
    assert [h["Authorization"] for h in scripted.headers] == [f"Bearer {FIRST}", f"Bearer {SECOND}"]


async def test_unknown_provider_is_refused_by_name(client: TestClient, user: Headers) -> None:
    body = {"model_provider": "nobody", "api_key": FIRST}
    assert "nobody" in await sentence(await client.post("/api/apikeys", json=body, headers=user), 400)
    assert await keys(client, user) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_provider", None),
        ("model_provider", ""),
        ("model_provider", 1),
        ("api_key", None),
        ("api_key", ""),
        ("api_key", "   "),
        ("api_key", 12345),
        ("api_key", "two words"),
        ("api_key", "line\nbreak"),
        ("api_key", "nul\0byte"),
        ("api_key", "钥匙"),
        ("api_key", "x" * 4097),
        ("base_url", 5),
        ("base_url", "ftp://files.example.com"),
        ("base_url", "https://user:pass@api.example.com"),
        ("base_url", "https://"),
        ("base_url", "https://api.example.com/v 1"),
        ("base_url", "x" * 2001),
        ("label", 5),
        ("label", "x" * 51),
        ("shared", "yes"),
    ],
)
async def test_invalid_value_is_refused_with_the_field_name(
    client: TestClient, user: Headers, field: str, value: Any
) -> None:
    body = {"model_provider": "openai", "api_key": FIRST, field: value}
    assert field in await sentence(await client.post("/api/apikeys", json=body, headers=user), 400)
    assert await keys(client, user) == []


# update


@pytest.mark.parametrize("sent", [{}, {"api_key": None}, {"api_key": ""}, {"api_key": "sk-f…1111"}])
async def test_update_without_the_api_key_or_with_its_mask_keeps_it(
    client: TestClient, scripted: Provider, admin: Headers, sent: dict[str, Any]
) -> None:
    row = await save(client, admin)
    changed = await change(client, admin, row["id"], **sent, base_url=scripted.base_url + "/chat/completions")
    assert changed["api_key"] == "sk-f…1111" and changed["base_url"].endswith("/chat/completions")
    assert await key_used(client, admin, scripted) == FIRST
    assert scripted.last["_path"] == "/v1/chat/completions"


async def test_update_with_the_mask_of_a_short_api_key_keeps_it(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    row = await save(client, user, "short")
    await change(client, user, row["id"], api_key=row["api_key"], base_url=None)
    assert await key_used(client, user, scripted) == "short"


async def test_update_with_a_new_api_key_replaces_it(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    row = await save(client, user)
    changed = await change(client, user, row["id"], api_key=SECOND)
    assert changed == {**row, "api_key": "sk-s…2222", "updated_at": changed["updated_at"]}
    assert await key_used(client, user, scripted) == SECOND


async def test_base_url_of_another_origin_requires_the_api_key_again(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    row = await save(client, user)
    path = f"/api/apikeys/{row['id']}"
    for sent in ({}, {"api_key": None}, {"api_key": row["api_key"]}):
        response = await client.put(
            path, json={**sent, "base_url": "https://other.example.com/v1"}, headers=user
        )
        assert "重新输入" in await sentence(response, 400)
    assert await keys(client, user) == [row]
    moved = await change(client, user, row["id"], api_key=SECOND, base_url="https://other.example.com/v1")
    assert moved["effective_base_url"] == "https://other.example.com/v1"
    assert moved["needs_reentry"] is False


async def test_another_port_or_scheme_is_another_origin(
    client: TestClient, scripted: Provider, admin: Headers
) -> None:
    row = await save(client, admin, base_url="https://own.example.com/v1")
    for url in (
        "http://own.example.com/v1",
        "https://own.example.com:8443/v1",
        "https://own.example.com.evil.cn/v1",
    ):
        response = await client.put(f"/api/apikeys/{row['id']}", json={"base_url": url}, headers=admin)
        assert "重新输入" in await sentence(response, 400)
    response = await client.put(f"/api/apikeys/{row['id']}", json={"base_url": None}, headers=admin)
    assert "重新输入" in await sentence(response, 400)
    same = await change(client, admin, row["id"], base_url="HTTPS://OWN.example.com:443/v2")
    assert same["needs_reentry"] is False


async def test_ids_and_owners_in_the_body_are_ignored(
    client: TestClient, scripted: Provider, user: Headers, admin: Headers
) -> None:
    row = await save(client, user)
    changed = await change(
        client, user, row["id"], id=77, user_id=1, provider_id=1, model_provider="openai", shared=True
    )
    assert changed == {**row, "updated_at": changed["updated_at"]}
    assert await keys(client, admin) == []


# toggle and delete


async def test_inactive_api_key_is_not_used(client: TestClient, scripted: Provider, user: Headers) -> None:
    row = await save(client, user)
    for active in (False, True):
        response = await client.post(f"/api/apikeys/{row['id']}/toggle", headers=user)
        assert (await response.json())["apikey"]["is_active"] is active
        if active:
            assert await key_used(client, user, scripted) == FIRST
        else:
            assert "尚未配置 S 的 API 密钥" in await sentence(await chat(client, user), 400)
            assert scripted.bodies == []


async def test_deleted_api_key_is_not_found_and_not_used(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    row = await save(client, user)
    path = f"/api/apikeys/{row['id']}"
    response = await client.delete(path, headers=user)
    assert response.status == 200 and (await response.json())["success"] is True
    assert await keys(client, user) == []
    await sentence(await client.delete(path, headers=user), 404)
    assert "尚未配置 S 的 API 密钥" in await sentence(await chat(client, user), 400)


async def test_chat_without_an_api_key_names_the_provider(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    assert "尚未配置 S 的 API 密钥" in await sentence(await chat(client, user), 400)
    assert scripted.bodies == []


# who may use an API key


async def test_administrators_api_key_is_shared_unless_shared_is_false(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    row = await save(client, admin)
    assert row["shared"] is True
    assert await key_used(client, user, scripted) == FIRST
    assert (await change(client, admin, row["id"], shared=False))["shared"] is False
    await sentence(await chat(client, user), 400)
    assert await key_used(client, admin, scripted) == FIRST
    assert (await save(client, admin, SECOND, shared=False))["shared"] is False
    await sentence(await chat(client, user), 400)


async def test_users_api_key_is_used_by_its_owner_only(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    assert (await save(client, user, shared=True))["shared"] is False
    await sentence(await chat(client, admin), 400)
    assert await keys(client, admin) == []


async def test_users_own_api_key_is_used_before_the_shared_one(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    await save(client, admin, FIRST)
    row = await save(client, user, SECOND)
    assert await key_used(client, user, scripted) == SECOND
    assert await key_used(client, admin, scripted) == FIRST
    await client.post(f"/api/apikeys/{row['id']}/toggle", headers=user)
    assert await key_used(client, user, scripted) == FIRST


async def test_api_key_of_a_demoted_administrator_is_no_longer_shared(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    body = {"username": "second", "email": "second@example.com", "password": "password", "role": "admin"}
    second = (await (await client.post("/api/auth/admin/register", json=body, headers=admin)).json())["user"]
    login = await client.post("/api/auth/login", json={"username": "second", "password": "password"})
    await save(client, {"Authorization": "Bearer " + (await login.json())["token"]})
    assert await key_used(client, user, scripted) == FIRST
    response = await client.put(f"/api/users/{second['id']}", json={"role": "user"}, headers=admin)
    assert response.status == 200
    await sentence(await chat(client, user), 400)


@pytest.mark.parametrize("owner_is_admin", [True, False])
async def test_api_key_of_another_user_is_not_found(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers, owner_is_admin: bool
) -> None:
    owner, other = (admin, user) if owner_is_admin else (user, admin)
    row = await save(client, owner)
    path = f"/api/apikeys/{row['id']}"
    await sentence(await client.put(path, json={"api_key": SECOND}, headers=other), 404)
    await sentence(await client.post(path + "/toggle", headers=other), 404)
    await sentence(await client.delete(path, headers=other), 404)
    assert await keys(client, other) == []
    assert await keys(client, owner) == [row]
    assert await key_used(client, owner, scripted) == FIRST


@pytest.mark.parametrize("key_id", ["0", "99999", "abc", "-1", "9" * 40])
async def test_unknown_api_key_id_is_not_found(client: TestClient, user: Headers, key_id: str) -> None:
    path = f"/api/apikeys/{key_id}"
    await sentence(await client.put(path, json={}, headers=user), 404)
    await sentence(await client.post(path + "/toggle", headers=user), 404)
    await sentence(await client.delete(path, headers=user), 404)


# where a user's base URL may lead

INSIDE = [
    "http://127.0.0.1",
    "http://127.0.0.1:5001/v1",
    "http://127.1/v1",
    "http://2130706433/v1",
    "http://0x7f.1/v1",
    "http://0177.0.0.1/v1",
    "http://0/v1",
    "http://0.0.0.0/v1",
    "http://[::1]/v1",
    "http://[::]/v1",
    "http://[::ffff:10.0.0.1]/v1",
    "http://[::ffff:7f00:1]/v1",
    "http://[fe80::1]/v1",
    "http://[fd00::1]/v1",
    "http://[64:ff9b::7f00:1]/v1",
    "http://localhost/v1",
    "http://LOCALHOST/v1",
    "http://api.localhost/v1",
    "http://localhost./v1",
    "http://127.0.0.1./v1",
    "http://10.0.0.1/v1",
    "http://172.16.0.1/v1",
    "http://192.168.1.1/v1",
    "http://169.254.169.254/latest",
    "http://100.64.0.1/v1",
]


@pytest.mark.parametrize("url", INSIDE)
async def test_users_base_url_at_a_private_address_is_refused(
    client: TestClient, user: Headers, url: str
) -> None:
    body = {"model_provider": "openai", "api_key": FIRST, "base_url": url}
    assert "base_url" in await sentence(await client.post("/api/apikeys", json=body, headers=user), 400)
    assert await keys(client, user) == []
    row = await save(client, user, model_provider="openai")
    response = await client.put(
        f"/api/apikeys/{row['id']}", json={"api_key": FIRST, "base_url": url}, headers=user
    )
    assert "base_url" in await sentence(response, 400)
    assert await keys(client, user) == [row]


async def test_host_name_that_resolves_to_a_private_address_is_refused_on_connecting(
    client: TestClient, scripted: Provider, user: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(client, user, base_url="http://inside.example.com/v1")

    async def resolve(*args: Any, **options: Any) -> list[dict[str, Any]]:
        address = {"hostname": "inside.example.com", "host": "127.0.0.1", "port": 80}
        return [{**address, "family": 2, "proto": 6, "flags": 0}]

    monkeypatch.setattr("aiohttp.connector.TCPConnector._resolve_host", resolve)
    assert "指向内网" in await sentence(await chat(client, user), 502)
    assert scripted.bodies == []


async def test_administrator_may_save_a_base_url_at_a_private_address(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers
) -> None:
    inside = scripted.base_url.replace("127.0.0.1", "localhost")
    await save(client, admin, base_url=inside)
    assert await key_used(client, user, scripted) == FIRST


async def test_user_may_save_the_providers_default_base_url(
    client: TestClient, scripted: Provider, user: Headers
) -> None:
    """The page fills in the provider's default base URL; the one of ollama is on loopback."""
    await save(client, user, base_url=scripted.base_url)
    assert await key_used(client, user, scripted) == FIRST


async def test_user_may_save_a_base_url_at_a_host_that_the_configuration_allows(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(replace(config, upstream_allow_hosts=frozenset({"localhost"})))
    login = await client.post("/api/auth/login", json={"username": "user", "password": "user123"})
    headers = {"Authorization": "Bearer " + (await login.json())["token"]}
    body = {"api_key": FIRST, "model_provider": "openai"}
    body["base_url"] = provider.base_url.replace("127.0.0.1", "localhost")
    response = await client.post("/api/apikeys", json=body, headers=headers)
    assert response.status == 200, await response.text()
    response = await client.post("/api/chat", json={"message": "hi", "model": "gpt-4o"}, headers=headers)
    assert response.status == 200, await response.text()
    assert provider.headers[-1]["Authorization"] == f"Bearer {FIRST}"


# a row that was moved in the database


def rewrite(config: Config, statement: str, **values: Any) -> None:
    """Change the database directly, as somebody with a copy of it could."""
    connection = sqlite3.connect(config.database)
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


async def test_encrypted_api_key_copied_to_another_user_cannot_be_decrypted(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers, config: Config
) -> None:
    mine = await save(client, admin, FIRST, shared=False)
    other = await save(client, user, SECOND)
    rewrite(
        config,
        "UPDATE api_keys SET secret = (SELECT secret FROM api_keys WHERE id = :mine) WHERE id = :other",
        mine=mine["id"],
        other=other["id"],
    )
    assert "无法解密" in await sentence(await chat(client, user), 400)
    assert scripted.bodies == []


async def test_api_key_row_moved_to_another_user_cannot_be_decrypted(
    client: TestClient, scripted: Provider, admin: Headers, user: Headers, config: Config
) -> None:
    mine = await save(client, admin, FIRST, shared=False)
    rewrite(
        config,
        "UPDATE api_keys SET user_id = (SELECT id FROM users WHERE username = 'user') WHERE id = :mine",
        mine=mine["id"],
    )
    assert len(await keys(client, user)) == 1
    assert "无法解密" in await sentence(await chat(client, user), 400)
    assert scripted.bodies == []


async def test_api_key_row_moved_to_another_provider_or_origin_cannot_be_decrypted(
    client: TestClient, scripted: Provider, admin: Headers, config: Config
) -> None:
    row = await save(client, admin, model_provider="openai")
    address = scripted.base_url.removesuffix("/v1")
    rewrite(
        config,
        "UPDATE api_keys SET origin = :address, base_url = :address WHERE id = :key_id",
        address=address,
        key_id=row["id"],
    )
    response = await client.post("/api/chat", json={"message": "hi", "model": "gpt-4o"}, headers=admin)
    assert "无法解密" in await sentence(response, 400)
    response = await client.post(f"/api/apikeys/{row['id']}/test", headers=admin)
    assert "无法解密" in await sentence(response, 400)
    rewrite(
        config,
        "UPDATE api_keys SET provider_id = (SELECT id FROM providers WHERE provider_key = 'scripted')"
        " WHERE id = :key_id",
        key_id=row["id"],
    )
    assert "无法解密" in await sentence(await chat(client, admin), 400)
    assert scripted.bodies == []


async def test_api_key_row_moved_to_another_provider_at_the_same_origin_is_unreadable(
    client: TestClient, scripted: Provider, admin: Headers, config: Config
) -> None:
    body = {"provider_key": "twin", "display_name": "T", "default_base_url": scripted.base_url}
    assert (await client.post("/api/providers", json=body, headers=admin)).status == 200
    row = await save(client, admin, model_provider="twin")
    rewrite(
        config,
        "UPDATE api_keys SET provider_id = (SELECT id FROM providers WHERE provider_key = 'scripted')"
        " WHERE id = :key_id",
        key_id=row["id"],
    )
    assert [(key["model_provider"], key["needs_reentry"]) for key in await keys(client, admin)] == [
        ("scripted", False)
    ]
    assert "无法解密" in await sentence(await chat(client, admin), 400)
    assert scripted.bodies == []


async def test_encrypted_api_key_copied_to_another_row_of_the_owner_cannot_be_decrypted(
    client: TestClient, scripted: Provider, admin: Headers, config: Config
) -> None:
    row = await save(client, admin, FIRST)
    other = await save(client, admin, SECOND, label="old")
    rewrite(
        config,
        "UPDATE api_keys SET secret = (SELECT secret FROM api_keys WHERE id = :other) WHERE id = :key_id",
        other=other["id"],
        key_id=row["id"],
    )
    assert (await client.delete(f"/api/apikeys/{other['id']}", headers=admin)).status == 200
    assert "无法解密" in await sentence(await chat(client, admin), 400)
    assert scripted.bodies == []


async def test_unchanged_api_key_can_be_decrypted_after_a_restart(
    connect: Connect, client: TestClient, scripted: Provider, admin: Headers, config: Config
) -> None:
    await save(client, admin)
    await client.close()
    again = await connect(config)
    assert await key_used(again, admin, scripted) == FIRST


async def test_administrators_access_token_cannot_change_whether_an_api_key_is_shared(
    client: TestClient, admin: Headers
) -> None:
    made = await client.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=admin)
    program = {"Authorization": f"Bearer {(await made.json())['token']}"}
    key = {"model_provider": "openai", "api_key": "sk-of-a-program-0123456789", "label": "mine"}
    saved = (await (await client.post("/api/apikeys", json=key, headers=program)).json())["apikey"]
    assert saved["shared"] is False
    inside = key | {"label": "inside", "base_url": "http://127.0.0.1:9/v1"}
    assert (await client.post("/api/apikeys", json=inside, headers=program)).status == 400
    shared = (await (await client.post("/api/apikeys", json=key, headers=admin)).json())["apikey"]
    assert shared["shared"] is True
    path = f"/api/apikeys/{shared['id']}"
    changed = await (await client.put(path, json={"weight": 3, "shared": False}, headers=program)).json()
    assert (changed["apikey"]["shared"], changed["apikey"]["weight"]) == (True, 3)


PLACEHOLDERS = [
    *("sk-你的密钥", "你的密钥", "sk-…", "sk-...", "sk-abcd****wxyz", "sk-q…0000"),
    *("<key>", "sk-<your key>", "[API key]", "{api_key}", "{{ key }}", "$OPENAI_API_KEY", "${KEY}", "%KEY%"),
    *("xxx", "sk-xxxxxxxx", "sk-proj-XXXX", "xxxxxxxx-xxxx-xxxx", "sk-1234xxxxxxxx"),
    *("YOUR_API_KEY", "OPENAI_API_KEY"),
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
async def test_placeholder_is_neither_saved_nor_put_in_the_place_of_an_api_key(
    client: TestClient, scripted: Provider, admin: Headers, text: str
) -> None:
    new = {"model_provider": "scripted", "api_key": text}
    row = await save(client, admin)
    refused = await client.put(f"/api/apikeys/{row['id']}", json={"api_key": text}, headers=admin)
    for response in (refused, await client.post("/api/apikeys", json=new, headers=admin)):
        assert response.status == 400
        assert (await response.json())["code"] == "api_key_is_placeholder"
    assert await key_used(client, admin, scripted) == FIRST


@pytest.mark.parametrize(
    "key",
    [
        *(
            # the API document's own example
            "your-api-key",
            "ollama",
            "none",
            "None",
            "EMPTY",
            "no-key",
            "not-needed",
            "lm-studio",
            "sk-local",
            "sk",
            "1",
            "-",
            "xx",
        ),
        *(
            "sk-1234",
            "dummy",
            "sk-no-key-required",
            "local",
            "my-key",
            "secret",
            "pa$$word",
            "a<b>c",
            "change-me",
        ),
        *(
            "AIzaSyA-0123456789_abcdefXXX",
            "change-me",
            "0123abcd.ef-Gh",
            "sk-hub-HereIsTheKey0",
            "key",
            "api-key",
        ),
    ],
)
async def test_word_that_a_local_server_may_take_is_saved_as_api_key(
    client: TestClient, scripted: Provider, admin: Headers, key: str
) -> None:
    await save(client, admin, key)
    assert await key_used(client, admin, scripted) == key


def test_random_keys_are_no_placeholders() -> None:
    chance = random.Random(15)
    for alphabet in (ascii_letters + digits, ascii_letters + digits + "-_", "0123456789abcdef"):
        for _ in range(5000):
            assert not is_placeholder("sk-" + "".join(chance.choices(alphabet, k=48))), alphabet
