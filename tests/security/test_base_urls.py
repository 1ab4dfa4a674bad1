"""A user's base URL may be a private address only if an administrator vouched for it or it is the provider's
own.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from chats import Headers, chat
from conftest import sign_in
from world import new_token, new_user

from chathub.config import Config
from chathub.formats.urls import place, without_query


class Inner:
    """A server at a private address; ``seen`` are the paths and API keys of the requests that reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.Response:
        self.seen.append((request.path_qs, request.headers.get("Authorization", "").removeprefix("Bearer ")))
        message = {"role": "assistant", "content": "inside"}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "data": []})

    def url(self, path: str = "/v1", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.port}{path}"


@pytest.fixture
async def inner() -> AsyncIterator[Inner]:
    inner = Inner()
    await inner.server.start_server()
    yield inner
    await inner.server.close()


async def add_provider(client: TestClient, admin: Headers, base_url: str) -> None:
    row = {"provider_key": "lab", "display_name": "lab", "default_base_url": base_url}
    assert (await client.post("/api/providers", json=row, headers=admin)).status == 200
    model = {"model_name": "m", "display_name": "m", "model_provider": "lab", "supports_streaming": False}
    assert (await client.post("/api/models", json=model, headers=admin)).status == 200


async def save(
    client: TestClient, headers: Headers, base_url: str | None, **more: object
) -> tuple[int, dict]:
    body = {"model_provider": "lab", "api_key": "sk-of-the-tests-0123456789", "base_url": base_url, **more}
    response = await client.post("/api/apikeys", json=body, headers=headers)
    return response.status, await response.json()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://10.0.0.1:8000/v1", "http://10.0.0.1:8000/v1/", True),
        ("http://10.0.0.1:8000/v1", "HTTP://10.0.0.1:8000/v1/chat/completions?x=1#y", True),
        ("http://nas.lan/v1", "http://nas.lan:80/v1", True),
        ("http://nas.lan/v1", "http://nas.lan./v1", True),
        ("http://nas.lan/v1", "https://nas.lan/v1", False),
        ("http://nas.lan/v1", "http://nas.lan/v1/admin", False),
        ("http://nas.lan/v1", "http://nas.lan/admin/v1", False),
        ("http://nas.lan/v1", "http://nas.lan/v1/../admin", False),
        ("http://nas.lan/v1", "http://nas.lan//v1", False),
        ("http://nas.lan/v1", "http://nas.lan:8080/v1", False),
    ],
)
def test_base_urls_are_normalized_before_comparison(one: str, other: str, same: bool) -> None:
    assert (place(one) == place(other)) == same


def test_query_and_credentials_of_a_base_url_are_not_shown() -> None:
    assert without_query("https://u:p@x.example/v1?api_key=secret#z") == "https://x.example/v1"
    assert without_query("http://[not an address") == ""


async def test_api_key_for_the_built_in_model_cannot_be_saved(
    client: TestClient, config: Config, admin: Headers, user: Headers
) -> None:
    """The row of its provider, with a loopback address, remains after the model was used once."""
    with contextlib.closing(sqlite3.connect(config.database)) as database, database:
        database.execute(
            "INSERT INTO providers (provider_key, display_name, default_base_url, created_at, updated_at)"
            " VALUES ('local', 'local', 'http://127.0.0.1', 0, 0)"
        )
    _, token = await new_token(client, admin, opens_api=True)
    for headers in (user, admin, token):
        for base_url in (None, "http://127.0.0.1/v1", "http://127.0.0.1/admin?x=1", "https://x.example/v1"):
            status, body = await save(client, headers, base_url, model_provider="local")
            assert status == 400 and "内置模型" in body["error"]


async def test_api_key_saved_earlier_for_the_built_in_model_is_not_used(
    client: TestClient, config: Config, admin: Headers, user: Headers, inner: Inner
) -> None:
    await add_provider(client, admin, "https://x.example/v1")
    _, body = await save(client, user, None)
    with contextlib.closing(sqlite3.connect(config.database)) as database, database:
        database.execute(
            "UPDATE providers SET provider_key = 'local', default_base_url = ? WHERE provider_key = 'lab'",
            (inner.url(),),
        )
        database.execute("UPDATE api_keys SET origin = ?", (inner.url("").rstrip("/"),))
    # the catalog is read again
    row = {"provider_key": "other", "display_name": "o", "default_base_url": "https://y.example"}
    await client.post("/api/providers", json=row, headers=admin)
    response = await client.post(f"/api/apikeys/{body['apikey']['id']}/test", headers=user)
    assert response.status == 400 and inner.seen == []


