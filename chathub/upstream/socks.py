"""Connections through a proxy of SOCKS 5 (RFC 1928), by python-socks: an extra, for few need it."""

import socket

import aiohttp
from aiohttp import hdrs
from yarl import URL

_SECONDS = 10


class Unreached(OSError):
    """There is no connection to the proxy."""


class LoginRefused(OSError):
    """The proxy wants another user name and password, or some."""


def is_socks(proxy: URL | None) -> bool:
    return proxy is not None and proxy.scheme.startswith("socks")


async def connect(proxy: URL, host: str, port: int) -> socket.socket:
    """A connection to a host through a proxy, which resolves the name.

    Raises:
        Unreached: there is no connection to the proxy itself.
        LoginRefused: the proxy does not accept the user name and the password.
        OSError: the proxy made no connection.
    """
    try:
        from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType  # noqa: PLC0415
        from python_socks.async_.asyncio import Proxy  # noqa: PLC0415
    except ImportError as error:
        # the extra was there when the proxy was set
        raise Unreached from error
    way = Proxy(
        ProxyType.SOCKS5, proxy.raw_host or "", proxy.port or 0, proxy.user, proxy.password, rdns=True
    )
    try:
        return await way.connect(host, port, timeout=_SECONDS)
    except ProxyConnectionError as error:
        raise Unreached from error
    except (ProxyError, ProxyTimeoutError, ValueError) as error:
        if "authentication" in str(error):
            # the library has no other mark of it
            raise LoginRefused from error
        raise ConnectionRefusedError("the proxy of SOCKS did not connect") from error


class TunnelledRequest(aiohttp.ClientRequest):
    """A request that is written, in a tunnel of SOCKS, as for the provider itself: aiohttp would name the
    whole URL and the proxy's password, as proxies of HTTP expect."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        if is_socks(self.proxy):
            self.proxy = None
            self.headers.popall(hdrs.PROXY_AUTHORIZATION, None)
        return await super().send(conn)
