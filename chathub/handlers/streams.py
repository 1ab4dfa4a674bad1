"""Streams to clients: Server-Sent Events (WHATWG HTML, 9.2) of chats, and gateway responses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from chathub.app_keys import CONFIG
from chathub.formats.sse import frame
from chathub.handlers.http import base_path_of
from chathub.handlers.response_writer import ResponseWriter

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # no-transform and X-Accel-Buffering keep proxies from compressing and buffering
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """A stream of events, each with one ``data:`` line of JSON; several events may go in one write."""

    def __init__(self, request: web.Request, writer: ResponseWriter) -> None:
        self.response = writer.response
        self.base_path = base_path_of(request)
        self._writer = writer
        self._beat_after = request.app[CONFIG].heartbeat_seconds / 2
        self._written_at = time.monotonic()

    @classmethod
    async def begin(cls, request: web.Request) -> EventStream:
        """Send the head. From now on an error is sent as an event."""
        response = web.StreamResponse(headers=HEADERS)
        return cls(request, await ResponseWriter.begin(request, response))

    async def send(self, *events: tuple[bytes, bytes]) -> None:
        """Write events, each given as its JSON and its id (empty: none).

        Raises:
            ConnectionError: the client left, or has not read anything for long.
        """
        await self._write(b"".join([frame(payload, event_id) for payload, event_id in events]))

    async def beat(self) -> None:
        """Write a heartbeat if nothing was written for a while: a newline, because the page parses any other
        line as JSON."""
        if time.monotonic() - self._written_at >= self._beat_after:
            await self._write(b"\n")

    async def _write(self, data: bytes) -> None:
        self._written_at = time.monotonic()
        await self._writer.write(data)

    async def close(self) -> None:
        await self._writer.end()

    def abort(self) -> None:
        """Drop the connection of a client that does not read."""
        self._writer.abort()


class LazyResponse:
    """The sink of a gateway request: a stream whose head is sent with its first bytes, so that a failure
    before them can become a status. ``is_lost``: the client has left, and the server cancels the handler."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._writer: ResponseWriter | None = None
        self.has_ended = False
        self.is_lost = False
        self.headers: dict[str, str] = {}

    @property
    def has_begun(self) -> bool:
        return self._writer is not None

    @property
    def response(self) -> web.StreamResponse:
        """The response, once it has begun.

        Raises:
            ConnectionError: the client left.
        """
        if self._writer is None:
            raise ConnectionResetError("the client left")
        return self._writer.response

    def lose(self) -> None:
        self.is_lost = True

    async def write(self, data: bytes) -> None:
        """Send some bytes, and the head before the first of them."""
        if data and not self.is_lost:
            with self._losing():
                await (await self._begun()).write(data)

    async def end(self, data: bytes = b"") -> None:
        """Send the last bytes and close the response."""
        await self.write(data)
        self.has_ended = True
        if not self.is_lost:
            with self._losing():
                await (await self._begun()).end()

    def abort(self) -> None:
        """Drop the connection: what was sent is not whole and must not look so."""
        self.has_ended = self.is_lost = True
        if self._writer is not None:
            self._writer.abort()

    async def _begun(self) -> ResponseWriter:
        """The response, whose head is sent now if it was not yet."""
        if self._writer is None:
            # a recording has its own type, and a length
            response = web.StreamResponse(headers={**HEADERS, **self.headers})
            self._writer = await ResponseWriter.begin(self._request, response)
        return self._writer

    @contextmanager
    def _losing(self) -> Iterator[None]:
        """Take note of a client that left, or that has not read anything for long."""
        try:
            yield
        except ConnectionError:
            self.lose()
