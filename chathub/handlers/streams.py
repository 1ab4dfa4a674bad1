"""A response of Server-Sent Events (WHATWG HTML, 9.2), as the front end's line parser wants them."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from chathub.keys import CONFIG, STREAMING
from chathub.upstream.sse import frame

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # no-transform and X-Accel-Buffering keep proxies from compressing and holding back
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """Events out, one ``data:`` line of JSON each; several at hand go in one write."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._transport = request.transport
        self._seconds = request.app[CONFIG].write_seconds
        self._quiet = request.app[CONFIG].heartbeat_seconds / 2
        self._last = time.monotonic()

    @classmethod
    async def begin(cls, request: web.Request) -> EventStream:
        """Send the head; from here on an error is an event."""
        response = web.StreamResponse(headers=_HEADERS)
        request[STREAMING] = True
        await response.prepare(request)
        return cls(request, response)

    async def send(self, *payloads: bytes) -> None:
        """Write events.

        Raises:
            ConnectionError: the client left.
            TimeoutError: it has not read anything for long.
        """
        data = frame(payloads[0]) if len(payloads) == 1 else b"".join([frame(p) for p in payloads])
        await self._write(data)

    async def beat(self) -> None:
        """A bare newline, if nothing was written for a while: the page parses all other lines as JSON."""
        if time.monotonic() - self._last >= self._quiet:
            await self._write(b"\n")

    async def _write(self, data: bytes) -> None:
        self._last = time.monotonic()
        transport = self._transport
        # the guard against a client that stopped reading costs more than the write: only when it waits
        if transport is None or transport.get_write_buffer_size() == 0:
            await self.response.write(data)
        else:
            async with asyncio.timeout(self._seconds):
                await self.response.write(data)

    async def close(self) -> None:
        async with asyncio.timeout(self._seconds):
            await self.response.write_eof()

    def abort(self) -> None:
        """Drop the connection of a client that does not read."""
        if self._transport is not None:
            self._transport.abort()
