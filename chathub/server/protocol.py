"""aiohttp's server as ChatHub runs it: its time-outs, and answers in our shape to what is no request."""

import asyncio
import contextlib
import logging
import secrets
import socket
from typing import Any

from aiohttp import web

from chathub.app_keys import CLOSING
from chathub.errors import Unavailable
from chathub.handlers.http import SAFE, is_packed, raw
from chathub.log import Seldom
from chathub.middlewares import failure
from chathub.schemas.errors import encode_error
from chathub.server.connections import Connections

log = logging.getLogger("chathub.server")

_CONNECTION: dict[str, Any] = {
    "access_log": None,
    # also how long a connection may take over its request's head
    "keepalive_timeout": 30,
    # bodies are never unpacked: aiohttp would do it on the loop, of bodies too that nobody reads
    "auto_decompress": False,
    # bytes of a body (twice as many) that wait for their handler; a client may send 32 requests ahead
    "read_bufsize": 65_536,
}
# seconds that a client has to read the answer to a request whose rest is not read
_LINGER = 1.0
# milliseconds that sent data may stay unacknowledged, or unsent because the client does not read: a sleeping
# phone sends no FIN, and must not count as a follower for long
_UNACKNOWLEDGED = 20_000
# bytes that the kernel takes beyond what is on its way
_UNSENT = 65_536
_SENTENCES = {
    400: "无法识别的 HTTP 请求，或请求行、请求头过长",
    417: "不支持的 Expect 请求头",
    500: "服务器内部错误",
}


class Runner(web.AppRunner):
    """Runs an application; ``connections`` says how much it serves at once, ``connection`` are options of
    aiohttp's protocol.

    Who speaks to a client cannot be chosen in aiohttp but where a runner makes its server. A test
    notices if that is not asked any more.
    """

    def __init__(
        self, app: web.Application, connections: Connections | None = None, **connection: Any
    ) -> None:
        self.connections = connections or Connections()
        self._connection = {**_CONNECTION, **connection}
        # the shutdown's time is waited for twice by aiohttp; all is stored by then, and container
        # runtimes kill at 10 seconds
        super().__init__(app, handle_signals=False, shutdown_timeout=1)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self.connections,
            _bounded(self.connections, _expecting(made.request_handler)),
            request_factory=_noted(made.request_factory),
            handler_cancellation=True,
            **self._connection,
        )


class _Server(web.Server):
    def __init__(self, connections: Connections, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._noted = connections
        kept = ("request_factory", "handler_cancellation")
        self._protocol = {name: value for name, value in options.items() if name not in kept}

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self._noted, self, loop=asyncio.get_running_loop(), **self._protocol)

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._noted.opened(handler)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._noted.closed(handler)


class _Protocol(web.RequestHandler):
    """What aiohttp refuses by itself (a request line or head it cannot read) is an error like others. Where
    a client may still be sending, our half of the connection is closed at once, so that it reads the answer;
    what it sends is then thrown away for some seconds, but of a packed body nothing is read. Tells when a
    request is whole, and when it has been answered."""

    __slots__ = ("_noted", "_payload")

    def __init__(self, connections: Connections, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._noted = connections
        # of the request that is being answered
        self._payload: Any = None

    def asked(self, payload: Any) -> None:
        """The head of a request came; its body may still be on its way, or never come."""
        self._payload = payload
        self._noted.asked(self)
        payload.on_eof(lambda: self._whole(payload))

    def _whole(self, payload: Any) -> None:
        # what comes after the answer is thrown away
        if payload is self._payload:
            self._noted.began(self)

    def abort(self) -> None:
        """Close the connection without waiting for a client that does not read."""
        if self.transport is not None:
            self.transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        self._payload = None
        self._noted.ended(self)
        if request.get(CLOSING) and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        if is_packed(request):
            await self._close_unread()
        return finished

    async def _close_unread(self) -> None:
        """Close the connection when the client had time to read the answer, which a reset would take from
        it."""
        if self.transport is not None:
            self.transport.pause_reading()
            await asyncio.sleep(_LINGER)
        self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            with contextlib.suppress(OSError, AttributeError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        # raises where a response has begun already
        super().handle_error(request, status, exc, message)
        return _refusal(status)


def _noted(make: Any) -> Any:
    """Makes requests, and tells their connection."""

    def request(message: Any, payload: Any, protocol: Any, *others: Any) -> Any:
        protocol.asked(payload)
        return make(message, payload, protocol, *others)

    return request


def _bounded(connections: Connections, handler: Any) -> Any:
    """One request too many is refused before anything is done for it."""
    refused = Seldom(log, "requests refused for want of descriptors (ulimit -n): %d")

    async def handle(request: web.Request) -> web.StreamResponse:
        if not connections.is_overloaded:
            response: web.StreamResponse = await handler(request)
            return response
        refused.warn()
        busy = Unavailable("服务器繁忙，请稍后再试", retry_after=5)
        return _closing(failure(request, busy.status, busy.sentence, busy))

    return handle


def _expecting(handler: Any) -> Any:
    """Expectations are met or refused before any middleware is asked."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPExpectationFailed as error:
            return _refusal(error.status)
        return response

    return handle


def _refusal(status: int) -> web.Response:
    sentence = _SENTENCES.get(status, "请求失败")
    return _closing(raw(encode_error(sentence), status))


def _closing(response: web.Response) -> web.Response:
    """With the headers that every answer has, and the last one of its connection."""
    response.headers.update(SAFE)
    response.headers["X-Request-ID"] = secrets.token_hex(8)
    response.force_close()
    return response
