"""aiohttp's protocol as ChatHub runs it: its timeouts, and errors in our shape for malformed requests."""

import asyncio
import contextlib
import logging
import secrets
import socket
from typing import Any

from aiohttp import web

from chathub.app_keys import CLOSING, CONFIG, METRICS, OVER_UNIX
from chathub.config import Config
from chathub.errors import Unavailable
from chathub.handlers.http import SAFE, is_compressed, raw
from chathub.log import RateLimitedWarning
from chathub.metrics.metrics import Metrics
from chathub.middlewares import failure
from chathub.schemas.errors import encode_error
from chathub.sentences import Language, Reason
from chathub.server.base_path import without_base_path
from chathub.server.connections import Connections

log = logging.getLogger("chathub.server")

_CONNECTION: dict[str, Any] = {
    "access_log": None,
    # also the longest time for the head of a request
    "keepalive_timeout": 30,
    # bodies are never decompressed: aiohttp would do it on the loop, also for bodies that no handler reads
    "auto_decompress": False,
    # bytes of a body (twice as many) that wait for the handler; a client may pipeline 32 requests
    "read_bufsize": 65_536,
}
# seconds that a client has to read the response to a request whose rest is not read
_LINGER = 1.0
# milliseconds that sent data may stay unacknowledged, or unsent because the client does not read: a sleeping
# phone sends no FIN and must not count as a follower for long
_UNACKNOWLEDGED = 20_000
# bytes that the kernel buffers beyond those in flight
_UNSENT = 65_536
_REASONS = {
    400: Reason("malformed_request"),
    417: Reason("expectation_unsupported"),
    500: Reason("internal_error"),
}
_OTHER = Reason("request_failed")


class Runner(web.AppRunner):
    """Runs an application. ``connections`` bounds what it serves at once; ``connection`` are options of
    aiohttp's protocol.

    aiohttp offers no other place than ``_make_server`` to set the protocol class. A test fails if aiohttp
    does not call it any more.
    """

    def __init__(
        self, app: web.Application, connections: Connections | None = None, **connection: Any
    ) -> None:
        self.connections = connections or Connections()
        self._config, self._metrics = app[CONFIG], app[METRICS]
        self._connection = {**_CONNECTION, **connection}
        # aiohttp waits for this time twice; everything is stored by then, and container runtimes kill the
        # process after 10 seconds
        super().__init__(app, handle_signals=False, shutdown_timeout=1)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self.connections,
            self._config,
            _bounded(
                self.connections,
                _checking_expectations(made.request_handler, self._config),
                self._config,
                self._metrics,
            ),
            request_factory=_announcing(made.request_factory, self._config.base_path),
            handler_cancellation=True,
            **self._connection,
        )


class _Server(web.Server):
    def __init__(self, connections: Connections, config: Config, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._open_connections = connections
        self._config = config
        kept = ("request_factory", "handler_cancellation")
        self._protocol = {name: value for name, value in options.items() if name not in kept}

    def __call__(self) -> web.RequestHandler:
        return _Protocol(
            self._open_connections, self._config, self, loop=asyncio.get_running_loop(), **self._protocol
        )

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open_connections.opened(handler)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._open_connections.closed(handler)


class _Protocol(web.RequestHandler):
    """One connection of a client.

    A request that aiohttp refuses by itself (its line or head is malformed) gets an error like all others.
    Where a client may still be sending, our half of the connection is closed at once, so that the client
    reads the response; what it sends is then discarded for some seconds, but nothing of a compressed body is
    read. The connection counts (``Connections``) follow each request and response.
    """

    __slots__ = ("_config", "_open_connections", "_payload", "is_over_unix")

    def __init__(self, connections: Connections, config: Config, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open_connections = connections
        self._config = config
        # the body of the request that is being handled
        self._payload: Any = None
        self.is_over_unix = False

    def head_received(self, payload: Any) -> None:
        """The head of a request came; its body may follow later or never."""
        self._payload = payload
        self._open_connections.head_received(self)
        payload.on_eof(lambda: self._whole(payload))

    def _whole(self, payload: Any) -> None:
        # bytes after the response are discarded
        if payload is self._payload:
            self._open_connections.request_received(self)

    def abort(self) -> None:
        """Close the connection without waiting for a client that does not read."""
        if self.transport is not None:
            self.transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        self._payload = None
        self._open_connections.response_sent(self)
        if request.get(CLOSING) and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        if is_compressed(request):
            await self._close_unread()
        return finished

    async def _close_unread(self) -> None:
        """Close the connection after the client had time to read the response, which a reset would
        destroy."""
        if self.transport is not None:
            self.transport.pause_reading()
            await asyncio.sleep(_LINGER)
        self.force_close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        self.is_over_unix = connection is not None and connection.family == socket.AF_UNIX
        if connection is not None and not self.is_over_unix:
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
        # raises if a response has begun already
        super().handle_error(request, status, exc, message)
        return _error_response(status, self._config.language)


def _announcing(make: Any, base_path: str) -> Any:
    """A request factory that tells the connection about each request, and takes the base path away: all that
    follows sees the paths of ``routes.py``."""

    def request(message: Any, payload: Any, protocol: Any, *others: Any) -> Any:
        protocol.head_received(payload)
        if base_path:
            message = without_base_path(message, base_path)
        made = make(message, payload, protocol, *others)
        if protocol.is_over_unix:
            made[OVER_UNIX] = True
        return made

    return request


def _bounded(connections: Connections, handler: Any, config: Config, metrics: Metrics) -> Any:
    """A handler that refuses a request above the bound before any work is done for it."""
    warning = RateLimitedWarning(log, "requests refused for lack of descriptors (ulimit -n): %d")

    async def handle(request: web.Request) -> web.StreamResponse:
        if not connections.is_overloaded:
            response: web.StreamResponse = await handler(request)
            return response
        warning.warn()
        busy = Unavailable("server_busy", retry_after=5)
        metrics.count_request(request.method, "none", busy.status)
        return _closing(failure(request, busy.status, busy.reason, busy, config))

    return handle


def _checking_expectations(handler: Any, config: Config) -> Any:
    """A handler that turns aiohttp's refusal of an Expect header, raised before any middleware, into our
    error."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPExpectationFailed as error:
            return _closing(failure(request, error.status, _REASONS[error.status], config=config))
        return response

    return handle


def _error_response(status: int, language: Language) -> web.Response:
    return _closing(raw(encode_error(_REASONS.get(status, _OTHER), language), status))


def _closing(response: web.Response) -> web.Response:
    """The response with the headers of every response, as the last one of its connection."""
    response.headers.update(SAFE)
    response.headers["X-Request-ID"] = secrets.token_hex(8)
    response.force_close()
    return response
