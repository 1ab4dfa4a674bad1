"""Text with a meaning elsewhere: in headers, logs, SQL, URLs, names and passwords."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import world
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, stream
from conftest import sign_in
from processes import ChatHub
from scripted import Provider
from test_mass_assignment import STEPS
from yarl import URL

from chathub.config import Config
from chathub.routes import ROUTES

SPLIT = "x\r\nX-Injected: yes\r\n\r\n<html>"
FORGED = "2026-01-01 00:00:00,000 ERROR chathub: forged"
METACHARACTERS = [
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE users; --",
    "') UNION SELECT password_hash, 1, 1 FROM users --",
    "\\'; DELETE FROM users WHERE 1; --",
    "%' AND randomblob(1000000000) AND '%'='",
    ":user_id :now ?1 @x $y",
    "x'6162'||char(0)",
]


# headers


async def raw(client: TestClient, request: bytes) -> tuple[list[bytes], bytes]:
    """Send exactly these bytes; returns the header lines of the response, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


@pytest.mark.parametrize(
    "line",
    [
        b"X-Request-ID: a\rX-Injected: yes",
        b"X-Request-ID: a\r\n X-Injected: yes",
        b"X-Request-ID: a%0d%0aX-Injected: yes",
        b"X-Request-ID: a\\r\\nX-Injected: yes",
        b"X-Request-ID: \xe5\x98\x8d\xe5\x98\x8aX-Injected: yes",
        b"X-Request-ID: " + b"a" * 65,
        b"X-Request-ID: \x1b[31m",
        b"X-Request-ID: <script>",
        b"Origin: http://localhost:3000\rX-Injected: yes",
        b"Origin: http://localhost:3000%0d%0aX-Injected:%20yes",
        b"Origin: http://localhost:3000\x85X-Injected: yes",
        b"Origin: http://localhost:3000\r\nOrigin: http://evil.example",
        b"X-Forwarded-For: 1.1.1.1\x00\x1b[31m",
        b"Last-Event-ID: 1-1\x0bX-Injected: yes",
        b"Idempotency-Key: a\x1f\x7f",
        b"Access-Control-Request-Headers: x\r\n\tX-Injected: yes",
    ],
)
async def test_request_header_cannot_inject_a_response_header(client: TestClient, line: bytes) -> None:
    for method in (b"GET", b"OPTIONS"):
        head, body = await raw(
            client,
            b"%b /api/health HTTP/1.1\r\nHost: localhost\r\n%b\r\nConnection: close\r\n\r\n" % (method, line),
        )
        if head[0] == b"HTTP/1.0 400 Bad Request":
            # not valid HTTP: aiohttp refuses it before it becomes a request
            assert not any(line.lower().startswith(b"x-injected") for line in head)
            continue
        assert head[0].startswith(b"HTTP/1.1 "), head
        names = [each.partition(b":")[0].lower() for each in head[1:]]
        assert b"x-injected" not in names and len(names) == len(set(names)), head
        for value in head[1:]:
            assert value.isascii() and b"\x1b" not in value and b"<" not in value and b"evil" not in value


