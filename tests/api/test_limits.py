"""Limits on what one client may send, keep open and make the server wait for; security headers on every
response.
"""

import asyncio
import base64
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from chats import add_model, read_events, stream
from conftest import Connect, sign_in
from processes import ChatHub
from scripted import Provider, chunk

from chathub.app import create_app
from chathub.config import Config
from chathub.routes import ROUTES, Route
from chathub.sentences.tables import ERRORS
from chathub.server.protocol import Runner

Headers = dict[str, str]
Serve = Callable[..., Awaitable[int]]

MIB = 1024 * 1024
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Server": "ChatHub",
}
JSON = {"Content-Type": "application/json"}
PNG = b"\x89PNG\r\n\x1a\n"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def serve(config: Config) -> AsyncIterator[Serve]:
    """Start the server as the command line does, in this process; returns its port."""
    runners = []

    async def start(changes: dict[str, Any] | None = None, **connection: Any) -> int:
        runner = Runner(create_app(replace(config, **(changes or {}))), **connection)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def say(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """Send bytes, with pauses if given; returns what is received until the server closes, at most half a
    minute later.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    sending = asyncio.create_task(send())
    received = b""
    try:
        async with asyncio.timeout(30):
            # piece by piece: what came before the connection was reset counts
            while piece := await reader.read(65_536):
                received += piece
    except ConnectionResetError:
        pass
    finally:
        sending.cancel()
        await asyncio.wait([sending])
        writer.close()
    return received


def refused(answer: bytes, status: int) -> str:
    """The message of an error response, with all its headers."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].split()[1] == str(status), answer[:300]
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers.items() >= SAFE.items() and re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-ID"])
    said = json.loads(body)
    assert said == {"error": said["error"], "message": said["error"], "code": said["code"], "success": False}
    assert said["error"] and said["code"] in ERRORS
    return str(said["error"])


# malformed requests

NO_REQUESTS = {
    "garbage": b"GARBAGE\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "a long line": b"GET /api/health?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": b"GET /api/health HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    "a header without a name": b"GET /api/health HTTP/1.1\r\n: x\r\n\r\n",
    "a control character": b"GET /a\x01b HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("request_", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
async def test_malformed_request_gets_400_as_json_and_the_connection_closes(
    serve: Serve, request_: bytes
) -> None:
    port = await serve()
    assert "HTTP" in refused(await say(port, request_), 400)
    answer = await say(port, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_started_server_answers_a_malformed_request_with_json(tmp_path: Path) -> None:
    """Fails if aiohttp no longer calls our runner for the server."""
    async with ChatHub(tmp_path / "chathub.db") as hub:
        refused(await say(hub.port, NO_REQUESTS["garbage"]), 400)


@pytest.mark.parametrize("path", [b"/api/health", b"/nowhere"])
async def test_expect_100_continue_is_answered_and_other_expectations_get_417(
    serve: Serve, path: bytes
) -> None:
    port = await serve()
    head = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: "
    assert "Expect" in refused(await say(port, head + b"wonders\r\n\r\n"), 417)
    assert (await say(port, head + b"100-continue\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue")


async def test_refused_expectation_is_in_the_format_of_a_program(serve: Serve) -> None:
    port = await serve()
    head = b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n"
    answer = await say(port, head + b"Expect: wonders\r\n\r\n")
    assert b"X-ChatHub-Code: expectation_unsupported" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "error"


# slow senders


async def test_slow_request_headers_close_the_connection(serve: Serve) -> None:
    port = await serve(keepalive_timeout=0.5)
    drops = [b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n", *[b"X-Drop: 1\r\n"] * 600]
    for pieces in (drops, [b""]):
        assert await say(port, *pieces, pause=0.1) == b""
    # and so is the second request of a connection
    whole = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await say(port, whole, *drops, pause=0.1)).count(b"HTTP/1.1 200") == 1


async def test_request_headers_time_out_after_30_seconds(config: Config) -> None:
    runner = Runner(create_app(config))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    assert runner.server is not None
    async with asyncio.timeout(30):
        while not runner.server.connections:
            await asyncio.sleep(0.01)
    assert [connection.keepalive_timeout for connection in runner.server.connections] == [30]
    writer.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "status"), [(b"/api/auth/login", 400), (b"/api/nowhere", 404), (b"/api/chat", 401)]
)
async def test_slow_request_body_ends_with_an_error_response(serve: Serve, path: bytes, status: int) -> None:
    port = await serve({"body_seconds": 0.4}, lingering_time=1.5)
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n" % path
    answer = await say(port, head, *[b" "] * 900, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    if status == 400:
        assert "超时" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


# bodies


def each(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


def path_of(route: Route) -> str:
    return re.sub(r"\{[^}]+\}", "1", route.path)


NO_BODY = (
    "/toggle",
    "/reset-password",
    "/logout",
    "/logout-all",
    "/refresh",
    "/test",
    "/regenerate",
    "/cancel",
)
# where a login is a header, which needs a preflight: see test_media_forms.py
FORMS = ("/v1/images/edits", "/v1/audio/transcriptions", "/v1/audio/translations")
READERS = [route for route in ROUTES if route.method in ("POST", "PUT") and not route.path.endswith(NO_BODY)]


@pytest.mark.shared
@each([route for route in READERS if route.path not in FORMS])
async def test_body_with_a_content_type_other_than_json_gets_415(
    client: TestClient, admin: Headers, route: Route
) -> None:
    """A page of another origin may send other content types without a preflight, as a form or as text."""
    body = b'{"a": 1}'
    for named in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "nonsense",
        "application/jsonp",
        "application/octet-stream",
    ):
        headers = {**admin, "Content-Type": named}
        response = await client.request(route.method, path_of(route), data=body, headers=headers)
        assert response.status == 415, (named, await response.text())
        assert "application/json" in str((await response.json())["error"])
    for named in ("application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"):
        headers = {**admin, "Content-Type": named}
        response = await client.request(route.method, path_of(route), data=body, headers=headers)
        assert response.status != 415
    # nor is an empty text
    headers = {**admin, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.request(route.method, path_of(route), headers=headers)).status != 415


CHATTED = b'{"message":"x","model":"test-model","%b":%b}'
DEEP = {"arrays": (b"[", b"]"), "objects": (b'{"a":', b"}")}
PLACES = [
    (
        "/api/chat",
        CHATTED,
        ("response_format", "tools", "tool_choice"),
    ),
    (
        "/api/chat/stream",
        CHATTED,
        ("response_format", "tools", "zzz"),
    ),
    ("/api/chat/save-partial", b'{"conversation_id":"x","%b":%b}', ("message_id", "zzz")),
    (
        "/v1/chat/completions",
        b'{"model":"test-model","messages":[{"role":"user","content":"x"}],"%b":%b}',
        ("tools", "response_format", "metadata", "stream_options", "stop"),
    ),
    (
        "/v1/messages",
        b'{"model":"test-model","max_tokens":5,"messages":[{"role":"user","content":"x"}],"%b":%b}',
        ("tools", "system", "metadata", "thinking"),
    ),
    ("/v1/embeddings", b'{"model":"vectors","%b":%b}', ("input", "zzz")),
]


@pytest.mark.parametrize("brackets", DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize(("path", "body", "fields"), PLACES, ids=[path for path, _, _ in PLACES])
async def test_excessive_nesting_in_any_field_gets_400(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    path: str,
    body: bytes,
    fields: tuple[str, ...],
    brackets: tuple[bytes, bytes],
) -> None:
    flags = {"supports_function_calling": True}
    await add_model(client, admin, provider.base_url, **flags)
    await add_model(client, admin, provider.base_url, "vectors", model_type="embedding")
    opening, closing = brackets
    for field in fields:
        deep = opening * 100_000 + b"1" + closing * 100_000
        for value in (deep, b"[%b]" % deep, b'[{"function":%b}]' % deep, b'{"type":%b}' % deep):
            response = await client.post(path, data=body % (field.encode(), value), headers={**admin, **JSON})
            assert response.status == 400, (field, await response.text())
        assert (await client.get("/api/health")).status == 200
    assert provider.bodies == []


@pytest.mark.parametrize("depth", [50, 200, 490, 900, 1000, 1100, 3000])
async def test_deep_nesting_is_forwarded_or_refused_without_a_server_error(
    client: TestClient, admin: Headers, provider: Provider, depth: int
) -> None:
    await add_model(client, admin, provider.base_url, supports_function_calling=True)
    await add_model(client, admin, provider.base_url, "vectors", model_type="embedding")
    for path, body, fields in PLACES:
        for field in fields:
            for opening, closing in DEEP.values():
                deep = opening * depth + b"1" + closing * depth
                data = body % (field.encode(), deep)
                response = await client.post(path, data=data, headers={**admin, **JSON})
                assert response.status not in (500, 503), (path, field, await response.text())
                await response.read()


def image(mib: float) -> str:
    data = PNG + bytes(int(mib * MIB) - len(PNG))
    return "data:image/png;base64," + base64.b64encode(data).decode()


async def test_images_up_to_the_documented_size_are_accepted_and_the_413_states_the_limit(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True)
    question = {"message": "x", "model": "test-model"}
    for images, status in (
        ([image(5), image(5), image(5), image(2.9)], 200),
        ([image(5)] * 8, 413),
    ):
        body = io.BytesIO(json.dumps(question | {"images": images}).encode())
        async with client.post("/api/chat", data=body, headers={**admin, **JSON}) as response:
            assert response.status == status, await response.text()
            said = await response.text()
    assert "24 MiB" in said
    data, headers = io.BytesIO(b" " * (MIB + 1)), {**admin, **JSON}
    async with client.post("/api/models", data=data, headers=headers) as response:
        assert response.status == 413 and "1 MiB" in (await response.json())["error"]
    for name in ("docs/api.zh-CN.md", "docs/using.md", "docs/using.zh-CN.md"):
        assert "18 MiB" in (ROOT / name).read_text("utf-8"), name


# lists


async def test_all_conversations_are_listed_unless_a_limit_is_given(
    client: TestClient, user: Headers, provider: Provider, admin: Headers
) -> None:
    await add_model(client, admin, provider.base_url)
    for number in range(3):
        await stream(client, user, conversation_id=f"c{number}")
    for query, status, count in (
        ("", 200, 3),
        ("?limit=2", 200, 2),
        ("?limit=1000", 200, 3),
        ("?limit=1001", 400, 4),
        ("?limit=0", 400, 4),
    ):
        response = await client.get("/api/conversations" + query, headers=user)
        assert response.status == status and len(await response.json()) == count


# concurrent streams


async def test_concurrent_streams_of_a_user_are_limited(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(replace(config, streams_per_user=3))
    admin = await sign_in(client, "admin", "admin123")
    user = await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("…")], stall_after=1)
    question = {"message": "x", "model": "test-model"}
    program = {"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "x"}]}

    first = await client.post("/api/chat/stream", json=question, headers=user)
    start = json.loads((await first.content.readline())[6:])
    resumed = await client.get(f"/api/chat/stream/{start['message_id']}", headers=user)
    forwarded = await client.post("/v1/chat/completions", json=program, headers=user)
    assert [first.status, resumed.status, forwarded.status] == [200, 200, 200]

    async def more(headers: Headers) -> list[ClientResponse]:
        return [
            await client.post("/api/chat/stream", json=question, headers=headers),
            await client.post("/api/chat", json=question, headers=headers),
            await client.get(f"/api/chat/stream/{start['message_id']}", headers=headers),
            await client.post("/api/messages/1/regenerate", headers=headers),
            await client.put("/api/messages/1", json={"content": "x"}, headers=headers),
            await client.post("/v1/chat/completions", json=program, headers=headers),
            await client.post("/v1/messages", json=program | {"max_tokens": 5}, headers=headers),
            await client.post("/v1/embeddings", json={"model": "m", "input": "x"}, headers=headers),
        ]

    for response in await more(user):
        said = str((await response.json())["error"])
        assert response.status == 429 and ("最多 3 个" in said or "3 at most" in said)
    assert len(provider.bodies) == 2
    # other users are not affected, and requests without a stream are not counted
    other = await client.post("/v1/chat/completions", json=program, headers=admin)
    assert other.status == 200
    assert (await client.get("/api/conversations", headers=user)).status == 200

    # a client that disconnects releases its place
    forwarded.close()

    async def has_place() -> bool:
        async with client.post("/v1/embeddings", json={"model": "m", "input": "x"}, headers=user) as response:
            return response.status != 429

    async with asyncio.timeout(30):
        while not await has_place():
            await asyncio.sleep(0.02)
    # and so does one whose reply ends
    await client.post("/api/chat/stop", json={"message_id": start["message_id"]}, headers=user)
    for response in (first, resumed):
        await response.read()
    provider.script = provider.stream([chunk("x"), chunk(finish="stop")])
    for _ in range(5):
        again = await client.post("/api/chat/stream", json=question, headers=user)
        assert (await read_events(again))[-1]["type"] == "end"
    other.close()


async def test_refused_turn_releases_its_place_among_the_concurrent_streams(
    connect: Connect, config: Config
) -> None:
    client = await connect(replace(config, streams_per_user=1))
    user = await sign_in(client, "user", "user123")
    for _ in range(3):
        response = await client.post("/api/chat", json={"message": "x", "model": "nothing"}, headers=user)
        assert response.status == 400
        response = await client.post("/api/chat/stream", data=b"{", headers={**user, **JSON})
        assert response.status == 400


# headers


def assert_headers(response: ClientResponse, number: str | None = None) -> None:
    where = (response.method, response.url, response.status)
    is_page = response.content_type == "text/html"
    for name, value in SAFE.items():
        (sent,) = response.headers.getall(name)
        if is_page and name == "Content-Security-Policy":
            # a page may have styles of its own, and still loads nothing
            assert sent.startswith("default-src 'none'; style-src 'sha256-") and "script" not in sent, where
            assert "frame-ancestors 'none'" in sent, where
        else:
            assert sent == value, where
    (given,) = response.headers.getall("X-Request-ID")
    assert given == number if number else re.fullmatch(r"[0-9a-f]{16}", given), where


@each(list(ROUTES))
async def test_every_response_of_every_route_has_the_security_headers(
    client: TestClient, admin: Headers, user: Headers, route: Route
) -> None:
    path = re.sub(r"\{[^}]+\}", "99999", route.path)
    page = {"Origin": "http://localhost:3000"}
    ask = {**page, "Access-Control-Request-Method": route.method}
    for method, headers, data in (
        (route.method, {}, None),
        (route.method, user, None),
        (route.method, {**admin, **page}, None),
        (route.method, {**admin, **JSON}, b"{}" if route.method in ("POST", "PUT") else None),
        (route.method, {**admin, **JSON}, b"{" if route.method in ("POST", "PUT") else None),
        ("HEAD", admin, None),
        ("PATCH", admin, None),
        ("OPTIONS", {}, None),
        ("OPTIONS", ask, None),
        ("OPTIONS", {**ask, "Origin": "https://evil.example.com"}, None),
    ):
        async with client.request(method, path, headers=headers, data=data) as response:
            assert_headers(response)
        async with client.request(
            method, path, headers={**headers, "X-Request-ID": "mine-1"}, data=data
        ) as response:
            assert_headers(response, "mine-1")
    async with client.get(
        path + "/nowhere/at/all", headers={"X-Request-ID": "a b\tc" + "x" * 99}
    ) as response:
        assert_headers(response)


async def test_streams_and_large_and_failed_responses_have_the_security_headers_too(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    program = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    own = {**admin, "X-Request-ID": "stream-1"}
    for path, body in (
        ("/api/chat/stream", {"message": "x", "model": "test-model"}),
        ("/api/chat/stream", {"message": "x", "model": "unknown"}),
        ("/v1/chat/completions", program | {"stream": True}),
        ("/v1/messages", program | {"stream": True}),
        ("/v1/chat/completions", program),
    ):
        async with client.post(path, json=body, headers=own) as response:
            assert response.status == 200
            assert_headers(response, "stream-1")
            await response.read()
    async with client.post("/api/auth/login", data=io.BytesIO(b" " * (MIB + 1)), headers=JSON) as response:
        assert response.status == 413
        assert_headers(response)
    provider.script = provider.answer(500, {"error": {"message": "no"}})
    async with client.post("/v1/chat/completions", json=program, headers=own) as response:
        assert response.status == 502
        assert_headers(response, "stream-1")
