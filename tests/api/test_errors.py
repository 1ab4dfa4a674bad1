"""One error body for every error, and CORS headers on every response."""

import io
import json
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from conftest import sign_in
from scripted import Provider
from yarl import URL

from chathub.app import create_app
from chathub.config import Config
from chathub.routes import ROUTES, Route

Headers = dict[str, str]

PAGE = "http://localhost:3000"
STRANGER = "https://evil.example.com"
CORS = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Allow-Credentials")

# these read no body, or only after they have found the object
BODILESS = ("/toggle", "/reset-password", "/logout", "/logout-all", "/refresh", "/regenerate", "/test")
# bodies that may contain images or a long reply
LONG = ("/api/chat", "/api/chat/stream", "/api/chat/save-partial", "/api/messages/{message_id}")
WITH_BODY = [
    route
    for route in ROUTES
    # /v1 has error bodies of its own, tested elsewhere
    if route.method in ("POST", "PUT") and not route.path.endswith(BODILESS) and route.access != "v1"
]


def each(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


def path_of(route: Route) -> str:
    """The route's path with ids that exist."""
    return re.sub(r"\{\w+\}", "1", route.path)


async def sentence(response: ClientResponse, status: int) -> str:
    """The message of an error response: JSON, the same text twice, in Chinese, without internal details."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/json" and response.charset == "utf-8"
    body = await response.json()
    assert body["success"] is False and body["error"] == body["message"]
    text: str = body["error"]
    assert any("\u4e00" <= character <= "\u9fff" for character in text), text
    assert not any(
        word in text for word in ("Traceback", "Error", "Exception", "sqlite", "msgspec", "object at")
    )
    return text


async def raw(
    client: TestClient, path: str, data: bytes, headers: Headers, method: str = "POST"
) -> ClientResponse:
    headers = {**headers, "Content-Type": "application/json"}
    return await client.request(method, path, data=io.BytesIO(data), headers=headers)


async def counts(config: Config) -> list[int]:
    """How many rows each table has."""
    connection = sqlite3.connect(config.database)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    numbers = [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in sorted(names)]
    connection.close()
    return numbers


# unknown paths and methods


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/api", "/api/nothing", "/api/models/1/2/3", "/%00", "/api/%ff"]
)
@pytest.mark.shared
async def test_unknown_path_gets_404(client: TestClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        await sentence(await client.request(method, path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/health", {"GET"}),
        ("PATCH", "/api/models", {"GET", "POST"}),
        ("GET", "/api/auth/login", {"POST"}),
        ("GET", "/api/chat", {"POST"}),
        ("PUT", "/api/chat/stream", {"POST"}),
        ("POST", "/api/models/1", {"PUT", "DELETE"}),
        ("POST", "/api/users/profile", {"GET", "PUT"}),
        ("POST", "/api/conversations/x/messages", {"GET"}),
    ],
)
@pytest.mark.shared
async def test_wrong_method_gets_405_with_the_allowed_methods(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    response = await client.request(method, path)
    await sentence(response, 405)
    assert {word.strip() for word in response.headers["Allow"].split(",")} >= allowed


@pytest.mark.shared
async def test_head_request_gets_no_body(client: TestClient) -> None:
    for path in ("/api/health", "/api/nothing", "/api/stats"):
        response = await client.head(path)
        assert response.status < 500 and await response.read() == b""
    # the connection is still usable
    assert (await client.get("/api/health")).status == 200


@pytest.mark.shared
async def test_options_without_cors_headers_gets_an_ordinary_error(client: TestClient) -> None:
    response = await client.options("/api/models")
    if response.status >= 400:
        await sentence(response, response.status)
    await sentence(await client.options("/api/nothing"), 404)


# bodies


@each(WITH_BODY)
@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"not json",
        b"{'single': 'quotes'}",
        b'{"trailing": 1,}',
        b'{"a": 1} {"b": 2}',
        b"\xff\xfe\xfd",
        '{"a": 1}'.encode("utf-16"),
        b"\x00",
        b'{"a": \x00}',
        b"\xef\xbb\xbf{}x",
    ],
    ids=range(10),
)
@pytest.mark.shared
async def test_malformed_json_gets_400(
    client: TestClient, admin: Headers, config: Config, route: Route, data: bytes
) -> None:
    before = await counts(config)
    assert await sentence(await raw(client, path_of(route), data, admin, route.method), 400)
    assert await counts(config) == before


@each(WITH_BODY)
@pytest.mark.parametrize("data", [b"[]", b'["a"]', b'"text"', b"5", b"true", b"null"])
@pytest.mark.shared
async def test_json_that_is_not_an_object_gets_400(
    client: TestClient, admin: Headers, config: Config, route: Route, data: bytes
) -> None:
    before = await counts(config)
    assert "对象" in await sentence(await raw(client, path_of(route), data, admin, route.method), 400)
    assert await counts(config) == before


# these require no field
BARE = ("/api/chat/save-partial", "/api/invites")


@each([route for route in WITH_BODY if route.method == "POST" and route.path not in BARE])
@pytest.mark.shared
async def test_empty_body_counts_as_an_empty_object_and_names_missing_fields(
    client: TestClient, admin: Headers, route: Route
) -> None:
    texts = [
        await sentence(await raw(client, path_of(route), data, admin), 400) for data in (b"", b"  \n", b"{}")
    ]
    assert texts[0] == texts[1] == texts[2]
    assert any(word in texts[0] for word in ("缺少必填字段", "message_id"))


@each(WITH_BODY)
@pytest.mark.shared
async def test_body_above_the_limit_gets_413(client: TestClient, admin: Headers, route: Route) -> None:
    limit = (24 if route.path in LONG else 1) * 1024 * 1024
    data = b'{"x": "' + b"a" * (limit + 1) + b'"}'
    await sentence(await raw(client, path_of(route), data, admin, route.method), 413)
    assert (await client.get("/api/health")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("POST", "/api/auth/login", b'{"username": "\xff\xfe", "password": "x"}'),
        (
            "POST",
            "/api/auth/register",
            b'{"username": "\xc3\x28ab", "email": "a@b.cc", "password": "password"}',
        ),
        ("POST", "/api/chat", b'{"message": "\xed\xa0\x80", "model": "gpt-4o"}'),
        ("POST", "/api/chat/save-partial", b'{"conversation_id": "x", "content": "\xf0\x9f"}'),
        ("PUT", "/api/models/1", b'{"description": "\x80"}'),
        ("PUT", "/api/providers/1", b'{"display_name": "\xfe"}'),
        ("PUT", "/api/conversations/1", b'{"title": "\xc0\xaf"}'),
        ("PUT", "/api/users/profile", b'{"\xff": 1, "username": "\xff\xff\xff"}'),
    ],
)
@pytest.mark.shared
async def test_text_that_is_not_utf_8_gets_400(
    client: TestClient, admin: Headers, config: Config, method: str, path: str, data: bytes
) -> None:
    before = await counts(config)
    await sentence(await raw(client, path, data, admin, method), 400)
    assert await counts(config) == before


async def test_body_just_within_the_limit_is_accepted(client: TestClient, admin: Headers) -> None:
    data = b'{"username": "admin", "password": "admin123", "x": "' + b"a" * (64 * 1024 - 100) + b'"}'
    assert (await raw(client, "/api/auth/login", data, {})).status == 200
    data = b'{"display_name": "m", "x": "' + b"a" * (1024 * 1024 - 100) + b'"}'
    assert (await raw(client, "/api/models/1", data, admin, "PUT")).status == 200


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [500, 2_000, 100_000])
async def test_deep_nesting_gets_an_error_and_no_crash(
    client: TestClient, admin: Headers, opening: bytes, depth: int
) -> None:
    closing = b"]" if opening == b"[" else b"1}"
    deep = opening * depth + (b"" if opening == b"[" else b"0") + closing[-1:] * depth
    for place in (b"%b", b'{"username": %b}', b'{"message_id": %b}', b'{"unknown": %b}'):
        for path in ("/api/auth/login", "/api/chat/save-partial", "/api/models"):
            response = await raw(client, path, place % deep, admin)
            too_long = path == "/api/auth/login" and len(deep) > 64_000
            assert response.status in ((413,) if too_long else (200, 400)), await response.text()
    response = await raw(
        client,
        "/api/chat",
        b'{"message": "x", "model": "gpt-4o", "response_format": {"a": %b}}' % deep,
        admin,
    )
    await sentence(response, 400)


@pytest.mark.parametrize("depth", [100, 400, 900, 1000, 2000])
async def test_deep_nesting_in_a_forwarded_field_is_forwarded_or_refused(
    client: TestClient, admin: Headers, provider: Provider, depth: int
) -> None:
    for path, body in (
        (
            "/api/providers",
            {"provider_key": "scripted", "display_name": "S", "default_base_url": provider.base_url},
        ),
        ("/api/models", {"model_name": "m", "display_name": "M", "model_provider": "scripted"}),
        ("/api/apikeys", {"model_provider": "scripted", "api_key": "sk-of-the-error-tests-0123456789"}),
    ):
        assert (await client.post(path, json=body, headers=admin)).status == 200
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    data = b'{"message": "x", "model": "m", "response_format": %b}' % deep
    response = await raw(client, "/api/chat", data, admin)
    assert response.status in (200, 400), await response.text()
    assert len(provider.bodies) == (response.status == 200)


@pytest.mark.parametrize(
    "text", ["nul\\u0000byte", "\\ud800 alone", "\\udfff", "pair \\ud83e\\udd8a", "\\u202e"]
)
async def test_unusual_characters_in_text_cause_no_server_error(
    client: TestClient, admin: Headers, text: str
) -> None:
    word = b'"%b"' % text.encode()
    requests = [
        ("POST", "/api/auth/login", b'{"username": %b, "password": %b}'),
        ("POST", "/api/auth/register", b'{"username": %b, "email": %b, "password": "password"}'),
        ("POST", "/api/models", b'{"model_name": %b, "display_name": %b, "model_provider": "openai"}'),
        ("POST", "/api/models", b'{"model_name": "n", "display_name": %b, "model_provider": %b}'),
        ("PUT", "/api/models/1", b'{"description": %b, "display_name": %b}'),
        (
            "POST",
            "/api/providers",
            b'{"provider_key": %b, "display_name": %b, "default_base_url": "http://a"}',
        ),
        ("PUT", "/api/providers/1", b'{"display_name": %b, "default_base_url": %b}'),
        ("POST", "/api/apikeys", b'{"model_provider": "openai", "api_key": %b, "label": %b}'),
        ("POST", "/api/apikeys", b'{"model_provider": %b, "api_key": "sk", "label": %b}'),
        (
            "POST",
            "/api/apikeys",
            b'{"model_provider": "openai", "api_key": "sk", "base_url": %b, "label": %b}',
        ),
        ("POST", "/api/chat", b'{"message": %b, "model": %b}'),
        ("POST", "/api/chat", b'{"message": %b, "model": "unknown", "conversation_id": %b}'),
        ("POST", "/api/chat/save-partial", b'{"content": %b, "conversation_id": %b}'),
        ("PUT", "/api/conversations/x", b'{"title": %b, "x": %b}'),
        ("PUT", "/api/users/profile", b'{"email": %b, "current_password": %b}'),
    ]
    for method, path, data in requests:
        response = await raw(client, path, data % (word, word), admin, method)
        assert response.status < 500, (path, data, await response.text())
        if response.status >= 400:
            await sentence(response, response.status)
    for path in ("/api/models", "/api/apikeys", "/api/users", "/api/providers"):
        response = await client.get(path, headers=admin)
        assert response.status == 200
        json.loads(await response.text())


@pytest.mark.parametrize(
    "path",
    [
        "/api/conversations/%00/messages",
        "/api/conversations/%ED%A0%80/messages",
        "/api/conversations/%F0%9F%A6%8A/messages",
        "/api/conversations/" + "x" * 5000 + "/messages",
        "/api/conversations/..%2F..%2Fetc/messages",
    ],
)
@pytest.mark.shared
async def test_unusual_characters_in_a_path_get_404(client: TestClient, user: Headers, path: str) -> None:
    await sentence(await client.get(path, headers=user), 404)


@pytest.mark.parametrize(
    "query", ["search=%00", "search=%FF", "search=%ED%A0%80", "role=%00", "page=%D9%A1x"]
)
@pytest.mark.shared
async def test_unusual_characters_in_a_query_cause_no_server_error(
    client: TestClient, admin: Headers, query: str
) -> None:
    response = await client.get(URL(f"/api/users?{query}", encoded=True), headers=admin)
    assert response.status in (200, 400)
    if response.status == 400:
        await sentence(response, 400)


# internal errors


@pytest.fixture
async def broken(config: Config) -> AsyncIterator[TestClient]:
    """A server with routes that really fail."""

    async def fail(request: web.Request) -> web.Response:
        secret = "sk-secret-in-a-traceback"
        raise RuntimeError(f"SELECT * FROM users at {__file__} {secret}")

    async def leave(request: web.Request) -> web.Response:
        raise web.HTTPGone(text="it is gone")

    app = create_app(config)
    app.router.add_route("GET", "/api/fail", fail)
    app.router.add_route("GET", "/api/gone", leave)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_unexpected_exception_is_a_general_message_with_its_traceback_in_the_log(
    broken: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    headers = await sign_in(broken, "user", "user123")
    with caplog.at_level(logging.ERROR):
        response = await broken.get("/api/fail", headers=headers)
    assert await sentence(response, 500) == "服务器内部错误"
    text = await response.text()
    assert not any(word in text for word in ("SELECT", "sk-secret", "RuntimeError", ".py", "File"))
    assert "RuntimeError" in caplog.text and "/api/fail" in caplog.text
    assert (await broken.get("/api/health")).status == 200


async def test_http_exception_of_aiohttp_has_the_same_error_body(broken: TestClient) -> None:
    headers = await sign_in(broken, "user", "user123")
    await sentence(await broken.get("/api/gone", headers=headers), 410)


async def test_missing_table_is_a_general_message(
    client: TestClient, user: Headers, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    connection = sqlite3.connect(config.database)
    connection.execute("DROP TABLE usage_sums_by_day")
    connection.commit()
    connection.close()
    with caplog.at_level(logging.ERROR):
        response = await client.get("/api/stats", headers=user)
    assert response.status in (500, 503)
    text = await sentence(response, response.status)
    assert "usage_sums_by_day" not in text and "table" not in text
    assert "usage_sums_by_day" in caplog.text
    assert (await client.get("/api/conversations", headers=user)).status == 200


async def test_locked_database_gets_503_and_recovers(
    client: TestClient, user: Headers, config: Config
) -> None:
    """The server waits five seconds for the lock, no longer than the page waits for a response."""
    connection = sqlite3.connect(config.database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    response = await client.put("/api/users/profile", json={"email": "new@example.com"}, headers=user)
    await sentence(response, 503)
    assert (await client.get("/api/users/profile", headers=user)).status == 200
    connection.execute("ROLLBACK")
    connection.close()
    response = await client.put("/api/users/profile", json={"email": "new@example.com"}, headers=user)
    assert response.status == 200


# pages of other origins


def assert_allowed(response: ClientResponse) -> None:
    assert response.headers.getall("Access-Control-Allow-Origin") == [PAGE], response.status
    exposed = {word.strip() for word in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"Link", "Retry-After", "X-Request-ID", "X-ChatHub-Code", "X-Should-Retry"} <= exposed
    assert "x-ratelimit-remaining-tokens" in exposed and "*" not in exposed
    assert "Access-Control-Allow-Credentials" not in response.headers


def assert_not_allowed(response: ClientResponse) -> None:
    assert not any(name in response.headers for name in CORS)
    assert not any(name.lower().startswith("access-control-") for name in response.headers)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/health", None, 200),
        ("GET", "/api/models", None, 200),
        ("POST", "/api/auth/login", {"username": "admin", "password": "wrong"}, 401),
        ("GET", "/api/stats", None, 401),
        ("POST", "/api/auth/login", {"username": 1}, 400),
        ("GET", "/api/users", None, 401),
        ("DELETE", "/api/models", None, 405),
        ("GET", "/api/chat/stream", None, 405),
        ("GET", "/api/nothing", None, 404),
    ],
)
@pytest.mark.pages
async def test_only_a_configured_origin_may_read_responses_and_errors(
    client: TestClient, method: str, path: str, body: Any, status: int
) -> None:
    response = await client.request(method, path, json=body, headers={"Origin": PAGE})
    assert response.status == status
    assert_allowed(response)
    for origin in (STRANGER, "null", "http://localhost:3000.evil.com"):
        response = await client.request(method, path, json=body, headers={"Origin": origin})
        assert response.status == status
        assert_not_allowed(response)
    assert_not_allowed(await client.request(method, path, json=body))


@pytest.mark.pages
async def test_errors_of_authenticated_routes_have_cors_headers_too(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    for method, path, headers, status in (
        ("GET", "/api/users", user, 403),
        ("GET", "/api/users/99999", admin, 404),
        ("PUT", "/api/conversations/none", user, 400),
        ("DELETE", "/api/conversations/none", user, 404),
    ):
        response = await client.request(method, path, headers={**headers, "Origin": PAGE})
        assert response.status == status
        assert_allowed(response)
    large = await raw(client, "/api/chat", b"x" * (24 * 1024 * 1024 + 1), {**user, "Origin": PAGE})
    assert large.status == 413
    assert_allowed(large)
    for _ in range(6):
        body = {"username": "user", "password": "wrong"}
        waiting = await client.post("/api/auth/login", json=body, headers={"Origin": PAGE})
    assert waiting.status == 429 and "Retry-After" in waiting.headers
    assert_allowed(waiting)


@pytest.mark.shared
async def test_only_a_configured_origin_may_read_a_stream(client: TestClient, user: Headers) -> None:
    body = {"message": "hi", "model": "unknown-model"}
    response = await client.post("/api/chat/stream", json=body, headers={**user, "Origin": PAGE})
    assert response.status == 200 and b'"error"' in await response.read()
    assert_allowed(response)
    response = await client.post("/api/chat/stream", json=body, headers={**user, "Origin": STRANGER})
    await response.read()
    assert_not_allowed(response)


@each(list(ROUTES))
@pytest.mark.shared
async def test_preflight_needs_no_session_and_allows_what_the_page_sends(
    client: TestClient, route: Route
) -> None:
    ask = {
        "Origin": PAGE,
        "Access-Control-Request-Method": route.method,
        "Access-Control-Request-Headers": "authorization,content-type,last-event-id,idempotency-key",
    }
    response = await client.options(path_of(route), headers=ask)
    assert response.status == 200, await response.text()
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Allow-Methods"] == route.method
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert {word.strip() for word in allowed.split(",")} >= {"authorization", "content-type"}
    assert int(response.headers["Access-Control-Max-Age"]) > 0
    assert await response.read() == b""


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": STRANGER},
        {"Origin": "null"},
        {"Access-Control-Request-Method": "PATCH"},
    ],
)
@pytest.mark.shared
async def test_preflight_of_a_foreign_origin_or_method_gets_403(client: TestClient, change: Headers) -> None:
    ask = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
        **change,
    }
    response = await client.options("/api/chat/stream", headers=ask)
    await sentence(response, 403)
    assert_not_allowed(response)
