"""Published vulnerabilities of other AI hubs and gateways, each tried against this server.

A test without a CVE number names the kind of fault. Other test files try the same kinds more broadly; here
they are tried as published.
"""

import asyncio
import random
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, opened
from conftest import sign_in
from scripted import Provider, reply
from world import new_token, new_user

from chathub.routes import ROUTES
from chathub.upstream import guard


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


async def test_cve_2026_31950_running_stream_of_another_user_is_not_found_by_its_id(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """LibreChat: the id of a stream was enough to follow it."""
    stranger = await new_user(client, "stranger")
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = await opened(client, user, "前", conversation_id="secret")
    (row,) = await (await client.get("/api/chat/active", headers=user)).json()
    for path in (f"/api/chat/stream/{row['message_id']}", "/api/conversations/secret/messages"):
        response = await client.get(path, headers=stranger)
        assert response.status == 404 and "前" not in await response.text()
    for body in ({"message_id": row["message_id"]}, {"conversation_id": "secret"}):
        assert (await client.post("/api/chat/stop", json=body, headers=stranger)).status == 404
    assert await (await client.get("/api/chat/active", headers=stranger)).json() == []
    provider.gate.set()
    assert "后" in (await running.read()).decode()


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"arg":null}', b"[]", b'"x"', b"0"])
async def test_cve_2026_31949_missing_field_gets_an_error_and_no_crash(
    client: TestClient, admin: Headers, body: bytes
) -> None:
    """LibreChat: a request without its body ended the process."""
    headers = {**admin, "Content-Type": "application/json"}
    for route in ROUTES:
        if route.method == "GET" or "{" in route.path or route.path.startswith("/api/auth/log"):
            continue
        response = await client.request(route.method, route.path, data=body, headers=headers)
        assert response.status < 500, (route.path, await response.text())
        await response.read()
    assert (await client.get("/api/health")).status == 200


INJECTIONS = (
    "' OR '1'='1",
    "x' UNION SELECT digest FROM personal_tokens --",
    'x" OR 1=1 --',
    "sk-hub-' OR digest LIKE '%' --",
    "sk-hub-%",
    "sk-hub-_______________________________________",
    "'; DROP TABLE users; --",
)


@pytest.mark.parametrize("token", INJECTIONS)
@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
async def test_cve_2026_42208_sql_in_a_bearer_token_gets_401(
    client: TestClient, user: Headers, token: str, header: str
) -> None:
    """LiteLLM: on the error path, the key was inserted into the text of a query."""
    await new_token(client, user)
    value = f"Bearer {token}" if header == "Authorization" else token
    for path in ("/v1/models", "/v1/chat/completions"):
        method = "GET" if path.endswith("models") else "POST"
        response = await client.request(method, path, headers={header: value})
        assert response.status == 401
    assert (await client.get("/api/users/profile", headers=user)).status == 200


