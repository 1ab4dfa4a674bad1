"""Shared by the tests with a real process: dictations to interrupt, streams to read, rows to count."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from api.chats import Headers, add_model
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, Script, chunk

# what a crash may lose: text since the last save, once a second, and the time of the save itself
LOST_SECONDS = 2.0
TEXT = "服务器🙂断电，文字还在：家庭👩‍👩‍👧‍👦与国旗🇨🇳，𠀀𠮷野家。abc "


async def within(seconds: float, condition: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call until its result is true; returns the result."""
    async with asyncio.timeout(seconds):
        while not (answer := await condition()):
            await asyncio.sleep(0.02)
        return answer


class Dictation:
    """A script that streams pieces of a known text without end, and records when it had sent how much."""

    def __init__(self, pieces: int = 20, *, thinks: int = 0) -> None:
        self._pause = 1 / pieces
        self._thinks = thinks
        self.thought = self.text = ""
        self.sent: list[tuple[float, int]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(10_000):
            piece = "".join(TEXT[(number * 5 + i) % len(TEXT)] for i in range(1 + number % 7))
            if number < self._thinks:
                self.thought += piece
                await response.write(chunk(reasoning_content=piece))
            else:
                self.text += piece
                # cut anywhere, also inside a character, as the network does
                event = chunk(piece)
                cut = number * 13 % len(event)
                await response.write(event[:cut])
                await response.write(event[cut:])
            self.sent.append((time.monotonic(), len(self.thought) + len(self.text)))
            await asyncio.sleep(self._pause)
        raise AssertionError("nobody ended this")

    def moment_of(self, length: int) -> float:
        """When the first character beyond such a length was sent."""
        return min([at for at, sent in self.sent if sent > length], default=time.monotonic())

    def length_at(self, moment: float) -> int:
        return max([length for at, length in self.sent if at <= moment], default=0)


def by_question(scripts: dict[str, Script]) -> Script:
    """Choose a script by the last message."""

    async def run(request: web.Request) -> web.StreamResponse:
        question = json.loads(await request.read())["messages"][-1]["content"]
        return await scripts[question](request)

    return run


async def follow_until(response: aiohttp.ClientResponse, wanted: str, seconds: float = 30) -> dict[str, Any]:
    """Read a stream up to a text; returns its start event."""
    start: dict[str, Any] = {}
    async with asyncio.timeout(seconds):
        while line := (await response.content.readline()).decode():
            if line.startswith("data: ") and not start:
                start = json.loads(line[6:])
            if wanted in line:
                return start
    raise AssertionError(f"the stream ended early: {start}")


async def ask(client: aiohttp.ClientSession, headers: Headers, message: str, **body: Any) -> Any:
    """Begin a stream; the caller reads it."""
    wanted = {"message": message, "model": "test-model", **body}
    return await client.post("/api/chat/stream", json=wanted, headers=headers)


async def rest_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """The events left in a stream; a heartbeat is not an event."""
    async with asyncio.timeout(30), response:
        lines = (await response.read()).decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def counts(database: Path) -> tuple[int, int]:
    """The numbers of saved parts and of messages with the status streaming."""
    with closing(sqlite3.connect(database)) as connection:
        (parts,) = connection.execute("SELECT count(*) FROM message_parts").fetchone()
        (streaming,) = connection.execute(
            "SELECT count(*) FROM messages WHERE status = 'streaming'"
        ).fetchone()
    return parts, streaming


async def ready(hub: ChatHub, provider: Provider) -> tuple[aiohttp.ClientSession, Headers]:
    """A client with an administrator's session, on a server with the provider's model."""
    client = await hub.client()
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    return client, admin


async def again(hub: ChatHub) -> tuple[aiohttp.ClientSession, Headers]:
    client = await hub.client()
    return client, await sign_in(client, "admin", "admin123")
