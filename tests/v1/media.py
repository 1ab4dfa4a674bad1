"""Shared by the tests of media at /v1: a provider that records the bytes of what it gets, and rows of the
ledger."""

import asyncio
import sqlite3
from contextlib import closing
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gateway import Headers, add
from scripted import Script


class Received(NamedTuple):
    """One request as the provider got it."""

    path: str
    headers: Any
    body: bytes

    @property
    def parts(self) -> list[tuple[str, str | None, str, bytes]]:
        """Name, file name, media type and bytes of each part, as Python's own mail parser reads them."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        found = []
        for part in BytesParser(policy=HTTP).parsebytes(head + self.body).iter_parts():
            params = part["Content-Disposition"].params
            kind = part["Content-Type"].content_type if part["Content-Type"] else ""
            found.append((params["name"], params.get("filename"), kind, part.get_payload(decode=True)))
        return found


class MediaProvider:
    """Responds to every POST with ``script``. ``closed`` is set when ChatHub closes a connection early."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.sizes: list[int] = []
        self.keeps_bodies = True
        self.gate = asyncio.Event()
        self.closed = asyncio.Event()
        self.script: Script = self.respond(b"{}", "application/json")
        app = web.Application(client_max_size=512 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._handle)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server(shutdown_timeout=0.1)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.gate.set()
        await self._server.close()

    @property
    def base_url(self) -> str:
        return str(self._server.make_url("/v1"))

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.keeps_bodies:
            body = await request.read()
            self.sizes.append(len(body))
        else:
            body, size = b"", 0
            while data := await request.content.readany():
                size += len(data)
            self.sizes.append(size)
        self.received.append(Received(request.path, request.headers.copy(), body))
        try:
            return await self.script(request)
        except (asyncio.CancelledError, ConnectionError):
            self.closed.set()
            raise

    def respond(self, body: bytes, content_type: str, status: int = 200) -> Script:
        async def run(request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, headers={"Content-Type": content_type})

        return run

    def pieces(
        self, *pieces: bytes, content_type: str = "audio/mpeg", length: bool = False, cut: bool = False
    ) -> Script:
        """Send the pieces; before the last one wait for ``gate``. ``cut``: drop the connection then."""

        async def run(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": content_type})
            if length:
                response.content_length = sum(map(len, pieces))
            await response.prepare(request)
            for piece in pieces[:-1]:
                await response.write(piece)
            await self.gate.wait()
            if cut:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(pieces[-1])
            await response.write_eof()
            return response

        return run


async def add_media(client: TestClient, admin: Headers, provider: MediaProvider, **model: Any) -> None:
    """The models ``voice`` (audio) and ``painter`` (image)."""
    await add(client, admin, provider.base_url, name="voice", model_type="audio", **model)
    await add(client, admin, provider.base_url, name="painter", model_type="image", **model)


def ledger(database: Path) -> list[dict[str, Any]]:
    """The rows of the ledger, the oldest first."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM ledger ORDER BY id")]
