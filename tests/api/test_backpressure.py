"""Clients that read slowly or not at all: they are dropped or served in larger events, and no other client
waits for them.
"""

import asyncio
import contextlib
import dataclasses
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, read_events, text_of, until
from conftest import sign_in
from scripted import Provider, chunk, reply

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]

# far more than the kernel's buffers hold for such a client; every part of the text is different
PIECES = ["".join(f"第{i}段{j}行🙂" for j in range(i, i + 150)) for i in range(0, 90_000, 150)]
TEXT = "".join(PIECES)
SIZE = len(TEXT.encode())
WRITE_SECONDS = 1


def assert_same(seen: str, wanted: str) -> None:
    """Two texts of megabytes are equal; a difference of that size must not be printed."""
    if seen != wanted:
        at = next((i for i, (a, b) in enumerate(zip(seen, wanted, strict=False)) if a != b), None)
        pytest.fail(f"{len(seen)} of {len(wanted)} characters, the first difference at {at}")


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(
        config, write_seconds=WRITE_SECONDS, heartbeat_seconds=0.5, reply_characters=2 * len(TEXT)
    )


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


class Phone:
    """A client on a bare socket with a very small receive buffer; it reads only when the test says so.

    Small TCP segments keep the server's own send buffer small too: for loopback's segments the kernel would
    take megabytes. HTTP/1.0, so that the body is the stream itself.
    """

    def __init__(self, client: TestClient, headers: Headers) -> None:
        self._address = ("127.0.0.1", client.port)
        self._headers = headers
        self._bytes = bytearray()
        self.whole = False
        """Whether the server closed the connection."""

    async def send(self, method: str, path: str, body: Any = None, last_event_id: str = "") -> None:
        raw = json.dumps(body).encode() if body is not None else b""
        headers = {**self._headers, "Host": "localhost", "Content-Length": len(raw)}
        headers["Content-Type"] = "application/json"
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, self._address)
        await loop.sock_sendall(self._socket, f"{method} {path} HTTP/1.0\r\n{head}\r\n".encode() + raw)

    async def read(self, size: int = 65536) -> bool:
        """Read once; False at the end of the stream."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, size)
        except ConnectionError:
            data = b""
        self._bytes += data
        self.whole = not data
        return bool(data)

    async def read_until(self, wanted: bytes) -> None:
        async with asyncio.timeout(30):
            while wanted not in self._bytes:
                assert await self.read(512), self._bytes

    async def read_all(self, size: int = 65536, pause: float = 0, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while await self.read(size):
                if pause:
                    await asyncio.sleep(pause)

    async def read_evenly(self, seconds: float, most: Callable[[], float] = lambda: math.inf) -> None:
        """Read a whole reply of ``SIZE`` bytes evenly in about so many seconds, and never more than ``most``
        bytes of it.

        On a busy machine the pauses are late: the bytes due meanwhile are then read at once.
        """
        rate, began = SIZE / seconds, time.monotonic()
        async with asyncio.timeout(60):
            while True:
                due = min((time.monotonic() - began) * rate, most())
                late = int(due) - len(self._bytes)
                if late < 1024:
                    await asyncio.sleep(1024 / rate)
                elif not await self.read(late):
                    return

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """(id, payload) of the events received completely."""
        head, _, body = self._bytes.partition(b"\r\n\r\n")
        assert b" 200 " in head.partition(b"\r\n")[0], head
        found = []
        for block in body.split(b"\n\n")[:-1]:
            lines = block.decode().strip().split("\n")
            ids = [line[3:].strip() for line in lines if line.startswith("id:")]
            payloads = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
            found += [(ids[-1] if ids else "", payload) for payload in payloads]
        return found

    def text(self, kind: str = "content") -> str:
        return text_of([payload for _, payload in self.events()], kind)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def phone(client: TestClient, user: Headers) -> AsyncIterator[Callable[[], Phone]]:
    with contextlib.ExitStack() as stack:

        def make() -> Phone:
            phone = Phone(client, user)
            stack.callback(lambda: phone.close() if hasattr(phone, "_socket") else None)
            return phone

        yield make


async def active(client: TestClient, user: Headers) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await (await client.get("/api/chat/active", headers=user)).json()
    return found


async def until_followed_by(client: TestClient, user: Headers, followers: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while (await active(client, user))[0]["followers"] != followers:
            await asyncio.sleep(0.05)


async def largest_buffer(client: TestClient, largest: list[int]) -> None:
    """Record the largest write buffer of any one connection."""
    while True:
        for connection in client.server.runner.server.connections:  # type: ignore[union-attr]
            if connection.transport is not None:
                largest[0] = max(largest[0], connection.transport.get_write_buffer_size())
        await asyncio.sleep(0.01)


class Follower:
    """Reads a reply at full speed; ``size`` is how many bytes it has."""

    def __init__(self, client: TestClient, user: Headers, message_id: int) -> None:
        self.size = 0
        self._task = asyncio.create_task(self._read(client, user, message_id))

    async def _read(self, client: TestClient, user: Headers, message_id: int) -> bytes:
        pieces = []
        async with client.get(f"/api/chat/stream/{message_id}", headers=user) as response:
            while piece := await response.content.readany():
                pieces.append(piece)
                self.size += len(piece)
        return b"".join(pieces)

    async def events(self) -> list[dict[str, Any]]:
        """All events, once the stream has ended."""
        lines = (await asyncio.wait_for(self._task, 30)).decode().split("\n")
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def stored_reply(client: TestClient, user: Headers, provider: Provider) -> int:
    """A long finished reply; returns its message."""
    provider.script = provider.stream(reply(*PIECES))
    body = {"message": "说", "model": "test-model"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        events = await read_events(response)
    assert_same(text_of(events), TEXT)
    message_id: int = events[0]["message_id"]
    return message_id


# --- a client that does not read


async def test_client_that_stops_reading_is_dropped_and_delays_no_other(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    provider.script = provider.stream(reply(*PIECES), pause=0.001, stall_after=len(PIECES))
    stuck = phone()
    body = {"message": "说", "model": "test-model", "conversation_id": "c", "resumable": True}
    await stuck.send("POST", "/api/chat/stream", body)
    await stuck.read_until(b'"start"')
    message_id = stuck.events()[0][1]["message_id"]
    largest = [0]
    watching = asyncio.create_task(largest_buffer(client, largest))
    others = [Follower(client, user, message_id) for _ in range(3)]
    # the other followers have the whole text and are still connected when the client is dropped
    async with asyncio.timeout(30):
        while any(other.size < SIZE for other in others):
            await asyncio.sleep(0.05)
    await until_followed_by(client, user, 3, 8 * WRITE_SECONDS)
    watching.cancel()
    # the server kept for the client only what it had been sent, not the reply
    assert 0 < largest[0] < SIZE / 4
    provider.gate.set()
    for other in others:
        events = await other.events()
        assert_same(text_of(events), TEXT)
        assert events[-1]["type"] == "end"
    kept = (await messages_of(client, user, "c"))[1]
    assert_same(kept["content"], TEXT)
    assert kept["status"] == "done"

    # it reconnects for the rest
    await stuck.read_all()
    assert stuck.events()[-1][1]["type"] == "content"
    had = len(stuck.text())
    assert 0 < had < len(TEXT)
    assert_same(stuck.text(), TEXT[:had])
    back = phone()
    await back.send("GET", f"/api/chat/stream/{message_id}", last_event_id=stuck.events()[-1][0])
    await back.read_all()
    assert_same(back.text(), TEXT[had:])
    assert back.events()[-1][1]["type"] == "end"


async def test_connection_of_a_dropped_client_is_closed_with_its_buffer(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    """The client never reads again: the data left for it must not stay in memory until it does."""
    message_id = await stored_reply(client, user, provider)
    stuck = phone()
    await stuck.send("GET", f"/api/chat/stream/{message_id}")
    await stuck.read_until(b'"start"')

    def waiting() -> int:
        connections = client.server.handler.connections
        return sum(each.transport.get_write_buffer_size() for each in connections if each.transport)

    await until(lambda: waiting() > 0)
    await until(lambda: waiting() == 0, 8 * WRITE_SECONDS)


async def test_reply_ends_while_its_client_does_not_read(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    """Neither the provider nor the end of the reply waits for the client that began the turn."""
    provider.script = provider.stream(reply(*PIECES))
    stuck = phone()
    body = {"message": "说", "model": "test-model", "conversation_id": "c"}
    await stuck.send("POST", "/api/chat/stream", body)
    await stuck.read_until(b'"start"')
    async with asyncio.timeout(30):
        while (await messages_of(client, user, "c"))[1]["status"] == "streaming":
            await asyncio.sleep(0.05)
    assert_same((await messages_of(client, user, "c"))[1]["content"], TEXT)
    assert not stuck.whole and await active(client, user) == []


async def test_client_that_does_not_read_a_stored_reply_is_dropped(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    """The whole of a long stored reply is available at once, more than any buffer takes."""
    message_id = await stored_reply(client, user, provider)
    stuck = phone()
    await stuck.send("GET", f"/api/chat/stream/{message_id}")
    await stuck.read_until(b'"start"')
    await asyncio.sleep(6 * WRITE_SECONDS)
    await stuck.read_all()
    assert stuck.events()[-1][1]["type"] != "end", "it was still being served"


async def test_many_clients_that_do_not_read_cost_less_than_a_copy_of_the_reply_each(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    message_id = await stored_reply(client, user, provider)
    stuck = [phone() for _ in range(8)]
    for each in stuck:
        await each.send("GET", f"/api/chat/stream/{message_id}")
        await each.read_until(b'"start"')
    largest = [0]
    watching = asyncio.create_task(largest_buffer(client, largest))
    await until(lambda: largest[0] > 0)
    await asyncio.sleep(0.5)
    watching.cancel()
    assert 0 < largest[0] < SIZE / 4


# --- a client that reads slowly


async def test_slow_reader_gets_the_whole_text_in_fewer_larger_events(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    """The reading takes far longer than the write time-out but never stops making progress, and it is at most
    half as fast as that of another client while the reply is generated.
    """
    provider.script = provider.stream(reply(*PIECES), pause=0.001)
    slow = phone()
    body = {"message": "说", "model": "test-model", "conversation_id": "c", "resumable": True}
    await slow.send("POST", "/api/chat/stream", body)
    await slow.read_until(b'"start"')
    message_id = slow.events()[0][1]["message_id"]
    fast = Follower(client, user, message_id)
    began = time.monotonic()
    await slow.read_evenly(4 * WRITE_SECONDS, lambda: fast.size / 2 + 4096 if fast.size < SIZE else math.inf)
    took = time.monotonic() - began
    seen = [payload for _, payload in slow.events()]
    assert seen[-1]["type"] == "end", f"cut off after {len(slow.text())} of {len(TEXT)} characters"
    assert_same(slow.text(), TEXT)
    assert took > 2 * WRITE_SECONDS
    parts = [event for event in seen if event["type"] == "content"]
    quick = [event for event in await fast.events() if event["type"] == "content"]
    assert len(parts) < len(quick)


async def test_slow_reader_of_a_stored_reply_gets_the_whole_text(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    message_id = await stored_reply(client, user, provider)
    slow = phone()
    await slow.send("GET", f"/api/chat/stream/{message_id}")
    began = time.monotonic()
    await slow.read_evenly(4 * WRITE_SECONDS)
    assert time.monotonic() - began > 2 * WRITE_SECONDS
    assert_same(slow.text(), TEXT)
    assert slow.events()[-1][1]["type"] == "end"


async def test_client_that_reconnects_again_and_again_makes_progress(
    client: TestClient, user: Headers, provider: Provider, phone: Callable[[], Phone]
) -> None:
    """Each connection brings a further part of a long reply, however slow it is: an event too large to arrive
    whole would be sent from its beginning for ever.
    """
    message_id = await stored_reply(client, user, provider)
    seen, cursor = "", "0-0"
    for _ in range(4):
        visit = phone()
        await visit.send("GET", f"/api/chat/stream/{message_id}", last_event_id=cursor)
        await visit.read_until(b'"start"')
        for _ in range(300):
            await visit.read(1024)
        visit.close()
        assert visit.text(), f"nothing came after {len(seen)} of {len(TEXT)} characters"
        seen += visit.text()
        cursor = visit.events()[-1][0]
        assert_same(seen, TEXT[: len(seen)])


async def test_ten_followers_at_different_speeds_get_the_same_text(
    connect: Connect, config: Config, provider: Provider
) -> None:
    # no follower is dropped, however slow a busy machine makes it
    patient = dataclasses.replace(config, write_seconds=60, database=config.database.with_name("patient.db"))
    client = await connect(patient)
    user = await sign_in(client, "admin", "admin123")
    await add_model(client, user, provider.base_url)
    thoughts, texts = PIECES[:100], PIECES[100:400]
    parts = [chunk(reasoning_content=text) for text in thoughts] + reply(*texts)
    provider.script = provider.stream(parts, pause=0.004)
    whole = {"reasoning": "".join(thoughts), "content": "".join(texts)}
    first = Phone(client, user)
    body = {"message": "说", "model": "test-model", "conversation_id": "c", "resumable": True}
    await first.send("POST", "/api/chat/stream", body)
    await first.read_until(b'"start"')
    message_id = first.events()[0][1]["message_id"]

    async def join(number: int) -> tuple[dict[str, str], Phone]:
        """Join later, begin at another cursor, read in other sizes."""
        await asyncio.sleep(number * 0.2)
        at = {"content": number * 1000 * (number % 3), "reasoning": number * 700 * (number % 2)}
        phone_ = Phone(client, user)
        cursor = f"{at['content']}-{at['reasoning']}"
        await phone_.send("GET", f"/api/chat/stream/{message_id}", last_event_id=cursor)
        await phone_.read_all(400 * 3**number, pause=0.0005 * (number % 4))
        return {kind: whole[kind][skip:] for kind, skip in at.items()}, phone_

    joined = await asyncio.gather(first.read_all(2048), *(join(number) for number in range(1, 10)))
    for kind in whole:
        assert_same(first.text(kind), whole[kind])
    assert first.events()[-1][1]["type"] == "end"
    for wanted, follower in joined[1:]:
        for kind in whole:
            assert_same(follower.text(kind), wanted[kind])
        assert follower.events()[-1] == first.events()[-1]
    for each in (first, *(follower for _, follower in joined[1:])):
        each.close()


# --- a provider that does not end its reply


@pytest.mark.parametrize("thinking", [False, True])
async def test_reply_of_a_flooding_provider_is_cut_at_the_configured_size(
    connect: Connect, config: Config, provider: Provider, thinking: bool
) -> None:
    limit = 50_000
    database = config.database.with_name("other.db")
    client = await connect(dataclasses.replace(config, reply_characters=limit, database=database))
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    flood = "洪水🙂" * 250
    part = chunk(reasoning_content=flood) if thinking else chunk(flood)
    provider.script = provider.stream([part] * 100_000)
    body = {"message": "说", "model": "test-model", "conversation_id": "c"}
    async with asyncio.timeout(30), client.post("/api/chat/stream", json=body, headers=admin) as response:
        events = await read_events(response)
    kind = "reasoning" if thinking else "content"
    whole = (flood * 100)[:limit]
    assert_same(text_of(events, kind), whole)
    assert (events[-1]["type"], events[-1]["finish_reason"]) == ("error", "size_limit")
    assert "过长" in events[-1]["error"] and events[-1]["usage"]["completion_tokens"] > 0
    kept = (await messages_of(client, admin, "c"))[1]
    assert_same(kept[kind], whole)
    assert kept["reason"] == events[-1]["error"]
    async with asyncio.timeout(30):
        while provider.closed == 0:
            await asyncio.sleep(0.01)
