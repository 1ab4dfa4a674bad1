"""The SSRF guard: requests for users connect to public addresses only, checked at the address
connected to.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from chathub.formats.events import Event, Failure
from chathub.formats.messages import ChatRequest, Endpoint, Message
from chathub.upstream import guard
from chathub.upstream.client import Client

INSIDE = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1"),
    *("fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1"),
    *("64:ff9b::a00:1", "2002:a00:1::", "2001:db8::1"),
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not guard.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_are_public(address: str) -> None:
    assert guard.is_public(ipaddress.ip_address(address))


def test_configured_networks_are_allowed() -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"),)
    assert guard.allowed(ipaddress.ip_address("10.1.2.3"), networks)
    assert not guard.allowed(ipaddress.ip_address("192.168.1.1"), networks)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "localhost.",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
    ],
)
def test_every_spelling_of_loopback_is_recognized(host: str) -> None:
    address = guard.literal_address(f"http://{host}:80/v1")
    assert address is not None and not guard.is_public(address)


def test_host_name_is_not_an_ip_literal() -> None:
    assert guard.literal_address("https://api.example.com/v1") is None


class Inside(AbstractResolver):
    """A resolver that returns a public address first and then loopback."""

    def __init__(self, port: int) -> None:
        self.answers = ["127.0.0.1"]
        self.port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=self.port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def inside(aiohttp_server: object) -> AsyncIterator[tuple[int, list[str]]]:
    """A server on loopback that must not be reached, and the paths of requests that reached it."""
    reached: list[str] = []

    async def reach(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.json_response({"choices": [{"message": {"content": "secret"}, "finish_reason": "stop"}]})

    async def leave(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{request.url.port}/inner")

    app = web.Application()
    app.router.add_post("/redirect/chat/completions", leave)
    app.router.add_post("/{path:.*}", reach)
    server = await aiohttp_server(app)  # type: ignore[operator]
    yield server.port, reached


class Ignoring:
    """Takes in what an attempt brings, and keeps nothing."""

    def __init__(self) -> None:
        self.room = self.memory = self.decoder = None
        self.left = asyncio.Event()

    def feed(self, events: list[Event]) -> bool:
        return False

    def mark_sent(self) -> None:
        pass


async def ask(session: aiohttp.ClientSession, url: str) -> Failure:
    client = Client(session, session, None)
    call = ChatRequest("", "m", [Message("user", "hi")], stream=False)
    async with asyncio.timeout(30):
        failure = await client.call(Endpoint(url, trusted=False), call, Ignoring())
    assert failure is not None
    return failure


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "[::ffff:127.0.0.1]"]
)
async def test_private_ip_literals_are_not_connected_to(inside: tuple[int, list[str]], host: str) -> None:
    port, reached = inside
    connector = aiohttp.TCPConnector(socket_factory=guard.socket_factory(()))
    async with aiohttp.ClientSession(connector=connector) as session:
        failure = await ask(session, f"http://{host}:{port}/v1")
    assert failure.kind == "unreachable" and reached == []


async def test_host_name_that_resolves_to_a_private_address_is_refused_on_connecting(
    inside: tuple[int, list[str]],
) -> None:
    port, reached = inside
    connector = aiohttp.TCPConnector(
        resolver=Inside(port), socket_factory=guard.socket_factory(()), use_dns_cache=False
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        failure = await ask(session, "http://innocent.example/v1")
    assert "private network" in failure.message and reached == []


async def test_allowed_network_is_reached_and_redirects_are_not_followed(
    inside: tuple[int, list[str]],
) -> None:
    port, reached = inside
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    connector = aiohttp.TCPConnector(socket_factory=guard.socket_factory(networks))
    async with aiohttp.ClientSession(connector=connector) as session:
        failure = await ask(session, f"http://127.0.0.1:{port}/redirect")
        assert "redirects" in failure.message and reached == []
        call = ChatRequest("", "m", [Message("user", "hi")], stream=False)
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", trusted=False)
        assert await Client(session, session, None).call(endpoint, call, Ignoring()) is None
    assert reached == ["/v1/chat/completions"]
