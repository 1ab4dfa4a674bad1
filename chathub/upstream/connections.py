"""Connections to providers: aiohttp's, with further bounds and further errors, and through proxies of SOCKS.

A provider may be any server. Before the head of a response only a limited number of informational responses
is read (RFC 9110, 15.2: any number is allowed), in slices, for each is parsed on the event loop; data on an
idle connection ends it. The error of a connection that ends before a byte of a response says whether the
connection was reused: only then is it certain that the provider did not see the request.
"""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from chathub.upstream import socks
from chathub.upstream.guard import SocketFactory

# informational responses before the real one: 103 Early Hints may come a few times
_INFORMATIONAL = 16
# bytes parsed at a time before the head is complete
_SLICE = 4_096
# bytes read from the system at a time
_READ = 65_536


class Unanswered(aiohttp.ServerDisconnectedError):
    """The connection ended before a byte of a response; ``reused``: it had served another request before."""

    def __init__(self, reused: bool) -> None:
        super().__init__("the connection ended before a response")
        self.reused = reused


class ProxyFailed(aiohttp.ClientConnectionError):
    """The proxy on the way to a provider made no connection. ``status`` is that of its response (SOCKS has
    only 407), 0 for none; ``is_reached``: there was a connection to the proxy itself."""

    def __init__(self, status: int = 0, *, is_reached: bool = True) -> None:
        super().__init__("the proxy made no connection")
        self.status = status
        self.is_reached = is_reached


class Connector(aiohttp.TCPConnector):
    """Connects to providers; ``factory`` makes the sockets where addresses are guarded."""

    def __init__(self, factory: SocketFactory | None = None) -> None:
        # with the default limit of 100 the 101st stream would wait
        super().__init__(limit=0, ttl_dns_cache=300, socket_factory=factory)
        # aiohttp has no other way to choose the protocol; a test fails if it does not use this any more
        self._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def _create_proxy_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        """As aiohttp does, and through proxies of SOCKS.

        Raises:
            ProxyFailed: the connection did not come as far as the provider.
        """
        proxy = req.proxy
        assert proxy is not None
        try:
            if not socks.is_socks(proxy):
                return await self._by_http_proxy(req, traces, timeout)
            return await self._wrap_existing_connection(
                self._factory,
                timeout=timeout,
                req=req,
                sock=await socks.connect(proxy, req.host, req.port or 0),
                ssl=self._get_ssl_context(req),
                server_hostname=req.host if req.is_ssl() else None,
            )
        except aiohttp.ClientHttpProxyError as error:
            raise ProxyFailed(status=error.status) from error
        except aiohttp.ClientConnectorError as error:
            if (error.host, error.port) == (req.host, req.port):
                # the proxy has connected to the provider
                raise
            raise ProxyFailed(is_reached=False) from error
        except socks.LoginRefused as error:
            raise ProxyFailed(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED) from error
        except (aiohttp.ClientError, OSError) as error:
            is_reached = not isinstance(error, socks.Unreached)
            raise ProxyFailed(is_reached=is_reached) from error

    async def _by_http_proxy(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> tuple[asyncio.BaseTransport, ResponseHandler]:
        """As aiohttp does. Without a tunnel the connection serves one request: a proxy that ends a reused one
        may have sent the request on, over a connection of its own."""
        transport, protocol = await super()._create_proxy_connection(req, traces, timeout)
        if not req.is_ssl():
            protocol.force_close()
        elif transport.is_closing():
            # uvloop takes the end of a connection during the handshake for success
            raise ProxyFailed
        return transport, protocol


def new_session(idle_seconds: float, factory: SocketFactory | None = None) -> aiohttp.ClientSession:
    """A session for requests to providers; ``idle_seconds`` is how long one may be silent."""
    timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_connect=10, sock_read=idle_seconds)
    return aiohttp.ClientSession(
        connector=Connector(factory),
        request_class=socks.TunnelledRequest,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        # bytes of a response (twice as many) that wait to be read
        read_bufsize=32_768,
    )


class _Protocol(ResponseHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._requests = 0
        self._has_response = False
        self._informational = 0
        # from the request to the head of its response
        self._expects_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            # each response that waits for its client would take asyncio's default of 256 KiB
            transport.max_size = _READ

    def set_response_params(self, **params: Any) -> None:
        self._requests += 1
        self._has_response, self._informational, self._expects_head = False, 0, True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp continues with the data it has
            super().data_received(data)
            return
        if self._is_idle():
            self.force_close()
            self.abort()
            return
        self._has_response = True
        while data and self._expects_head:
            super().data_received(data[:_SLICE])
            data = data[_SLICE:]
            if self._informational > _INFORMATIONAL:
                self.set_exception(aiohttp.ClientPayloadError("too many informational responses"))
                # aiohttp's own abort would drop the exception
                if self.transport is not None:
                    self.transport.abort()
                return
        if data:
            super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        status = data[0].code
        if 100 <= status < 200 and status != 101:
            self._informational += 1
        else:
            self._expects_head = False
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        lost = isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        if lost and self._requests and not self._has_response:
            exc = Unanswered(reused=self._requests > 1)
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        if exc is not None and payload is not None and not payload.is_eof():
            # aiohttp takes a reset as the end of a body without a length
            payload.set_exception(aiohttp.ClientPayloadError("the connection was reset"))
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """Whether no request was sent, or the last response has ended."""
        if self._expects_head:
            return False
        return self._payload is None or self._payload.is_eof()
