"""Writing of responses: in slices, with backpressure, and a time limit for clients that do not read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import wraps

from aiohttp import web

from chathub.app_keys import CALLER, CONFIG, RESPONSE_MEMORY, STREAMING
from chathub.limits.response_memory import LARGEST

# more bytes than these make a response large: a transport takes them at once
_LARGE = 65_536
# bytes of a response in pieces that the transport holds before the next piece is made
_WAITING = 16_384
# bytes of one write: a transport with an empty buffer takes them without waiting
_SLICE = 32_768


class ResponseWriter:
    """A response that has begun. Each write waits until the client has read most of the earlier ones.

    A client that reads nothing for ``CHATHUB_WRITE_SECONDS`` is dropped.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.response = response
        self._transport = request.transport
        self._drain = request.writer.drain
        self._seconds = request.app[CONFIG].write_seconds

    @classmethod
    async def begin(cls, request: web.Request, response: web.StreamResponse) -> ResponseWriter:
        """Send the head. From now on an error cannot become a status any more."""
        request[STREAMING] = True
        await response.prepare(request)
        return cls(request, response)

    async def write(self, data: bytes) -> None:
        """Send any number of bytes.

        Raises:
            ConnectionError: the client left, or was dropped.
        """
        if len(data) <= _SLICE:
            await self._write(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), _SLICE):
            await self._write(view[start : start + _SLICE])
            # a client that reads fast must not occupy the event loop
            await asyncio.sleep(0)

    async def write_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        """Send pieces, the next one when the client has read most of the one before: one piece is in memory
        for a client that reads nothing.

        Raises:
            ConnectionError: the client left, or was dropped.
        """
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=_WAITING)
        async for piece in pieces:
            await self.write(piece)
            await self._in_time(self._drain())

    async def end(self) -> None:
        """Close the response.

        Raises:
            ConnectionError: the client left, or was dropped.
        """
        await self._in_time(self.response.write_eof())

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, data: bytes | memoryview) -> None:
        transport = self._transport
        # a timeout costs more than the write: it is set only if the write may have to wait
        if transport is None or transport.get_write_buffer_size() == 0:
            await self.response.write(data)
        else:
            await self._in_time(self.response.write(data))

    async def _in_time(self, writing: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await writing
        except TimeoutError:
            self.abort()
            raise ConnectionError("the client does not read") from None


async def send(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send a response with a whole body if the body is large; aiohttp sends a small one, and the head of any.

    A handler calls it for a body that is in memory once for all clients; every other large body is counted
    (``sending``).
    """
    body = body_of(response)
    if len(body) <= _LARGE or request.method == "HEAD":
        return response
    whole = web.StreamResponse(status=response.status, headers=response.headers)
    whole.content_length = len(body)
    if response.keep_alive is False:
        whole.force_close()
    return await _sent(request, whole, lambda writer: writer.write(body))


async def send_pieces(
    request: web.Request, pieces: AsyncIterator[bytes], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send the pieces of an iterator, each when the client has read enough of those before.

    As long as the response is small, an error of the iterator can still become a status.
    """
    begun: deque[bytes] = deque()
    size = 0
    async for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > _LARGE:
            return await _send_pieces(request, web.StreamResponse(headers=headers), begun, pieces)
    return web.Response(body=b"".join(begun), headers=headers)


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, begun: deque[bytes], pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    async def all_pieces() -> AsyncIterator[bytes]:
        while begun:
            yield begun.popleft()
        async for piece in pieces:
            yield piece

    return await _sent(request, response, lambda writer: writer.write_pieces(all_pieces()))


async def _sent(
    request: web.Request, response: web.StreamResponse, write: Callable[[ResponseWriter], Awaitable[None]]
) -> web.StreamResponse:
    writer = await ResponseWriter.begin(request, response)
    try:
        await write(writer)
        await writer.end()
    except ConnectionError:
        writer.abort()
    return response


def body_of(response: web.StreamResponse) -> bytes:
    """The body of a response; empty if it was sent already."""
    if not isinstance(response, web.Response) or response.prepared:
        return b""
    return response.body if isinstance(response.body, bytes) else b""


@asynccontextmanager
async def room_for(request: web.Request, size: int) -> AsyncIterator[None]:
    """Wait for room for a response of ``size`` bytes that is in memory already; a small one needs none.

    Raises:
        TooManyRequests: there was no room in time.
    """
    if size <= _LARGE:
        yield
        return
    caller = request.get(CALLER)
    async with request.app[RESPONSE_MEMORY].room(caller.id if caller else None, size, request_bytes=size):
        yield


def large(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Decorate a handler whose response may be large: it runs when there is room for the response.

    Raises:
        TooManyRequests: there was no room in time.
    """

    @wraps(handler)
    async def wait_for_room(request: web.Request) -> web.StreamResponse:
        async with request.app[RESPONSE_MEMORY].room(request[CALLER].id, LARGEST):
            return await send(request, await handler(request))

    return wait_for_room


@web.middleware
async def sending(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """The middleware that sends large responses with ``send``, and counts their memory for the user."""
    response = await handler(request)
    size = len(body_of(response))
    # to HEAD aiohttp sends no body, but only if it sends the response itself
    if size <= _LARGE or request.method == "HEAD":
        return response
    async with room_for(request, size):
        return await send(request, response)