async def test_users_base_url_equal_to_the_providers_is_allowed_and_uses_the_providers(
    client: TestClient, admin: Headers, user: Headers, inner: Inner
) -> None:
    await add_provider(client, admin, inner.url("/v1?version=1"))
    for path in ("/v1", "/v1/", "/v1/chat/completions", "/v1/?command=x"):
        assert (await save(client, user, inner.url(path)))[0] == 200
        assert (await chat(client, user, model="m"))[0] == 200
    assert {path for path, _ in inner.seen} == {"/v1/chat/completions?version=1"}


async def test_another_path_at_a_private_provider_is_refused(
    client: TestClient, admin: Headers, user: Headers, inner: Inner
) -> None:
    await add_provider(client, admin, inner.url())
    _, token = await new_token(client, admin, opens_api=True)
    for headers in (user, token):
        for path in ("/admin", "/v1/admin?x=1", "/v1/../admin", ""):
            status, _ = await save(client, headers, inner.url(path or "/v2"))
            assert status == 400, path
        # a name with a private address is detected on connecting
        status, body = await save(client, headers, inner.url("/admin", "localtest.localhost"), label="n")
        if status == 200:
            await client.post(f"/api/apikeys/{body['apikey']['id']}/test", headers=headers)
    assert inner.seen == []


async def test_administrator_with_a_session_vouches_for_a_private_base_url(
    client: TestClient, config: Config, admin: Headers, user: Headers, inner: Inner
) -> None:
    await add_provider(client, admin, "https://x.example/v1")
    status, body = await save(client, admin, inner.url())
    assert status == 200
    assert (await chat(client, user, model="m"))[0] == 200
    # later changes by an access token do not end the vouching, but a new URL has none
    _, token = await new_token(client, admin, opens_api=True)
    path = f"/api/apikeys/{body['apikey']['id']}"
    assert (
        await client.put(path, json={"priority": 3, "base_url": inner.url()}, headers=token)
    ).status == 200
    assert (await chat(client, user, model="m"))[0] == 200
    count = len(inner.seen)
    with contextlib.closing(sqlite3.connect(config.database)) as database, database:
        assert database.execute("SELECT vouched_by IS NOT NULL FROM api_keys").fetchall() == [(1,)]
        database.execute("UPDATE api_keys SET vouched_by = NULL")
    assert (await chat(client, user, model="m"))[0] == 502 and len(inner.seen) == count


async def test_vouching_of_an_administrator_ends_with_the_role(
    client: TestClient, admin: Headers, inner: Inner
) -> None:
    await add_provider(client, admin, "https://x.example/v1")
    await new_user(client, "second")
    rows = (await (await client.get("/api/users?search=second", headers=admin)).json())["users"]
    path = f"/api/users/{rows[0]['id']}"
    await client.put(path, json={"role": "admin"}, headers=admin)
    second = await sign_in(client, "second", "password-of-many")
    assert (await save(client, second, inner.url()))[0] == 200
    assert (await chat(client, second, model="m"))[0] == 200
    await client.put(path, json={"role": "user"}, headers=admin)
    second = await sign_in(client, "second", "password-of-many")
    assert (await chat(client, second, model="m"))[0] == 502 and len(inner.seen) == 1


async def test_query_of_a_providers_base_url_is_hidden_from_users(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await add_provider(client, admin, "https://x.example/v1?api_key=hidden-from-users")
    await save(client, user, None)
    listed = (await (await client.get("/api/providers", headers=user)).json())["data"]
    number = next(row["id"] for row in listed if row["provider_key"] == "lab")
    for path in ("/api/providers", f"/api/providers/{number}", "/api/apikeys"):
        assert "hidden" not in await (await client.get(path, headers=user)).text()
    shown = await (await client.get(f"/api/providers/{number}", headers=admin)).json()
    assert shown["data"]["default_base_url"].endswith("hidden-from-users")
    _, token = await new_token(client, admin, opens_api=True)
    assert "hidden" not in await (await client.get("/api/providers", headers=token)).text()
