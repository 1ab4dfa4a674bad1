"""Request bodies with a Content-Encoding: refused on every path, not decompressed, and not read to
the end.
"""

import asyncio
import gzip
import json

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient
from listening import listening

from chathub.app import create_app
from chathub.app_keys import CONFIG, METRICS
from chathub.config import Config
from chathub.metrics.metrics import Metrics

MIB = 1024 * 1024
PACKED = gzip.compress(b" " * 1000)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/auth/login"),
        ("POST", "/api/chat"),
        ("GET", "/api/health"),
        ("GET", "/api/nowhere"),
        ("PATCH", "/api/health"),
        ("GET", "/"),
    ],
)
async def test_compressed_body_gets_415_on_every_api_path(client: TestClient, method: str, path: str) -> None:
    response = await client.request(method, path, data=PACKED, headers={"Content-Encoding": "gzip"})
    answer = await response.json()
    assert (response.status, answer["success"]) == (415, False)
    assert answer["error"] == answer["message"] and "Content-Encoding" in answer["error"]
    assert response.headers["Connection"] == "close" and "X-Request-ID" in response.headers


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", "invalid_request_error"),
        ("/v1/embeddings", "invalid_request_error"),
        ("/v1/nowhere", "invalid_request_error"),
        ("/v1/messages", "invalid_request_error"),
    ],
)
async def test_compressed_body_gets_415_in_the_clients_format(
    client: TestClient, path: str, kind: str
) -> None:
    response = await client.post(path, data=PACKED, headers={"Content-Encoding": "br"})
    answer = await response.json()
    assert (response.status, answer["error"]["type"]) == (415, kind)
    assert ("type" in answer) == path.startswith("/v1/messages")


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "zstd", "x", "identity, gzip"])
async def test_every_content_encoding_but_identity_gets_415(client: TestClient, coding: str) -> None:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    assert (await client.post("/api/auth/login", data=b"{}", headers=headers)).status == 415


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_body_with_identity_encoding_is_accepted(client: TestClient, coding: str) -> None:
    body = json.dumps({"username": "admin", "password": "admin123"}).encode()
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    assert (await client.post("/api/auth/login", data=body, headers=headers)).status == 200


async def test_aiohttp_does_not_decompress_a_body(config: Config) -> None:
    """The middleware refuses compressed bodies; this test shows that aiohttp does not decompress them on its
    own.
    """

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application()
    app[CONFIG] = config
    app[METRICS] = Metrics()
    app.router.add_post("/", echo)
    async with listening(app) as port, ClientSession() as session:
        sent = session.post(f"http://127.0.0.1:{port}/", data=PACKED, headers={"Content-Encoding": "gzip"})
        async with sent as response:
            assert await response.read() == PACKED


@pytest.mark.parametrize("path", [b"/api/auth/login", b"/api/health", b"/nowhere"])
async def test_rest_of_a_compressed_body_is_not_read_and_the_connection_closes(
    config: Config, path: bytes
) -> None:
    """A little is sent because the sockets' buffers take it; a server that drains the body would take all of
    it.
    """
    whole = 256 * MIB
    async with listening(create_app(config)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: %d\r\n\r\n" % (path, whole)
        )
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < whole:
                writer.write(b"\0" * MIB)
                await writer.drain()
                sent += MIB
        assert sent < 64 * MIB
        writer.close()


async def test_client_can_read_the_415_while_it_still_sends(config: Config) -> None:
    async with listening(create_app(config)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: 100000000\r\n\r\n" + b"\0" * MIB
        )
        # the server's half of the connection is closed: this ends
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 415") and b"Connection: close" in head
        assert json.loads(body)["success"] is False
        writer.close()
