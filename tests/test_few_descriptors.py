"""Few file descriptors: requests that cannot be served get a clear error, idle connections are closed, and
the log stays short.
"""

import asyncio
import os
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from chats import Headers, add_model, messages_of, read_events, stream, until
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, chunk, reply

from chathub.app import create_app
from chathub.config import Config
from chathub.errors import StartError
from chathub.server.connections import Connections
from chathub.server.listener import Site
from chathub.server.protocol import Runner
from chathub.server.sockets import ListeningSockets

FEW = 64
PROGRAM = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {FEW}))
from chathub.__main__ import main
sys.exit(main())
"""


class Waiting:
    """A connection that can be closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def abort(self) -> None:
        self.is_closed = True


# --- counting


def test_connection_idle_for_longest_is_closed_first() -> None:
    now = [0.0]
    connections = Connections(2, 1, lambda: now[0])
    first, busy, last = Waiting(), Waiting(), Waiting()
    for connection in (busy, first, last):
        now[0] += 1
        connections.opened(connection)
    connections.request_received(busy)
    assert not connections.has_room()
    now[0] += 10
    assert connections.close_idle() and first.is_closed and not last.is_closed
    connections.closed(first)
    assert connections.has_room() and not connections.has_room(coming=1)
    connections.response_sent(busy)
    assert connections.close_idle() and last.is_closed and not busy.is_closed


def test_connection_that_was_just_opened_is_not_closed() -> None:
    now = [0.0]
    connections = Connections(1, 1, lambda: now[0])
    connection = Waiting()
    connections.opened(connection)
    now[0] += 0.2
    assert not connections.close_idle()
    now[0] += 0.2
    assert connections.close_idle() and connection.is_closed


def test_only_running_requests_count_as_load() -> None:
    connections = Connections(1, 5)
    open_ones = [Waiting() for _ in range(4)]
    for connection in open_ones:
        connections.opened(connection)
    connections.request_received(open_ones[0])
    assert not connections.is_overloaded
    connections.request_received(open_ones[1])
    assert connections.is_overloaded
    connections.closed(open_ones[0])
    assert not connections.is_overloaded


def test_connection_is_idle_until_its_request_is_complete() -> None:
    now = [0.0]
    connections = Connections(1, 1, lambda: now[0])
    half, other = Waiting(), Waiting()
    connections.opened(half)
    connections.opened(other)
    now[0] += 10
    # the body of a request may take a moment, also after a long idle time
    connections.head_received(half)
    assert connections.close_idle() and other.is_closed and not half.is_closed
    assert not connections.close_idle() and not connections.is_overloaded
    connections.request_received(half)
    now[0] += 10
    assert not connections.close_idle()
    connections.response_sent(half)
    # the next request has not been waited for so long
    assert not connections.close_idle() and not half.is_closed


def test_connection_limits_fit_the_available_descriptors() -> None:
    connections = Connections()
    lowest = os.dup(0)
    os.close(lowest)
    with limited(lowest + 44):
        connections.fit()
    assert connections.most == 19
    for number in range(24):
        assert connections.has_room(), number
        connections.opened(Waiting())
    assert not connections.has_room()


