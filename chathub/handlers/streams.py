"""A response of Server-Sent Events (WHATWG HTML, 9.2), as the front end's line parser wants them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

from aiohttp import web

from chathub.keys import CONFIG, STREAMING
from chathub.upstream.sse import frame

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # no-transform and X-Accel-Buffering keep proxies from compressing and holding back
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
# milliseconds that sent data may stay unacknowledged
_UNACKNOWLEDGED = 20_000
# bytes that the kernel takes beyond what is on its way
_UNSENT = 65_536


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
        response = web.StreamResponse(headers=HEADERS)
        request[STREAMING] = True
        await response.prepare(request)
        if request.transport is not None:
            # a sleeping phone sends no FIN: without this it would count as a follower for long
            connection = request.transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        return cls(request, response)

    async def send(self, *events: tuple[bytes, bytes]) -> None:
        """Write events, each a payload of JSON and an id (or none).

        Raises:
            ConnectionError: the client left.
            TimeoutError: it has not read anything for long.
        """
        await self._write(b"".join([frame(payload, event_id) for payload, event_id in events]))

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
