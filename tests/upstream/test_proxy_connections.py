"""Connections through a proxy that does what it likes: a request is sent once, and ends in time."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from proxies import Authority
from test_connections import OK, Peer

from chathub.formats.messages import UpstreamRequest
from chathub.upstream import http
from chathub.upstream.connections import ProxyFailed, Unanswered, new_session
from chathub.upstream.http import Timeouts

CONNECTED = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def proxy() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session(5) as session:
        yield session


async def post(session: aiohttp.ClientSession, proxy: Peer, scheme: str) -> bytes:
    request = UpstreamRequest(f"{scheme}://provider.test/v1", {"Authorization": "Bearer sk-1"}, b"{}")
    url = proxy.url.replace("://", "://anna:S3cret@")
    response = await http.post(session, request, Timeouts(), lambda: None, proxy=url)
    async with response:
        return await response.read()


async def test_request_without_a_tunnel_is_never_sent_twice(
    session: aiohttp.ClientSession, proxy: Peer
) -> None:
    """The proxy may have sent the request on, over another connection than the one that it ends."""
    proxy.serve = proxy.answering(OK, b"")
    for _ in range(2):
        assert await post(session, proxy, "http") == b"ok"
    assert proxy.connections == 2
    proxy.serve = proxy.answering(b"")
    with pytest.raises(Unanswered):
        await post(session, proxy, "http")
    assert proxy.connections == len(proxy.heads) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        CONNECTED,
        CONNECTED + b"X: " + b"a" * 1_000_000,
        CONNECTED + b"".join(b"X-%d: a\r\n" % number for number in range(100_000)),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000,
        CONNECTED + b"\r\n",
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_proxy_that_makes_no_tunnel_gets_no_request_and_leaves_nothing_open(
    session: aiohttp.ClientSession, proxy: Peer, answer: bytes
) -> None:
    proxy.serve = proxy.answering(answer)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        async with asyncio.timeout(5):
            with pytest.raises((ProxyFailed, aiohttp.ClientConnectorError)):
                await post(session, proxy, "https")
    assert {head.split(b"\r\n")[0] for head in proxy.heads} == {b"CONNECT provider.test:443 HTTP/1.1"}
    assert b"sk-1" not in b"".join(proxy.heads)
    while len(os.listdir("/proc/self/fd")) > before:
        await asyncio.sleep(0.01)


async def test_proxy_of_socks_is_looked_up_by_the_name_that_was_given(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own form of this international name would be that of another host, which gets the password."""
    asked = []

    def find(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", find)
    request = UpstreamRequest("https://provider.test/v1", {}, b"{}")
    with pytest.raises(ProxyFailed):
        url = "socks5://anna:S3cret@xn--strae-oqa.test:1"
        await http.post(session, request, Timeouts(), lambda: None, proxy=url)
    assert asked == ["xn--strae-oqa.test"]


def test_tunnel_that_ends_at_once_is_none_for_uvloop_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the end of a TLS connection within another one for a handshake that has succeeded."""
    uvloop = pytest.importorskip("uvloop")
    authority = Authority(tmp_path)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", authority.client)

    async def run() -> None:
        async with Peer(authority.server) as proxy, new_session(5) as session:
            proxy.serve = proxy.answering(CONNECTED + b"\r\n")
            with pytest.raises((ProxyFailed, aiohttp.ClientConnectorError)):
                await post(session, proxy, "https")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
