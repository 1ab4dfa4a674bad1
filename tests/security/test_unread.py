"""Clients that request much and read nothing: how much memory is kept for them, for how long, and for which
user.
"""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, until
from conversations import add_conversation, add_image, opened_file
from scripted import Provider

from chathub.app import create_app
from chathub.app_keys import RESPONSE_MEMORY
from chathub.config import Config
from chathub.server.protocol import Runner

MB = 1_000_000
# bytes of one response that may wait in the write buffer
EACH = 256 * 1024

Ask = Callable[..., Awaitable[None]]


@pytest.fixture
def config(config: Config, request: pytest.FixtureRequest) -> Config:
    """With a parameter: the seconds after which a client that does not read is dropped."""
    return dataclasses.replace(config, write_seconds=getattr(request, "param", 1))


@pytest.fixture
async def ask(client: TestClient, user: Headers) -> AsyncIterator[Ask]:
    """Send a request on a bare socket with a very small receive buffer, and never read."""
    with contextlib.ExitStack() as stack:

        async def send(path: str, body: bytes = b"", method: str = "GET") -> None:
            unread = stack.enter_context(socket.socket())
            unread.setblocking(False)
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # small TCP segments: for loopback's segments the kernel would take megabytes
            unread.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(unread, ("127.0.0.1", client.port))
            head = {
                **user,
                "Host": "localhost",
                "Content-Type": "application/json",
                "Content-Length": len(body),
            }
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            await loop.sock_sendall(unread, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)

        yield send


def buffers(client: TestClient) -> list[int]:
    """The size of the server's write buffer for each connection."""
    connections = client.server.handler.connections
    return [each.transport.get_write_buffer_size() for each in connections if each.transport]


def waiting(client: TestClient) -> int:
    """How many requests of the user wait for memory."""
    queue = client.app[RESPONSE_MEMORY]._queues.get(2)
    return len(queue.waiting) if queue else 0


async def fill(client: TestClient, admin: Headers, provider: Provider, database: Path) -> None:
    """Create a large object of every kind."""
    await add_model(client, admin, provider.base_url)
    ids = add_conversation(database, "c", ["长" * MB] * 4)
    add_image(database, ids[0], "f", bytes(4 * MB))
    with opened_file(database) as db:
        db.executemany(
            "INSERT INTO ledger (at, day, kind, user_id, provider, model, input_price, output_price,"
            " duration_ms, end_reason) VALUES (1, '2026-01-01', 'chat', 2, 'up', ?, 1, 1, 1, 'stop')",
            [(f"model-{number}" * 10,) for number in range(15_000)],
        )
        db.executemany(
            "INSERT INTO conversations (public_id, user_id, title, model, created_at, updated_at)"
            " VALUES (?, 2, ?, 'm', 1, 1)",
            [(f"l{number}", "题" * 200) for number in range(4_000)],
        )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/conversations/c/messages", b""),
        ("GET", "/api/conversations", b""),
        ("GET", "/api/files/f", b""),
        ("GET", "/api/usage?format=csv", b""),
        ("GET", "/api/usage?limit=1000", b""),
        ("POST", "/api/chat", b'{"message": "q", "model": "test-model"}'),
    ],
)
async def test_client_that_does_not_read_a_large_response_is_dropped(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    config: Config,
    ask: Ask,
    method: str,
    path: str,
    body: bytes,
) -> None:
    await fill(client, admin, provider, config.database)
    provider.script = provider.answer(
        200, {"choices": [{"message": {"content": "长" * MB}, "finish_reason": "stop"}]}
    )
    await ask(path, body, method)
    largest = 0

    def has_begun() -> bool:
        nonlocal largest
        largest = max(largest, *buffers(client), 0)
        return largest > 0

    await until(has_begun, 30)
    # the test's own connection is kept alive, and idle
    await until(lambda: not any(buffers(client)), 30)
    assert largest < EACH


@pytest.mark.parametrize("config", [600], indirect=True)
async def test_unread_responses_of_one_user_are_limited_and_delay_no_other_user(
    client: TestClient,
    user: Headers,
    admin: Headers,
    provider: Provider,
    config: Config,
    ask: Ask,
) -> None:
    await fill(client, admin, provider, config.database)
    for _ in range(20):
        await ask("/api/conversations/c/messages")
    await until(lambda: waiting(client) == 16, 30)
    await until(lambda: sum(size > 0 for size in buffers(client)) == 4, 30)
    # another user gets its list meanwhile, and an anonymous client too
    async with asyncio.timeout(30):
        async with client.get("/api/conversations?limit=1", headers=admin) as response:
            assert response.status == 200
        async with client.get("/api/models") as response:
            assert response.status == 200
    assert sum(size > 0 for size in buffers(client)) <= 4


@pytest.mark.parametrize("config", [600], indirect=True)
async def test_unread_copies_of_a_stored_reply_are_limited(
    client: TestClient, user: Headers, config: Config, ask: Ask
) -> None:
    """Each copy is read from the database for its own client."""
    # 8 MB in memory each
    message_id = add_conversation(config.database, "c", ["q", "长" * 4 * MB])[1]
    for _ in range(12):
        await ask(f"/api/chat/stream/{message_id}")
    # four are being sent, four hold what they will send, four were refused
    await until(lambda: waiting(client) == 4, 30)
    await until(lambda: sum(size > 0 for size in buffers(client)) == 4, 30)
    async with asyncio.timeout(30):
        async with client.get("/api/chat/active", headers=user) as response:
            assert response.status == 200
    assert sum(size > 0 for size in buffers(client)) == 4


async def test_large_list_is_sent_whole_to_a_client_that_reads(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, config: Config
) -> None:
    await fill(client, admin, provider, config.database)
    async with client.get("/api/conversations/c/messages", headers=user) as response:
        assert [row["content"] for row in await response.json()] == ["长" * MB] * 4
    async with client.get("/api/files/f", headers=user) as response:
        assert response.content_length == 4 * MB + 8 and len(await response.read()) == 4 * MB + 8
        assert response.headers["Cache-Control"].startswith("private")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with client.get("/api/usage?format=csv", headers=user) as response:
        assert len((await response.text()).splitlines()) == 15_001


async def test_every_tcp_connection_has_a_user_timeout(config: Config, tmp_path: Path) -> None:
    """From the moment it is accepted; Unix sockets have no such option, and work."""
    runner = Runner(create_app(config))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await web.UnixSite(runner, str(tmp_path / "s")).start()
        port = runner.addresses[0][1]
        _, idle = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: len(runner.server.connections) == 1)  # type: ignore[union-attr, arg-type]
        (connection,) = runner.server.connections  # type: ignore[union-attr]
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        idle.close()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        await runner.cleanup()
