"""The way to a provider: which proxy a request goes through, if any.

A proxy resolves names itself and connects to what it finds. So only addresses that no user chose go through
one, and hosts within the own network never do: the proxy would look for them elsewhere.
"""

import asyncio
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from chathub.formats.messages import Endpoint
from chathub.formats.urls import hostname, origin
from chathub.proxy_settings import ProxySettings
from chathub.proxy_url import ProxyUrl
from chathub.upstream.connections import ProxyFailed
from chathub.upstream.guard import Address, is_public, literal_address

FindAddresses = Callable[[str], Awaitable[Sequence[Address]]]

# seconds that an answer of the name service counts, and that it may take
_FRESH, _PATIENCE = 60.0, 2.0
_REMEMBERED = 1000
# at a time
_LOOK_UPS = 4
# programs on a router or beside it that catch all traffic give names addresses of this network (RFC 2544)
_FAKE = ipaddress.IPv4Network("198.18.0.0/15")


class Way(NamedTuple):
    """The host that a request goes to, and the proxy in between. ``may_need_proxy``: there is none, and one
    could be set."""

    host: str = ""
    proxy: ProxyUrl | None = None
    may_need_proxy: bool = False

    @property
    def proxy_url(self) -> str | None:
        """The proxy as aiohttp takes it, with its password."""
        return self.proxy.text if self.proxy else None


class NameService:
    """The system's name service, in threads of its own: one that does not answer keeps a thread for half a
    minute, and much else waits for those of the event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOK_UPS, "chathub-names")

    async def __call__(self, host: str) -> list[Address]:
        """The addresses of a host. Raises ``OSError``."""
        look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        infos = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]


class Proxies:
    """Chooses the way to each provider."""

    def __init__(self, settings: ProxySettings, find: FindAddresses | None = None) -> None:
        self._settings = settings
        self._find = find or NameService()
        # host → whether it is in the own network, and when that was asked
        self._nearby: OrderedDict[str, tuple[asyncio.Task[bool], float]] = OrderedDict()

    async def way_to(self, endpoint: Endpoint, url: str) -> Way:
        """The way of a request for ``url`` to an endpoint. Raises ``ValueError`` for what is no URL."""
        host = hostname(url)
        if endpoint.local or not endpoint.trusted:
            return Way(host)
        if endpoint.proxy_url is not None:
            proxy = ProxyUrl.parse(endpoint.proxy_url) if endpoint.proxy_url else None
        else:
            parts = urlsplit(origin(url))
            proxy = self._settings.proxy_for(parts.scheme, host, parts.port or 0)
        if proxy is None:
            is_unset = endpoint.proxy_url is None and not self._settings.sources
            is_far = "." in host and not _is_private(literal_address(url))
            return Way(host, may_need_proxy=is_unset and is_far)
        # such as a container that does not run now; a proxy that knows the name is set at the provider
        is_short = endpoint.proxy_url is None and "." not in host and literal_address(url) is None
        return Way(host) if is_short or await self._is_nearby(host, url) else Way(host, proxy)

    async def _is_nearby(self, host: str, url: str) -> bool:
        """Whether a host is in the own network: all its addresses are private ones. A name that is not known
        here, as in a network without a name service, is for the proxy, unless it was known before."""
        if (address := literal_address(url)) is not None:
            return _is_private(address)
        asked, asked_at = self._nearby.get(host, (None, 0.0))
        if asked is None or (asked.done() and time.monotonic() - asked_at > _FRESH):
            asked = asyncio.create_task(self._look_up(host, was_nearby=_has_found(asked)))
            self._nearby[host] = asked, time.monotonic()
            self._nearby.move_to_end(host)
            if len(self._nearby) > _REMEMBERED:
                self._nearby.popitem(last=False)
        # the answer is for all requests that wait for it
        return await asyncio.shield(asked)

    async def _look_up(self, host: str, *, was_nearby: bool) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE):
                addresses = await self._find(host)
        except (OSError, ValueError):
            return was_nearby
        # a name service that blocks a name answers with the unspecified address
        return bool(addresses) and all(_is_private(one) and not one.is_unspecified for one in addresses)


def _has_found(asked: asyncio.Task[bool] | None) -> bool:
    """Whether an earlier look-up has found a host in the own network."""
    return asked is not None and not asked.cancelled() and not asked.exception() and asked.result()


def _is_private(address: Address | None) -> bool:
    """Whether an address leads to this machine or into its network."""
    return address is not None and address not in _FAKE and not is_public(address)


def raise_refusal(way: Way, response: aiohttp.ClientResponse) -> None:
    """Raise a ``ProxyFailed`` for a response of the proxy itself. Through a tunnel only the provider
    responds; without one, 407 is the proxy's (RFC 9110, 15.5.8), and nobody knows whose other errors are."""
    is_refusal = response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    is_tunnel = way.proxy is None or way.proxy.is_socks or response.url.scheme == "https"
    if is_refusal and not is_tunnel:
        response.close()
        raise ProxyFailed(response.status)
