"""A response of /v1 that begins with its first bytes, so that a refusal before them is a status."""

from __future__ import annotations

from aiohttp import web

from chathub.handlers.response_writer import ResponseWriter
from chathub.handlers.streams import HEADERS


class LazyResponse:
    """Bytes on their way to one client, over as many attempts as it takes.

    ``has_answer``: something of an answer has been sent; ``is_lost``: the client is gone.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._writer: ResponseWriter | None = None
        self.has_answer = False
        self.is_lost = False

    @property
    def begun(self) -> bool:
        return self._writer is not None

    async def write(self, data: bytes) -> None:
        """Send some bytes, and the head before the first of them.

        Raises:
            ConnectionError: the client left, or has not read anything for long.
        """
        if not data:
            return
        writer = await self._begin()
        try:
            await writer.write(data)
        except ConnectionError:
            self.is_lost = True
            raise

    async def end(self, data: bytes = b"") -> web.StreamResponse:
        """Send the last bytes and close the response.

        Raises:
            ConnectionError: the client left, or has not read anything for long.
        """
        await self.write(data)
        writer = await self._begin()
        await writer.end()
        return writer.response

    async def _begin(self) -> ResponseWriter:
        if self._writer is None:
            response = web.StreamResponse(headers=HEADERS)
            self._writer = await ResponseWriter.begin(self._request, response)
        return self._writer
