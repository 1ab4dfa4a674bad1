"""Shared by the tests of media at /v1: a provider that records the bytes of what it gets, and rows of the
ledger."""

import asyncio
import sqlite3
from contextlib import closing
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers, add
from scripted import Script, ScriptedServer


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


class MediaProvider(ScriptedServer):
    """Responds to every POST with ``script``. ``closed`` is set when ChatHub closes a connection early."""

    def __init__(self) -> None:
        super().__init__(512 * 1024 * 1024)
        self.received: list[Received] = []
        self.sizes: list[int] = []
        self.keeps_bodies = True
        self.closed = asyncio.Event()
        self.script: Script = self.respond(b"{}", "application/json")

    @property
    def last(self) -> Received:
        return self.received[-1]

    async def _record(self, request: web.Request) -> None:
        if self.keeps_bodies:
            body = await request.read()
            self.sizes.append(len(body))
        else:
            body, size = b"", 0
            while data := await request.content.readany():
                size += len(data)
            self.sizes.append(size)
        self.received.append(Received(request.path, request.headers.copy(), body))

    def _note_closed(self) -> None:
        self.closed.set()

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
