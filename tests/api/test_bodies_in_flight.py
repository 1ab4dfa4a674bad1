"""The memory for request bodies is limited: for the server, for each user and for all anonymous clients."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient
from chats import add_model, opened, until
from conftest import Connect, sign_in
from listening import listening
from scripted import Provider, chunk, reply

from chathub.app import create_app
from chathub.app_keys import CONFIG, METRICS, REPLIES, REQUEST_MEMORY
from chathub.config import Config
from chathub.limits.request_memory import BodiesFull, RequestMemory, TooManyBodies
from chathub.metrics.metrics import Metrics

Headers = dict[str, str]

KIB = 1024
MIB = 1024 * KIB
# the bytes of each body that are not counted
FREE = 4096


def test_each_share_is_limited_to_its_part_of_the_server_limit() -> None:
    bodies = RequestMemory(64 * MIB)
    one, other = bodies.of(1), bodies.of(2)
    one.grow(48 * MIB)
    with pytest.raises(TooManyBodies):
        one.grow(FREE + 1)
    other.grow(15 * MIB)
    with pytest.raises(BodiesFull):
        other.grow(MIB + FREE)
    strangers = RequestMemory(64 * MIB)
    for _ in range(512):
        strangers.of(None).grow(64 * KIB)
    with pytest.raises(TooManyBodies):
        for _ in range(512):
            strangers.of(None).grow(64 * KIB)


def test_refusal_has_retry_after_and_closes_the_connection() -> None:
    bodies = RequestMemory(1)
    with pytest.raises(TooManyBodies) as refusal:
        bodies.of(1).grow(33 * MIB)
    assert refusal.value.retry_after and refusal.value.closes


@pytest.mark.parametrize("most", [1, 40 * MIB])
def test_one_body_of_the_largest_allowed_size_always_fits(most: int) -> None:
    RequestMemory(most).of(1).grow(32 * MIB)
    RequestMemory(most).of(None).grow(64 * KIB)


def test_released_memory_is_available_again_also_after_a_refusal() -> None:
    bodies = RequestMemory(1)
    first = bodies.of(1)
    with pytest.raises(TooManyBodies):
        first.grow(40 * MIB)
    first.release()
    assert bodies.used == 0
    again = bodies.of(1)
    again.grow(32 * MIB)
    again.release()
    assert bodies.used == 0


class Hub:
    """A server with little memory for bodies: 32 MiB for each user and in total, and 64 KiB for anonymous
    clients.
    """

    def __init__(self, app: web.Application, port: int, session: ClientSession) -> None:
        self.app, self.port, self.session = app, port, session
        self.url = f"http://127.0.0.1:{port}"
        self.tokens: dict[str, str] = {}
        self._writers: list[asyncio.StreamWriter] = []

    async def log_in(self, username: str, password: str) -> None:
        body = {"username": username, "password": password}
        async with self.session.post(f"{self.url}/api/auth/login", json=body) as response:
            self.tokens[username] = (await response.json())["token"]

    async def begin(
        self, who: str, sent: int, *, path: str = "/api/chat", chunked: bool = False
    ) -> asyncio.StreamReader:
        """Send the beginning of a body of 20 MiB, and no more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {20 * MIB}"
        token = f"Authorization: Bearer {self.tokens[who]}\r\n" if who else ""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{token}{length}\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        writer.write(head.encode())
        data = b"%x\r\n" % sent + b" " * sent if chunked else b" " * sent
        writer.write(data)
        return reader

    async def send_on(self, size: int) -> None:
        """Send more of the newest body.

        Raises: ConnectionError: the server has closed the connection.
        """
        for _ in range(size // (64 * KIB)):
            self._writers[-1].write(b" " * 64 * KIB)
            await self._writers[-1].drain()
            await asyncio.sleep(0)

    async def holds(self, size: int) -> None:
        await until(lambda: self.app[REQUEST_MEMORY].used == size, 20)

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@pytest.fixture
async def hub(config: Config) -> AsyncIterator[Hub]:
    app = create_app(replace(config, body_bytes=1))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(app))
        session = await stack.enter_async_context(ClientSession())
        hub = Hub(app, port, session)
        stack.callback(hub.leave)
        await hub.log_in("admin", "admin123")
        await hub.log_in("user", "user123")
        yield hub


async def refusal(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict[str, object]]:
    """A whole response, after which the server closes the connection."""
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body)


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_counts_as_it_arrives_until_its_sender_disconnects(hub: Hub, chunked: bool) -> None:
    await hub.begin("user", 3 * MIB, chunked=chunked)
    await hub.holds(3 * MIB - FREE)
    hub.leave()
    await hub.holds(0)


async def test_user_over_its_share_gets_429_and_its_other_requests_continue(hub: Hub) -> None:
    for _ in range(2):
        await hub.begin("user", 15 * MIB)
    await hub.holds(2 * (15 * MIB - FREE))
    status, headers, body = await refusal(await hub.begin("user", 15 * MIB))
    assert (status, body["success"]) == (429, False)
    assert int(headers["Retry-After"]) > 0 and headers["Connection"] == "close"
    await hub.holds(2 * (15 * MIB - FREE))