async def test_cve_2026_35030_caller_is_not_cached_by_a_part_of_the_token(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    """LiteLLM: tokens with the same beginning were one entry of the cache."""
    _, headers = await new_token(client, admin)
    token = headers["Authorization"].removeprefix("Bearer ")
    assert (await client.get("/v1/models", headers=headers)).status == 200
    for forged in (token[:-1], token[:20], token[:20] + "x" * 27, token[:-1] + "x", token + "x"):
        assert (await client.get("/v1/models", headers=bearer(forged))).status == 401
    login = admin["Authorization"].removeprefix("Bearer ")
    assert (await client.get("/api/users", headers=admin)).status == 200
    head, payload, signature = login.split(".")
    other = user["Authorization"].removeprefix("Bearer ").split(".")
    for forged in (f"{head}.{payload}.{other[2]}", f"{head}.{other[1]}.{signature}", login[:-8], login + "."):
        assert (await client.get("/api/users", headers=bearer(forged))).status == 401


@pytest.mark.parametrize(
    "host",
    [
        "localhost/api/health?",
        "localhost/api/auth/login#",
        "localhost%2Fapi%2Fhealth",
        "localhost\\api\\health",
        "x/api/health",
        "[::1",
        "localhost:99999999",
        "@localhost",
    ],
)
async def test_cve_2026_49468_host_header_does_not_change_the_authorized_route(
    client: TestClient, user: Headers, host: str
) -> None:
    """LiteLLM: the path was built from the Host header, and another path was served."""
    for headers in ({}, user):
        response = await client.get("/api/users", headers={**headers, "Host": host})
        assert response.status in (400, 401, 403, 421), response.status


async def test_x_api_key_gives_no_more_rights_than_the_same_bearer_token(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    """Elsewhere, rights were checked for one header and not for the other."""
    _, bound = await new_token(client, user, allowed_models=["other"])
    _, away = await new_token(client, user, allowed_networks=["10.0.0.0/8"])
    _, of_admin = await new_token(client, admin)
    asked = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    for token, expected in ((bound, 403), (away, 403), (of_admin, 200)):
        plain = {"x-api-key": token["Authorization"].removeprefix("Bearer ")}
        for headers in (token, plain):
            assert (await client.post("/v1/messages", json=asked, headers=headers)).status == expected
        # the header opens /v1 only
        for path in ("/api/users", "/api/conversations", "/api/tokens"):
            assert (await client.get(path, headers=plain)).status == 401


async def test_wildcard_in_the_allowed_models_of_a_token_is_literal(
    client: TestClient, user: Headers
) -> None:
    """Wildcard rights: ``*`` in a list of models is a name like any other."""
    asked = {"model": "test-model", "messages": [{"role": "user", "content": "x"}]}
    for pattern in ("*", "test-*", "all", ".*", "%"):
        _, headers = await new_token(client, user, allowed_models=[pattern])
        assert (await client.post("/v1/chat/completions", json=asked, headers=headers)).status == 403
        assert (await (await client.get("/v1/models", headers=headers)).json())["data"] == []


@pytest.mark.parametrize("who", ["user", "admin"])
async def test_access_token_cannot_create_tokens_or_sessions(client: TestClient, who: str) -> None:
    """A leaked token that could create others would outlive its revocation."""
    headers = await sign_in(client, who, f"{who}123")
    number, token = await new_token(client, headers, opens_api=True)
    for method, path, body in (
        ("POST", "/api/tokens", {"name": "more"}),
        ("GET", "/api/tokens", None),
        ("DELETE", f"/api/tokens/{number}", None),
        ("POST", "/api/auth/refresh", {}),
        ("POST", "/api/auth/logout-all", {}),
        ("GET", "/api/auth/sessions", None),
        ("PUT", "/api/users/profile", {"password": "another-password", "current_password": f"{who}123"}),
        ("POST", "/api/auth/admin/register", {"username": "eve", "email": "e@e.ee", "password": "password"}),
        ("POST", "/api/invites", {}),
    ):
        assert (await client.request(method, path, json=body, headers=token)).status == 403, path


async def test_random_bearer_tokens_get_401(client: TestClient) -> None:
    """Fuzzing: no header value gives access or causes a server error."""
    chance = random.Random(31)
    letters = [chr(number) for number in (*range(33, 127), *range(161, 255))]
    pieces = ["sk-hub-", "eyJ", ".", "..", "=", "%00", "' --", "Bearer ", "\t", "null", "{}", "demo-token "]
    for _ in range(300):
        token = "".join(chance.choice([*pieces, *letters]) for _ in range(chance.randrange(1, 60)))
        scheme = chance.choice(["Bearer ", "bearer  ", "Basic ", "", "Token "])
        for header in ({"Authorization": scheme + token}, {"x-api-key": token}):
            response = await client.get("/v1/models", headers=header)
            assert response.status == 401, (header, response.status)


URLS = (
    "http://0.0.0.0",
    "http://0",
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "http://[::ffff:7f00:1]",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]",
    "http://[64:ff9b::7f00:1]",
    "http://169.254.169.254",
    "http://127.1",
    "http://0x7f.1",
    "http://2130706433",
    "http://017700000001",
    "http://localhost.",
    "http://evil.example@127.0.0.1",
    "http://127.0.0.1#@evil.example",
    "http://127.0.0.1\\@evil.example",
    "http://evil.example\\@127.0.0.1",
    "http://127.0.0.1%2f@evil.example",
    "http:127.0.0.1",
    "http:///127.0.0.1",
    "//127.0.0.1",
    "file:///etc/passwd",
    "gopher://127.0.0.1",
    "http://\u2460\u2461\u2466.0.0.1",
)


@pytest.mark.parametrize("url", URLS)
async def test_ghsa_w5r7_4f94_vp4c_no_spelling_of_a_private_base_url_is_saved(
    client: TestClient, user: Headers, url: str
) -> None:
    """LibreChat, new-api and others: IPv4 in IPv6, ``0.0.0.0`` and addresses that parsers read
    differently.
    """
    body = {"model_provider": "openai", "api_key": "sk-of-the-tests-0123", "base_url": f"{url}/v1"}
    response = await client.post("/api/apikeys", json=body, headers=user)
    assert response.status == 400, (await response.json())["apikey"]["base_url"]


async def test_redirect_of_a_users_provider_to_a_private_address_is_not_followed(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    """Elsewhere, the URL was checked once and a redirect then followed; here the connected address is
    checked.
    """
    async with Provider() as inner:
        location = inner.base_url + "/chat/completions"
        for status in (301, 302, 303, 307, 308):
            provider.script = provider.answer(status, b"", {"Location": location})
            body = {"message": "x", "model": "test-model"}
            response = await client.post("/api/chat", json=body, headers=user)
            assert response.status == 502
            await response.read()
        assert inner.bodies == []


def test_connection_is_refused_by_the_resolved_address() -> None:
    """DNS names: the address that is connected to is checked, after the look-up."""
    make = guard.socket_factory([])
    for address in (
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "::1",
        "::ffff:10.0.0.1",
        "fe80::1",
    ):
        family = 10 if ":" in address else 2
        with pytest.raises(guard.AddressBlocked):
            make((family, 1, 6, "", (address, 80)))


async def test_concurrent_callers_are_not_confused(client: TestClient, user: Headers, admin: Headers) -> None:
    """Elsewhere, identities were mixed up under load."""
    callers: dict[str, Headers] = {"user": user, "admin": admin, "second": await new_user(client, "second")}

    async def ask(name: str) -> Any:
        body = await (await client.get("/api/users/profile", headers=callers[name])).json()
        return body["user"]["username"] == name

    assert all(await asyncio.gather(*(ask(name) for name in list(callers) * 40)))