@contextmanager
def limited(descriptors: int) -> Iterator[None]:
    """Limit this process to so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def none_left() -> Iterator[None]:
    """Leave no free descriptor to this process; what is open works."""
    lowest = os.dup(0)
    os.close(lowest)
    with limited(lowest):
        yield


# --- refused


@pytest.fixture
async def small(config: Config, provider: Provider) -> AsyncIterator[Any]:
    """A client of a server that allows one request at a time."""
    runner = Runner(create_app(config), Connections(1, 4))
    await runner.setup()
    sockets = await ListeningSockets.open(["127.0.0.1"], 0)
    site = Site(runner, [each.socket for each in sockets.sockets], runner.connections)
    await site.start()
    runner.connections.most = 1
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as client:
        yield client
    await runner.cleanup()


async def test_request_above_the_limit_gets_503_in_the_clients_format(small: Any, provider: Provider) -> None:
    admin = await sign_in(small, "admin", "admin123")
    await add_model(small, admin, provider.base_url)
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    body = {"message": "问", "model": "test-model", "conversation_id": "c"}
    async with small.post("/api/chat/stream", json=body, headers=admin) as running:
        await running.content.readline()
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages", "/api/nowhere"):
            async with small.post(path, json=body, headers=admin | {"X-Request-ID": "mine"}) as response:
                said = await response.json()
                assert (response.status, response.headers["Retry-After"]) == (503, "5"), said
                assert response.headers["Connection"] == "close" and response.headers["X-Request-ID"]
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                if path.startswith("/api/"):
                    assert said["error"] == said["message"] and said["code"] == "server_busy"
                else:
                    assert "busy" in said["error"]["message"] and "success" not in said
        provider.gate.set()
        assert '"end"' in (await running.read()).decode()
    async with small.get("/api/health") as response:
        assert response.status == 200
    assert len(await messages_of(small, admin, "c")) == 2 and len(provider.bodies) == 1


async def test_connection_without_a_running_request_is_no_load(small: Any) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(4):
            # each client keeps its connection
            client = await stack.enter_async_context(aiohttp.ClientSession(small._base_url))
            for _ in range(2):
                async with client.get("/api/health") as response:
                    assert response.status == 200


HALF_SENT = (
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


async def test_requests_with_incomplete_bodies_block_no_other_client(small: Any) -> None:
    port = small._base_url.port
    async with AsyncExitStack() as stack:

        async def send(data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(data)
            return reader, writer

        half = [await send(HALF_SENT) for _ in range(20)]
        async with asyncio.timeout(30):
            async with small.get("/api/health") as response:
                assert response.status == 200
            # a body that arrives after all is answered
            half[0][1].write(b"}" + b" " * 98)
            assert b" 400 " in await half[0][0].readline()


async def test_rest_of_a_body_after_the_response_is_no_load(small: Any) -> None:
    port = small._base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    async with asyncio.timeout(30):
        assert b" 404 " in await reader.readuntil(b"}")
        writer.write(b'"a": 12}')
        for _ in range(2):
            async with small.get("/api/health") as response:
                assert response.status == 200
    writer.close()


async def test_hosts_of_which_one_is_taken_give_the_reason_and_leave_no_socket(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port, free = taken.getsockname()[1], f"unix:{tmp_path / 's'}"
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await ListeningSockets.open([free, "127.0.0.1"], port)
    assert not (tmp_path / "s").exists()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


# --- no descriptor for a provider


@pytest.fixture
async def client(config: Config) -> AsyncIterator[TestClient]:
    """A client of aiohttp's own server, which accepts connections however few descriptors are left."""
    async with TestClient(TestServer(create_app(config))) as client:
        yield client


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_attempt_without_a_free_descriptor_gets_503_and_does_not_blame_the_api_key(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, host: str
) -> None:
    """A descriptor is needed to connect to the provider or to look up its name."""
    base_url = provider.base_url.replace("127.0.0.1", host)
    await add_model(client, admin, base_url, fallback_model="other")
    key = {"model_provider": "p_test_model", "api_key": "a-key-of-the-users-0123456789"}
    saved = (await (await client.post("/api/apikeys", json=key, headers=user)).json())["apikey"]
    chat = {"message": "问", "model": "test-model"}
    program = {"model": "test-model", "messages": [{"role": "user", "content": "问"}]}
    with none_left():
        event = (await stream(client, user))[-1]
        for path, body in (
            ("/api/chat", chat),
            ("/v1/chat/completions", program),
            ("/v1/chat/completions", program | {"stream": True}),
            (f"/api/apikeys/{saved['id']}/test", {}),
        ):
            async with client.post(path, json=body, headers=user) as response:
                said = await response.json()
                assert (response.status, response.headers["Retry-After"]) == (503, "5"), (path, said)
                assert "服务器繁忙" in str(said) or "The server is busy" in str(said)
    assert (event["status"], event["error"], event["retry_after"]) == (503, "服务器繁忙，请稍后重试", 5)
    (listed,) = await (await client.get("/api/apikeys", headers=user)).json()
    assert (listed["health"], listed["last_error"], listed["failure_count"]) == ("ok", None, 0)
    assert provider.bodies == []
    assert (await stream(client, user))[-1]["type"] == "end"


# --- the whole process


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[ChatHub]:
    class Few(ChatHub):
        program = tmp_path / "few.py"

    Few.program.write_text(PROGRAM)
    async with Few(tmp_path / "chathub.db", PYTHONPATH=str(Path(__file__).parents[1])) as hub:
        yield hub


async def test_many_concurrent_streams_are_served_or_refused_and_the_log_stays_short(
    hub: ChatHub, provider: Provider
) -> None:
    client: Any = await hub.client(connector=aiohttp.TCPConnector(limit=0))
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)

    async def ask(number: int) -> Any:
        body = {"message": "问", "model": "test-model", "conversation_id": f"c{number}"}
        async with client.post("/api/chat/stream", json=body, headers=admin) as response:
            if response.status != 200:
                assert response.headers["Retry-After"] == "5"
                return response.status
            return (await read_events(response))[-1]["type"]

    asked = [asyncio.create_task(ask(number)) for number in range(FEW)]
    async with asyncio.timeout(30):
        # all requests that cannot be served are refused while the others are still running
        while sum(task.done() for task in asked) + len(provider.bodies) < FEW:
            await asyncio.sleep(0.02)
        provider.gate.set()
        outcomes = Counter(await asyncio.gather(*asked))
    assert set(outcomes) == {"end", 503} and outcomes["end"] >= 10, outcomes
    assert (await stream(client, admin, conversation_id="after"))[-1]["type"] == "end"
    assert "Traceback" not in hub.errors and "Logging error" not in hub.errors
    assert len(hub.errors.splitlines()) < 30, hub.errors


@pytest.mark.parametrize("sent", [b"", HALF_SENT])
async def test_connections_with_incomplete_requests_block_no_other_client(hub: ChatHub, sent: bytes) -> None:
    async with AsyncExitStack() as stack:

        async def connect() -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            stack.callback(writer.close)
            writer.write(sent)
            return reader

        silent = [await connect() for _ in range(3 * FEW)]
        client: Any = await hub.client()
        async with asyncio.timeout(30):
            async with client.get("/api/health") as response:
                assert response.status == 200
            # the connections that were there first were closed
            await until(lambda: silent[0].at_eof(), 10)
        assert not silent[-1].at_eof()
        if (descriptors := Path(f"/proc/{hub.pid}/fd")).exists():
            # descriptors for providers stay free
            assert len(list(descriptors.iterdir())) < FEW - 10
    assert "Traceback" not in hub.errors