async def test_line_ends_in_paths_queries_and_bodies_inject_no_header(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Neither our responses nor our requests to a provider get an additional header."""
    await add_model(client, admin, provider.base_url)
    await stream(client, admin)
    usual = set(provider.headers[-1])
    split = "%0d%0aX-Injected:%20yes%0d%0a%0d%0a"
    for path in (
        f"/api/{split}",
        f"/api/users?search={split}&role={split}",
        f"/api/conversations/{split}/messages",
        f"/api/files/{split}",
        f"/v1/models/{split}",
        f"/api/chat/stream/1?last_event_id={split}",
    ):
        response = await client.get(URL(path, encoded=True), headers=admin)
        assert response.status < 500 and "X-Injected" not in response.headers
    for name in ("anthropic-version", "anthropic-beta", "OpenAI-Beta", "X-Anything", "Cookie", "User-Agent"):
        body = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": SPLIT}]}
        for way in ("/v1/messages", "/v1/chat/completions"):
            response = await client.post(way, json=body, headers={**admin, name: "a;\tb\xff"})
            assert response.status < 500, await response.text()
            assert "X-Injected" not in response.headers and set(provider.headers[-1]) == usual


@pytest.mark.parametrize(
    "key", [SPLIT, "sk-a\nb", "sk-a\rb", "sk-a\0b", "sk-a b", "sk-é", "sk-\x7f", "s\u2028k"]
)
async def test_api_key_with_characters_that_break_a_header_gets_400(
    client: TestClient, user: Headers, key: str
) -> None:
    body = {"model_provider": "openai", "api_key": key}
    assert (await world.refusal(await client.post("/api/apikeys", json=body, headers=user)))[0] == 400


@pytest.mark.parametrize(
    "name", ["gemini-x/../../files", "gemini-x?key=1&alt=", "gemini-x#", "gemini-\r\nX: y"]
)
async def test_model_name_cannot_change_the_path_of_a_providers_url(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, name: str
) -> None:
    """The URL of Gemini contains the model's name, and users may name any model of that family."""
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (google,) = [row for row in listed if row["provider_key"] == "google"]
    change = {"default_base_url": provider.base_url, "protocol": "gemini", "needs_key": False}
    assert (await client.put(f"/api/providers/{google['id']}", json=change, headers=admin)).status == 200
    response = await client.post("/api/chat", json={"message": "x", "model": name}, headers=user)
    assert response.status < 500 or response.status == 502
    for body in provider.bodies:
        assert body["_path"].startswith("/v1/models/gemini-") and body["_path"].endswith(
            ":streamGenerateContent"
        )


# the log


async def test_log_entry_is_one_line_for_any_request(tmp_path: Path) -> None:
    """After a table is dropped, each request that needs it is an error, and the error is logged with its
    path.
    """
    database = tmp_path / "chathub.db"
    evil = f"x\n{FORGED}\r\x1b[2J\x1b]0;title\x07\u2028{FORGED}\u202e\x85{FORGED}"
    async with ChatHub(database) as hub:
        client = await hub.client()
        headers = await sign_in(client, "user", "user123")
        connection = sqlite3.connect(database)
        connection.executescript("DROP TABLE files; DROP TABLE conversations;")
        connection.close()
        for path in (f"/api/files/{evil}", f"/api/conversations/{evil}/messages"):
            async with client.get(URL.build(path=path), headers=headers) as response:
                assert response.status == 500
                await world.refusal(response)
        log = hub.errors
    entries = [line for line in log.split("\n") if line and not line.startswith("    ")]
    assert len(entries) == 2 and all("]: error at GET /api/" in line for line in entries), log
    assert FORGED in log and not any(line.startswith(FORGED) for line in log.splitlines())
    assert all(character == "\n" or character.isprintable() for character in log)


async def test_providers_text_and_user_names_cannot_forge_log_entries(
    tmp_path: Path, provider: Provider
) -> None:
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        provider_body = {
            **{"provider_key": "odd", "display_name": f"P\n{FORGED}", "default_base_url": provider.base_url},
            "needs_key": False,
        }
        model = {"model_name": f"m\n{FORGED}", "display_name": "M", "model_provider": "odd"}
        for path, body in (("/api/providers", provider_body), ("/api/models", model)):
            async with client.post(path, json=body, headers=admin) as response:
                assert response.status == 200
        said = {"error": {"message": f"bad\n{FORGED}\x1b[31m"}}
        scripts = [provider.answer(status, said) for status in (400, 401, 429, 500)]
        scripts.append(provider.answer(200, b"\x00\x1b[31m\n" + FORGED.encode()))
        for script in scripts:
            provider.script = script
            chat = {"message": "x", "model": model["model_name"]}
            async with client.post("/api/chat", json=chat, headers=admin) as response:
                assert response.status in (429, 502)
                await response.read()
        for name in (f"x\n{FORGED}", f"\x1b[31m{FORGED}"):
            async with client.post("/api/auth/login", json={"username": name, "password": "x"}) as response:
                assert response.status == 401
        log = hub.errors + hub.output
    assert not any(line.startswith((FORGED, "\x1b")) for line in log.splitlines()) and "\x1b" not in log


# SQL


@pytest.mark.parametrize("text", METACHARACTERS)
async def test_metacharacters_in_every_field_of_every_body_are_literal(
    client: TestClient, provider: Provider, config: Config, text: str
) -> None:
    there = await world.build(client, provider, config.database)
    # changes of an account would end the session that makes the other requests
    ids = {**there.owned, "model_id": 2, "provider_id": 2, "user_id": 3, "name": "pro"}
    before = there.rows()
    tables = {table: len(rows) for table, rows in before.items()}
    for who, method, path, body in STEPS:
        (route,) = [route for route in ROUTES if (route.method, route.path) == (method, path)]
        fields = [field for kind in world.structs_of(route) for field in kind.__struct_fields__] or list(body)
        for field in fields:
            response = await client.request(
                method,
                world.path_of(route, ids),
                json={**body, field: text},
                headers=there.headers[who],
            )
            said = await response.text()
            assert response.status < 500 or response.status == 502, (path, field, said)
            if response.status >= 400:
                await world.refusal(response)
    after = there.rows()
    assert after.keys() == before.keys()
    assert all(len(rows) >= tables[table] for table, rows in after.items())
    assert {row[0] for row in after["users"]} >= {row[0] for row in before["users"]}
    # the text itself was stored, and it changed no password and no role
    connection = sqlite3.connect(config.database)
    titles = [row[0] for row in connection.execute("SELECT title FROM conversations")]
    roles = connection.execute("SELECT count(*) FROM users WHERE role = 'admin'").fetchone()[0]
    connection.close()
    assert text in titles and roles == 1
    await sign_in(client, "stranger", world.PASSWORD)


@pytest.mark.parametrize("text", METACHARACTERS)
async def test_metacharacters_in_paths_and_queries_find_nothing(
    client: TestClient, admin: Headers, text: str
) -> None:
    for path, query in (
        ("/api/users", {"search": text}),
        ("/api/models", {"provider": text}),
        ("/api/models", {"type": text}),
    ):
        found = await (await client.get(path, params=query, headers=admin)).json()
        assert (found["users"] if path == "/api/users" else found) == []
    for name in ("page", "per_page", "role"):
        assert (await client.get("/api/users", params={name: text}, headers=admin)).status == 400
    for name in ("limit", "user_id"):
        assert (await client.get("/api/conversations", params={name: text}, headers=admin)).status == 400
    for route in ROUTES:
        if world.parameters(route) and route.method in ("GET", "DELETE"):
            path = world.path_of(route, {}, default=URL.build(path="/" + text).raw_path[1:])
            response = await client.request(route.method, URL(path, encoded=True), headers=admin)
            assert (await world.refusal(response))[0] == 404, path


@pytest.mark.parametrize("text", [*METACHARACTERS, "admin' --", "admin'/*", "admin\x00", "admin\\"])
async def test_metacharacters_do_not_allow_a_login(client: TestClient, text: str) -> None:
    for body in ({"username": text, "password": "admin123"}, {"username": "admin", "password": text}):
        response = await client.post("/api/auth/login", json=body)
        assert (await world.refusal(response))[0] in (400, 401)


# names


async def register(client: TestClient, name: str, email: str, password: str = world.PASSWORD) -> int:
    body = {"username": name, "email": email, "password": password}
    response = await client.post("/api/auth/register", json=body)
    if response.status != 200:
        assert (await world.refusal(response))[0] == 400
    return response.status


@pytest.mark.parametrize(
    "name",
    [
        "ADMIN",
        "Ａｄｍｉｎ",
        "𝐚𝐝𝐦𝐢𝐧",
        "ⓐⓓⓜⓘⓝ",
        "admın".replace("ı", "i"),
        " admin ",
        "\u3000admin\u00a0",
        "ªdmin",
        "admiⁿ",
    ],
)
async def test_name_in_other_letters_that_fold_to_an_existing_one_gets_400(
    client: TestClient, name: str
) -> None:
    assert await register(client, name, "new@example.com") == 400


@pytest.mark.parametrize(
    "character",
    [
        *("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u061c", "\u180e", "\u202e", "\u2066", "\u2028"),
        # Unicode counts these as letters and marks, but they are invisible
        *("\ufe0f", "\ufe00", "\u034f", "\u3164", "\u115f", "\u1160", "\uffa0", "\u2800", "\u17b4", "\u17b5"),
        *("\u180b", "\U000e0100", "\U000e0041", "\ufff9", "\U0001d173"),
    ],
    ids=ascii,
)
async def test_name_or_address_with_invisible_characters_gets_400(client: TestClient, character: str) -> None:
    for name in (f"admin{character}", f"ad{character}min", f"{character}admin", character * 3):
        assert await register(client, name, "new@example.com") == 400, ascii(name)
    assert await register(client, "newcomer", f"admin{character}@chathub.com") == 400


@pytest.mark.parametrize(
    "blank", ["  ", "\u00a0", "\u2003", "\u3000", "\u1680", "\u2009", "\u202f", "\t", "\v"]
)
async def test_names_that_differ_only_in_the_kind_of_blank_are_the_same(
    client: TestClient, blank: str
) -> None:
    assert await register(client, "two words", "first@example.com") == 200
    assert await register(client, f"two{blank}words", "second@example.com") == 400


async def test_changed_name_follows_the_same_rules(client: TestClient, admin: Headers, user: Headers) -> None:
    for name in ("ADMIN", "Ａｄｍｉｎ", "admin\u200b", "admin\ufe0f", "admin\u3164", "ad  min"):
        response = await client.put("/api/users/profile", json={"username": name}, headers=user)
        assert (await world.refusal(response))[0] == 400
        response = await client.put("/api/users/2", json={"username": name}, headers=admin)
        assert (await world.refusal(response))[0] == 400
        body = {"username": name, "email": "n@example.com", "password": world.PASSWORD}
        response = await client.post("/api/auth/admin/register", json=body, headers=admin)
        assert (await world.refusal(response))[0] == 400


# passwords


async def test_password_is_compared_to_its_last_byte(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    """bcrypt reads 72 bytes: of a longer password only the beginning would count."""
    edge = "密" * 23 + "abc"
    assert len(edge.encode()) == 72
    assert await register(client, "edge", "edge@example.com", edge) == 200
    await sign_in(client, "edge", edge)
    for other in (edge + "x", edge[:-1], edge + "\u0301", edge[:-1] + "C", edge + "🔑"):
        body = {"username": "edge", "password": other}
        assert (await world.refusal(await client.post("/api/auth/login", json=body)))[0] == 401
    for bad in (edge + "x", "🔑" * 19, "12345", "nul\0nul", "x" * 10_000):
        body = {"username": "other", "email": "o@example.com", "password": bad}
        change = {"password": bad, "current_password": "user123"}
        for response in (
            await client.post("/api/auth/register", json=body),
            await client.post("/api/auth/admin/register", json=body, headers=admin),
            await client.put("/api/users/2", json={"password": bad}, headers=admin),
            await client.put("/api/users/profile", json=change, headers=user),
        ):
            assert (await world.refusal(response))[0] == 400
    await sign_in(client, "user", "user123")


@pytest.mark.parametrize(
    "password", ["🔑🔑🔑🔑🔑🔑", "      ", "\u3000" * 6, "\u200b" * 6, "e\u0301" * 6, "\t\n\r\x1b\x7f\x01"]
)
async def test_six_characters_of_any_kind_are_a_password(client: TestClient, password: str) -> None:
    assert await register(client, "odd", "odd@example.com", password) == 200
    await sign_in(client, "odd", password)
    for other in (password.strip(), password[:-1], password + " ", password.replace("e\u0301", "é")):
        if other != password:
            response = await client.post("/api/auth/login", json={"username": "odd", "password": other})
            assert (await world.refusal(response))[0] in (401, 429)


@pytest.mark.parametrize("value", [1, 1.5, True, None, [], {}, ["user123"], {"$ne": ""}, {"$gt": ""}])
async def test_password_that_is_not_text_gets_400(client: TestClient, value: Any) -> None:
    body = {"username": "user", "password": value}
    assert (await world.refusal(await client.post("/api/auth/login", json=body)))[0] == 400
