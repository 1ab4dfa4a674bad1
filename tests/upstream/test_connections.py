"""Connections to providers: a request is sent once, and what a provider sends before its response
is limited.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from chathub.formats.messages import UpstreamRequest
from chathub.upstream import http
from chathub.upstream.connections import Connector, Unanswered
from chathub.upstream.http import Timeouts
from chathub.upstream.network_failures import NoResponse, network_failure

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
USUAL = Timeouts()
STREAM = {"Accept": "text/event-stream"}


class Peer:
    """A server on loopback that the test scripts byte by byte; ``heads`` are the request headers it read."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self._tls = tls
        self.connections = 0
        self.serve: Serve = self.answering(OK)
        self.ended = asyncio.Event()

    async def __aenter__(self) -> "Peer":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.ended.set()
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        ]
        await reader.readexactly(length[0] if length else 0)
        self.heads.append(head)

    def answering(self, *answers: bytes) -> Serve:
        """One response for each request of a connection, then the connection ends."""

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in answers:
                await self.read(reader)
                writer.write(answer)
                await writer.drain()

        return run


async def test_unread_response_uses_little_memory() -> None:
    size = 4_000_000
    async with Peer() as peer:
        peer.serve = peer.answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        session = aiohttp.ClientSession(connector=Connector(), read_bufsize=32_768)
        async with session, asyncio.timeout(30), session.get(peer.url) as response:
            pieces = []
            while piece := await response.content.readany():
                pieces.append(len(piece))
                # meanwhile the kernel's buffers fill
                await asyncio.sleep(0.005)
    assert sum(pieces) == size and max(pieces) <= 2 * 65_536


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer() as peer:
        yield peer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=5)
    async with aiohttp.ClientSession(connector=Connector(), timeout=timeout) as session:
        yield session


async def post(
    session: aiohttp.ClientSession,
    peer: Peer,
    timeouts: Timeouts = USUAL,
    **headers: str,
) -> bytes:
    response = await http.post(session, UpstreamRequest(peer.url, headers, b"{}"), timeouts, lambda: None)
    async with response:
        return await response.read()


async def test_new_connection_that_ends_without_a_response_is_not_retried(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    peer.serve = peer.answering(b"")
    with pytest.raises(Unanswered) as caught:
        await post(session, peer)
    assert not caught.value.reused and len(peer.heads) == 1
    failure = network_failure(caught.value)
    assert failure.kind == "cut"


async def test_reused_connection_that_ends_without_a_response_is_retried_once(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    first, again = peer.answering(OK, b""), peer.answering(OK)

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (first if peer.connections == 1 else again)(reader, writer)

    peer.serve = run
    assert await post(session, peer) == b"ok"
    assert await post(session, peer) == b"ok"
    assert len(peer.heads) == 3 and peer.connections == 2


async def test_reused_connection_that_ends_late_is_not_retried(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    """A connection closed before the request fails at once; here the provider has worked on the request."""

    async def working(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.answering(OK)(reader, writer)
        await peer.read(reader)
        await asyncio.sleep(1.2)

    peer.serve = working
    assert await post(session, peer) == b"ok"
    with pytest.raises(Unanswered):
        await post(session, peer)
    assert len(peer.heads) == 2


async def test_reused_connection_that_ends_within_a_response_is_not_retried(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    peer.serve = peer.answering(OK, b"HTTP/1.1 200 O")
    assert await post(session, peer) == b"ok"
    with pytest.raises(aiohttp.ClientError) as caught:
        await post(session, peer)
    assert len(peer.heads) == 2 and network_failure(caught.value).kind == "cut"


async def test_connection_reset_is_not_the_end_of_a_response_without_a_length(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    peer.serve = resetting
    with pytest.raises(aiohttp.ClientError) as caught:
        await post(session, peer)
    assert network_failure(caught.value).kind == "cut"


async def test_late_stream_headers_and_a_late_whole_response_raise_different_errors(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read(reader)
        await reader.read()

    peer.serve = silent
    with pytest.raises(NoResponse) as late:
        await post(session, peer, Timeouts(body=30, first_byte=0.1), **STREAM)
    assert network_failure(late.value).kind == "no_response"
    with pytest.raises(TimeoutError) as slow:
        await post(session, peer, Timeouts(body=0.1, first_byte=30))
    assert network_failure(slow.value).kind == "timeout"


async def test_whole_response_may_be_silent_longer_than_a_stream(peer: Peer) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read(reader)
        await asyncio.sleep(0.5)
        writer.write(OK)

    peer.serve = slow
    timeout = aiohttp.ClientTimeout(total=None, sock_read=0.1)
    async with aiohttp.ClientSession(connector=Connector(), timeout=timeout) as session:
        assert await post(session, peer) == b"ok"


async def test_few_informational_responses_are_accepted_and_many_refused(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    peer.serve = peer.answering(hint * 3 + OK)
    assert await post(session, peer) == b"ok"

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read(reader)
        for _ in range(100_000):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)
            await writer.drain()

    peer.serve = endless
    with pytest.raises(aiohttp.ClientError) as caught:
        await post(session, peer)
    assert network_failure(caught.value).kind == "cut"
    async with asyncio.timeout(10):
        await peer.ended.wait()


async def test_unrequested_data_on_an_idle_connection_closes_it(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.read(reader)
        writer.write(OK)
        await writer.drain()
        for _ in range(100_000):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" * 1_000)
            await writer.drain()

    peer.serve = talkative
    assert await post(session, peer) == b"ok"
    async with asyncio.timeout(10):
        await peer.ended.wait()
    peer.serve = peer.answering(OK)
    assert await post(session, peer) == b"ok" and peer.connections == 2


async def test_aiohttp_still_gets_its_protocol_from_the_connector(
    session: aiohttp.ClientSession, peer: Peer
) -> None:
    connector = session.connector
    assert isinstance(connector, Connector)
    made = connector._factory()
    assert type(made).__name__ == "_Protocol" and hasattr(made, "_payload")
