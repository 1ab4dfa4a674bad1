"""aiohttp's server as ChatHub runs it: its time-outs, and answers in our shape to what is no request."""

import asyncio
import contextlib
import secrets
import socket
from typing import Any

from aiohttp import web

from chathub.handlers.common import SAFE, answer

_CONNECTION: dict[str, Any] = {
    "access_log": None,
    # also how long a connection may take over its request's head
    "keepalive_timeout": 30,
}
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
    """Runs an application; ``connection`` are options of aiohttp's protocol.

    Who speaks to a client cannot be chosen in aiohttp but where a runner makes its server. A test
    notices if that is not asked any more.
    """

    def __init__(self, app: web.Application, **connection: Any) -> None:
        self._connection = {**_CONNECTION, **connection}
        # the shutdown's time is waited for twice by aiohttp; all is stored by then, and container
        # runtimes kill at 10 seconds
        super().__init__(app, handle_signals=False, shutdown_timeout=1)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            _expecting(made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=True,
            **self._connection,
        )


class _Server(web.Server):
    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        kept = ("request_factory", "handler_cancellation")
        self._protocol = {name: value for name, value in options.items() if name not in kept}

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=asyncio.get_running_loop(), **self._protocol)


class _Protocol(web.RequestHandler):
    """What aiohttp refuses by itself (a request line or head it cannot read) is an error like others."""

    __slots__ = ()

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
    response = answer({"error": sentence, "message": sentence, "success": False}, status)
    response.headers.update(SAFE)
    response.headers["X-Request-ID"] = secrets.token_hex(8)
    response.force_close()
    return response
