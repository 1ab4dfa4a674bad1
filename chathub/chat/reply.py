"""A reply while it is being written: growing text on the server, any number of cursors on it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from msgspec import Struct

from chathub.chat.ledger import Bill
from chathub.chat.turns import Turn
from chathub.upstream.types import Event, Failure, Finish, Reasoning, Text, Usage

Kind = Literal["content", "reasoning"]


class Ending(Struct, frozen=True):
    """How a reply ended. ``status`` is the message's, ``code`` the HTTP status of an error (else 200)."""

    status: str
    reason: str = ""
    code: int = 200
    finish_reason: str = ""
    retry_after: float | None = None


class Reply:
    """The parts of an answer in the order they came, and what is known about its end.

    The reply belongs to the server; a client is a cursor (``follow``). ``bill`` and ``ended`` are set
    once everything is committed.
    """

    def __init__(self, turn: Turn, user_id: int, model: str, limit: int) -> None:
        self.turn = turn
        self.user_id = user_id
        self.model = model
        self.parts: list[tuple[Kind, str]] = []
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.failure: Failure | None = None
        self.too_long = False
        # whoever asked follows from the start
        self.followers = 1
        self.ending: Ending | None = None
        self.bill = Bill()
        self.ended = False
        self._room = limit
        self._changed = asyncio.Event()

    def feed(self, events: list[Event]) -> None:
        """Take in what one network read brought, and wake the followers once."""
        for event in events:
            if isinstance(event, Text):
                self._append("content", event.text)
            elif isinstance(event, Reasoning):
                self._append("reasoning", event.text)
            elif isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, Finish):
                self.finish_reason = event.reason
            elif isinstance(event, Failure):
                self.failure = event
        self.wake()

    def _append(self, kind: Kind, text: str) -> None:
        if len(text) > self._room:
            text, self.too_long = text[: self._room], True
        self._room -= len(text)
        if text:
            self.parts.append((kind, text))

    def wake(self) -> None:
        """Let every follower look: at new parts, at the end, or at the time for a heartbeat."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def text(self, kind: Kind) -> str:
        """All of one kind so far."""
        return "".join([text for part, text in self.parts if part == kind])

    def end(self) -> None:
        self.ended = True
        self.wake()

    async def follow(self) -> AsyncIterator[list[tuple[Kind, str]]]:
        """What is new, as runs of one kind, until the end; an empty list when woken for nothing.

        A slow reader gets fewer and larger runs; nothing is queued for it.
        """
        cursor = 0
        while True:
            count = len(self.parts)
            if cursor < count:
                new = self.parts[cursor:count] if cursor else self.parts[:count]
                cursor = count
                yield new if len(new) == 1 else _runs(new)
            elif self.ended:
                return
            else:
                await self._changed.wait()
                if len(self.parts) == cursor and not self.ended:
                    yield []

    async def finished(self) -> None:
        """Wait until the reply has ended and is stored."""
        while not self.ended:
            await self._changed.wait()


def _runs(parts: list[tuple[Kind, str]]) -> list[tuple[Kind, str]]:
    runs: list[tuple[Kind, list[str]]] = []
    for kind, text in parts:
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(text)
    return [(kind, "".join(texts)) for kind, texts in runs]
