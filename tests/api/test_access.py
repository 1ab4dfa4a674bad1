"""Access rights: every route without a session, as a user and as an administrator."""

import re
from typing import Any

import pytest
from accounts import sentence
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from scripted import Provider

from chathub.app import create_app
from chathub.config import Config
from chathub.routes import ADMIN, METRICS, PUBLIC, ROUTES, SESSION, USER, V1, Route

Headers = dict[str, str]

# the API document's access of each route; a route in neither set requires only a session
PUBLIC_ROUTES = {
    ("GET", "/api/health"),
    ("HEAD", "/api/health"),
    ("GET", "/api/health/ready"),
    ("HEAD", "/api/health/ready"),
    ("GET", "/api/models"),
    ("POST", "/api/auth/login"),
    ("GET", "/api/auth/registration"),
    ("POST", "/api/auth/send-verification-code"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/password-reset"),
    ("POST", "/api/auth/password-reset/confirm"),
    ("GET", "/openapi.json"),
    ("HEAD", "/openapi.json"),
    ("GET", "/docs"),
    ("HEAD", "/docs"),
}
# an access token must not create access tokens
SESSION_ROUTES = {
    ("DELETE", "/api/conversations"),
    ("PUT", "/api/users/profile"),
    ("DELETE", "/api/users/profile"),
    ("GET", "/api/users/profile/export"),
    ("POST", "/api/auth/email/confirm"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout-all"),
    ("GET", "/api/auth/sessions"),
    ("DELETE", "/api/auth/sessions/{session_id}"),
    ("GET", "/api/tokens"),
    ("POST", "/api/tokens"),
    ("DELETE", "/api/tokens/{token_id}"),
}
ADMIN_ROUTES = {
    ("GET", "/api/subscriptions"),
    ("PUT", "/api/subscriptions/{name}"),
    ("POST", "/api/models"),
    ("POST", "/api/models/batch-update-order"),
    ("PUT", "/api/models/{model_id}"),
    ("DELETE", "/api/models/{model_id}"),
    ("POST", "/api/models/{model_id}/toggle"),
    ("POST", "/api/providers"),
    ("GET", "/api/providers/{provider_id}/models"),
    ("POST", "/api/providers/{provider_id}/models/import"),
    ("PUT", "/api/providers/{provider_id}"),
    ("DELETE", "/api/providers/{provider_id}"),
    ("POST", "/api/auth/admin/register"),
    ("GET", "/api/invites"),
    ("POST", "/api/invites"),
    ("DELETE", "/api/invites/{invite_id}"),
    ("GET", "/api/users"),
    ("GET", "/api/users/{user_id}"),
    ("PUT", "/api/users/{user_id}"),
    ("DELETE", "/api/users/{user_id}"),
    ("POST", "/api/users/{user_id}/reset-password"),
    ("GET", "/api/audit"),
}


def each(*access: str) -> Any:
    chosen = [route for route in ROUTES if route.access in access]
    return pytest.mark.parametrize("route", chosen, ids=[f"{route.method} {route.path}" for route in chosen])


async def call(
    client: TestClient, route: Route, headers: Headers | None = None, **options: Any
) -> ClientResponse:
    """Call the route with an id that does not exist and an empty body."""
    path = re.sub(r"\{\w+\}", "999999", route.path)
    if route.method in ("POST", "PUT"):
        options.setdefault("json", {})
    return await client.request(route.method, path, headers=headers or {}, **options)


def test_every_route_has_the_access_that_the_api_document_states() -> None:
    said = {(route.method, route.path): route.access for route in ROUTES}
    assert len(said) == len(ROUTES)
    for place, access in said.items():
        expected = V1 if place[1].startswith("/v1/") else USER
        expected = METRICS if place == ("GET", "/metrics") else expected
        for routes, theirs in ((PUBLIC_ROUTES, PUBLIC), (SESSION_ROUTES, SESSION), (ADMIN_ROUTES, ADMIN)):
            expected = theirs if place in routes else expected
        assert access == expected, place
    assert set(said) >= PUBLIC_ROUTES | ADMIN_ROUTES | SESSION_ROUTES


@pytest.mark.shared
async def test_server_serves_exactly_the_routes_of_the_table(client: TestClient) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.method != "OPTIONS"
    }
    # the table may say which characters a part of the path accepts
    assert served == {(route.method, re.sub(r":[^}]+", "", route.path)) for route in ROUTES}


# without a token


@each(USER, SESSION, ADMIN, METRICS)
@pytest.mark.shared
async def test_request_without_a_token_gets_401(client: TestClient, route: Route) -> None:
    response = await call(client, route)
    await sentence(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@each(USER, SESSION, ADMIN, METRICS)
@pytest.mark.shared
async def test_request_with_an_invalid_token_gets_401_before_the_body_is_parsed(
    client: TestClient, route: Route
) -> None:
    data = b"not json" if route.method in ("POST", "PUT") else None
    response = await call(client, route, {"Authorization": "Bearer bad.token.here"}, json=None, data=data)
    await sentence(response, 401)


@each(PUBLIC)
@pytest.mark.shared
async def test_public_route_needs_no_token_and_ignores_an_invalid_one(
    client: TestClient, route: Route
) -> None:
    for headers in ({}, {"Authorization": "Bearer bad.token.here"}):
        response = await call(client, route, headers)
        assert response.status not in (401, 403)


# as a user


@each(ADMIN, METRICS)
@pytest.mark.shared
async def test_user_gets_403_on_an_administrator_route(
    client: TestClient, user: Headers, route: Route
) -> None:
    assert "管理员" in await sentence(await call(client, route, user), 403)


@each(ADMIN, METRICS)
@pytest.mark.shared
async def test_demo_user_gets_403_on_an_administrator_route(client: TestClient, route: Route) -> None:
    await sentence(await call(client, route, {"Authorization": "Bearer demo-token"}), 403)


@each(USER, SESSION, PUBLIC)
async def test_user_may_call_every_other_route(client: TestClient, user: Headers, route: Route) -> None:
    response = await call(client, route, user)
    assert response.status not in (401, 403, 405) and response.status < 500
    if response.status >= 400:
        await sentence(response, response.status)


# as an administrator


@each(USER, SESSION, ADMIN, METRICS, PUBLIC)
async def test_administrator_may_call_every_route(client: TestClient, admin: Headers, route: Route) -> None:
    response = await call(client, route, admin)
    assert response.status not in (401, 403, 405) and response.status < 500
    if response.status >= 400:
        await sentence(response, response.status)


@each(ADMIN, METRICS)
async def test_session_token_from_before_a_demotion_gets_401(
    client: TestClient, admin: Headers, route: Route
) -> None:
    body = {"username": "second", "email": "second@example.com", "password": "password", "role": "admin"}
    second = (await (await client.post("/api/auth/admin/register", json=body, headers=admin)).json())["user"]
    login = await client.post("/api/auth/login", json=body)
    headers = {"Authorization": "Bearer " + (await login.json())["token"]}
    assert (await client.get("/api/users", headers=headers)).status == 200
    response = await client.put(f"/api/users/{second['id']}", json={"role": "user"}, headers=admin)
    assert response.status == 200
    await sentence(await call(client, route, headers), 401)


# the default


async def test_route_without_an_access_mark_requires_a_session(config: Config) -> None:
    async def forgotten(request: web.Request) -> web.Response:
        return web.Response(text="reached")

    app = create_app(config)
    app.router.add_get("/api/forgotten", forgotten)
    async with TestClient(TestServer(app)) as client:
        await sentence(await client.get("/api/forgotten"), 401)
        response = await client.get("/api/forgotten", headers={"Authorization": "Bearer demo-token"})
        assert (response.status, await response.text()) == (200, "reached")


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/api/unknown", "/api/models/", "/api//models", "/API/models"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.shared
async def test_unknown_path_gets_404_for_every_caller(
    client: TestClient, admin: Headers, method: str, path: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer bad.token.here"}, admin):
        await sentence(await client.request(method, path, headers=headers), 404)


# objects of another user


@pytest.fixture
async def conversation(client: TestClient, admin: Headers, user: Headers, provider: Provider) -> str:
    """The id of one of the user's conversations."""
    for path, body in (
        (
            "providers",
            {
                "provider_key": "scripted",
                "display_name": "S",
                "default_base_url": provider.base_url,
                "needs_key": False,
            },
        ),
        ("models", {"model_name": "m", "display_name": "M", "model_provider": "scripted"}),
    ):
        assert (await client.post(f"/api/{path}", json=body, headers=admin)).status == 200
    response = await client.post("/api/chat", json={"message": "my secret", "model": "m"}, headers=user)
    assert response.status == 200, await response.text()
    public_id: str = (await response.json())["conversation_id"]
    return public_id


async def test_conversation_of_another_user_is_not_found(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, conversation: str
) -> None:
    demo = {"Authorization": "Bearer demo-token"}
    path = f"/api/conversations/{conversation}"
    before = await (await client.get(path + "/messages", headers=user)).json()
    count = len(provider.bodies)
    chat = {"message": "let me in", "model": "m", "conversation_id": conversation}
    partial = {"conversation_id": conversation, "content": "mine now"}
    for other in (demo, admin):
        await sentence(await client.put(path, json={"title": "mine"}, headers=other), 404)
        await sentence(await client.delete(path, headers=other), 404)
        await sentence(await client.post("/api/chat", json=chat, headers=other), 404)
        await sentence(await client.post("/api/chat/stream", json=chat, headers=other), 404)
        await sentence(await client.post("/api/chat/save-partial", json=partial, headers=other), 404)
        await sentence(
            await client.post("/api/chat/stop", json={"conversation_id": conversation}, headers=other), 404
        )
        await sentence(
            await client.post("/api/chat/stop", json={"message_id": before[1]["id"]}, headers=other), 404
        )
        assert await (await client.get("/api/conversations", headers=other)).json() == []
    await sentence(await client.get(path + "/messages", headers=demo), 404)
    assert len(provider.bodies) == count
    assert await (await client.get(path + "/messages", headers=user)).json() == before
    listed = await (await client.get("/api/conversations", headers=user)).json()
    assert [(row["title"], row["username"]) for row in listed] == [("my secret", "user")]


async def test_reply_of_another_user_cannot_be_stopped(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, conversation: str
) -> None:
    provider.script = provider.hang()
    body = {"message": "more", "model": "m", "conversation_id": conversation}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        assert b'"start"' in await response.content.readline()
        stop = {"conversation_id": conversation}
        for other in (admin, {"Authorization": "Bearer demo-token"}):
            await sentence(await client.post("/api/chat/stop", json=stop, headers=other), 404)
        assert (await client.post("/api/chat/stop", json=stop, headers=user)).status == 200


async def test_only_an_administrator_may_read_another_users_conversations(
    client: TestClient, admin: Headers, user: Headers, conversation: str
) -> None:
    me = (await (await client.get("/api/auth/verify", headers=user)).json())["user"]["id"]
    listed = await (await client.get("/api/conversations", params={"user_id": me}, headers=admin)).json()
    assert [row["conversation_id"] for row in listed] == [conversation]
    messages = await client.get(f"/api/conversations/{conversation}/messages", headers=admin)
    assert [message["role"] for message in await messages.json()] == ["user", "assistant"]
    demo = {"Authorization": "Bearer demo-token"}
    await sentence(await client.get("/api/conversations", params={"user_id": me}, headers=demo), 403)
    own = await client.get("/api/conversations", params={"user_id": me}, headers=user)
    assert await own.json() == listed


async def test_api_key_of_another_user_is_not_found(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    body = {"model_provider": "openai", "api_key": "sk-of-the-access-tests-0123456789"}
    saved = await (await client.post("/api/apikeys", json=body, headers=user)).json()
    path = f"/api/apikeys/{saved['apikey']['id']}"
    for other in (admin, {"Authorization": "Bearer demo-token"}):
        await sentence(await client.put(path, json={"api_key": "sk-stolen"}, headers=other), 404)
        await sentence(await client.post(path + "/toggle", headers=other), 404)
        await sentence(await client.delete(path, headers=other), 404)
        assert await (await client.get("/api/apikeys", headers=other)).json() == []
    assert await (await client.get("/api/apikeys", headers=user)).json() == [saved["apikey"]]


async def test_caller_comes_from_the_token_and_not_from_the_body(
    client: TestClient, admin: Headers, user: Headers, conversation: str
) -> None:
    body = {"message": "as someone else", "model": "m", "user_id": 1}
    response = await client.post("/api/chat", json=body, headers=user)
    assert response.status == 200
    assert await (await client.get("/api/conversations", headers=admin)).json() == []
    assert len(await (await client.get("/api/conversations", headers=user)).json()) == 2