async def test_full_server_answers_503_and_short_requests_succeed(hub: Hub) -> None:
    await hub.begin("user", 19 * MIB)
    await hub.holds(19 * MIB - FREE)
    status, headers, body = await refusal(await hub.begin("admin", 15 * MIB))
    assert (status, body["success"]) == (503, False)
    assert int(headers["Retry-After"]) > 0 and headers["Connection"] == "close"
    await hub.log_in("admin", "admin123")


async def test_refused_client_gets_the_response_at_once_and_may_go_on_sending(hub: Hub) -> None:
    """A connection reset would lose the response for a client that sends everything before it reads."""
    await hub.begin("user", 19 * MIB)
    await hub.holds(19 * MIB - FREE)
    status, _, _ = await refusal(await hub.begin("admin", 15 * MIB))
    await hub.send_on(4 * MIB)
    assert status == 503


async def test_full_server_answers_gateway_requests_in_the_clients_format(hub: Hub) -> None:
    await hub.begin("user", 19 * MIB)
    await hub.holds(19 * MIB - FREE)
    reader = await hub.begin("admin", 15 * MIB, path="/v1/messages")
    status, headers, body = await refusal(reader)
    assert (status, body["type"], headers["Connection"]) == (503, "error", "close")


async def test_body_of_the_documented_maximum_is_accepted(hub: Hub) -> None:
    headers = {"Authorization": f"Bearer {hub.tokens['admin']}", "Content-Type": "application/json"}
    body = b'{"model":"nobody-has-it","messages":"%b"}'
    for length, status in ((32 * MIB, 404), (32 * MIB + 1, 413)):
        data, url = io.BytesIO(body % (b"x" * (length - len(body) + 2))), f"{hub.url}/v1/chat/completions"
        async with hub.session.post(url, data=data, headers=headers) as response:
            assert response.status == status
    await hub.holds(0)


@pytest.mark.parametrize(("who", "path"), [("", "/api/auth/login"), ("user", "/api/chat/stop")])
async def test_announced_length_above_the_limit_is_refused_before_the_body(
    hub: Hub, who: str, path: str
) -> None:
    reader = await hub.begin(who, 0, path=path)
    async with asyncio.timeout(20):
        assert b" 413 " in await reader.readline()


@pytest.mark.parametrize("length", [64 * KIB, 64 * KIB + 1])
@pytest.mark.parametrize("chunked", [False, True])
async def test_anonymous_client_may_send_64_kib(client: TestClient, length: int, chunked: bool) -> None:
    body = json.dumps({"username": "admin", "password": "admin123"}).encode().ljust(length)

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:100]
        yield body[100:]

    headers = {"Content-Type": "application/json"}
    data = pieces() if chunked else body
    async with client.post("/api/auth/login", data=data, headers=headers) as response:
        answer = await response.json()
        assert response.status == (200 if length == 64 * KIB else 413)
        assert response.status == 200 or "64 KiB" in answer["error"]


async def test_body_memory_is_kept_until_the_handler_ends(connect: Connect, provider: Provider) -> None:
    client = await connect()
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.hang()
    body = {"model": "test-model", "messages": [{"role": "user", "content": "x" * 100_000}]}
    held = client.app[REQUEST_MEMORY]  # type: ignore[index]
    asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=admin))
    await until(lambda: len(provider.bodies) == 1)
    assert held.used > 90_000 and not asking.done()
    provider.gate.set()
    assert (await asking).status == 502
    await until(lambda: held.used == 0)


async def test_body_memory_of_a_turn_is_kept_until_its_reply_ends(
    connect: Connect, provider: Provider
) -> None:
    """The client has disconnected, but the images of the turn are still in memory."""
    client = await connect()
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("a"), *reply("b")], stall_after=1)
    held = client.app[REQUEST_MEMORY]  # type: ignore[index]
    response = await opened(client, admin, "a", message="x" * 100_000)
    size = held.used
    response.close()
    await until(lambda: not client.app[REPLIES].of_user(1)[0].followers)  # type: ignore[index]
    assert held.used == size > 90_000
    provider.gate.set()
    await until(lambda: held.used == 0)


async def test_read_buffer_of_a_waiting_request_is_at_most_128_kib() -> None:
    """The buffer is not counted yet, and a client may send many requests ahead."""

    async def show(request: web.Request) -> web.Response:
        return web.json_response(request.content.get_read_buffer_limits())

    app = web.Application()
    app[CONFIG] = Config()
    app[METRICS] = Metrics()
    app.router.add_post("/", show)
    async with (
        listening(app) as port,
        ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/", data=b"x") as response,
    ):
        assert await response.json() == [64 * KIB, 128 * KIB]
