"""A response of /v1 that begins with its first bytes, so that a refusal before them is a status."""

from __future__ import annotations

import asyncio

from aiohttp import web

from chathub.handlers.streams import HEADERS
from chathub.keys import CONFIG, STREAMING


class Sending:
    """Bytes on their way to one client, over as many attempts as it takes.

    ``has_answer``: something of an answer has been sent; ``is_lost``: the client is gone.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._seconds = request.app[CONFIG].write_seconds
        self._response: web.StreamResponse | None = None
        self.has_answer = False
        self.is_lost = False

    @property
    def begun(self) -> bool:
        return self._response is not None

    async def write(self, data: bytes) -> None:
        """Send some bytes, and the head before the first of them.

        Raises:
            ConnectionError: the client left, or has not read anything for long.
        """
        if not data:
            return
        response = self._response or await self._begin()
        transport = self._request.transport
        try:
            if transport is None or transport.get_write_buffer_size() == 0:
                await response.write(data)
            else:
                async with asyncio.timeout(self._seconds):
                    await response.write(data)
        except ConnectionError:
            self.is_lost = True
            raise
        except TimeoutError:
            self.is_lost = True
            if transport is not None:
                transport.abort()
            raise ConnectionError("the client does not read") from None

    async def end(self, data: bytes = b"") -> web.StreamResponse:
        """Send the last bytes and close the response."""
        await self.write(data)
        response = self._response or await self._begin()
        await response.write_eof()
        return response

    async def _begin(self) -> web.StreamResponse:
        self._response = web.StreamResponse(headers=HEADERS)
        self._request[STREAMING] = True
        await self._response.prepare(self._request)
        return self._response
