"""A reply while it is being written: growing text on the server, any number of cursors on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from chathub.billing.ledger import UsageCost
from chathub.chat.cursor import Cursor, Kind, Part, after, merged
from chathub.chat.turn import FinalStatus, Turn
from chathub.database.connection import Row
from chathub.formats.events import Event, Failure, Finish, Reasoning, State, Text, ToolCallDelta, Usage
from chathub.formats.messages import ToolCall
from chathub.limits.reply_memory import MemoryLease
from chathub.providers.catalog import ChatModel
from chathub.upstream.failover import Progress

# reads the text of a stored reply: of a kind, from a code point on, so many
Read = Callable[[Kind, int, int], Awaitable[str]]
# characters that a follower is given at once; a stored text is kept up to this, a longer one is read again
_PIECE = 65_536


class Reply(Progress):
    """The parts of an answer in the order they came, and what is known about its end.

    The reply belongs to the server; a client is a cursor (``follow``), and a slow one does not slow it.
    ``usage_cost``, ``budget`` and ``ended`` are set once everything is committed.
    """

    def __init__(self, turn: Turn, user_id: int, model: str, limit: int = 0) -> None:
        super().__init__()
        self.turn = turn
        self.user_id = user_id
        # the model that was asked for, and the one that answers
        self.model = self.answered_by = model
        # set once there is a plan
        self.answering: ChatModel | None = None
        # neighbours of one kind are merged as they come and as they are saved; ``length`` is theirs together
        self.parts: list[Part] = []
        self.length = 0
        # about the bytes that all of it takes
        self.size = 0
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.calls: dict[int, ToolCall] = {}
        self.state: dict[str, Any] = {}
        self.failure: Failure | None = None
        self.too_long = False
        # it was stopped: only what it used is still taken in
        self.drains_usage = False
        # whoever asked follows from the start
        self.followers = 1
        self.stops_when_left = False
        # the personal token it was asked with
        self.token_id: int | None = None
        self.final_status: FinalStatus | None = None
        self.settling = False
        self.ended = False
        self.usage_cost = UsageCost()
        # what is left to its user, if that is little
        self.budget = turn.budget
        self.prompt_estimate = 0
        self._read: Read | None = None
        self._room = limit
        self._saved = 0
        self._rows = 0
        self._before = 0, 0
        self._waiting: list[asyncio.Future[None]] = []

    @classmethod
    def stored(cls, row: Row, user_id: int) -> "Reply":
        """A reply that is over, from the database: it is followed as if it were still here."""
        turn = Turn(row["conversation_id"], row["public_id"], row["title"], row["parent_id"], row["id"])
        reply = cls(turn, user_id, row["asked_model"])
        reply.answered_by = row["model"]
        texts: list[Part] = [("reasoning", row["reasoning"]), ("content", row["content"])]
        reply._add([part for part in texts if part[1]])
        calls = msgspec.json.decode(row["tool_calls"] or "[]", type=list[ToolCall])
        reply.calls = dict(enumerate(calls))
        reply.final_status = FinalStatus(
            row["status"], row["reason"], row["error_status"], row["finish_reason"], row["retry_after"]
        )
        if row["status"] == "streaming":
            # nobody writes it any more: its end could not be stored
            reply.final_status = FinalStatus("interrupted", "回复未能保存", 500, "error")
        reply.usage_cost = UsageCost(
            row["prompt_tokens"],
            row["completion_tokens"],
            row["reasoning_tokens"],
            row["cached_tokens"],
            row["usage_source"],
            row["cost"],
        )
        reply.ended = True
        return reply

    def count_in(self, holding: MemoryLease) -> None:
        """Count what comes as memory of its user's; when that is too much, reading pauses."""
        self.holding, self.room = holding, holding.room

    def use_model(self, model: ChatModel) -> None:
        """A model is asked: the first one, or what it falls back on."""
        self.answering, self.answered_by = model, model.name

    @property
    def has_output(self) -> bool:
        """Whether something of the answer has come."""
        return bool(self.parts or self.calls)

    def reset_attempt(self) -> None:
        """A failed attempt brought nothing of the answer: what else it told does not count."""
        self.usage, self.finish_reason, self.state = None, "", {}

    def feed(self, events: list[Event]) -> bool:
        """Take in what one network read brought, and wake the followers once; true for enough."""
        if self.drains_usage:
            events = [event for event in events if isinstance(event, Usage)]
        new: list[Part] = []
        for event in events:
            if isinstance(event, Text):
                new.append(("content", self._fitting(event.text)))
            elif isinstance(event, Reasoning):
                new.append(("reasoning", self._fitting(event.text)))
            elif isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, Finish):
                self.finish_reason = event.reason
            elif isinstance(event, ToolCallDelta):
                known = self.calls.get(event.index, ToolCall("", ""))
                self.calls[event.index] = ToolCall(
                    known.id or event.id, known.name or event.name, known.arguments + event.arguments
                )
                self._room -= event.size
                self._grow(event.size)
                self.too_long = self.too_long or self._room < 0
            elif isinstance(event, State):
                self.state = event.data
        self._add(new)
        if self.first_at is None and self.has_output:
            self.first_at = time.monotonic()
        self.wake()
        return self.too_long

    def _fitting(self, text: str) -> str:
        """As much of a text as there is room for."""
        if "\0" in text:
            # SQLite's text functions stop at it
            text = text.replace("\0", "")
        if len(text) > self._room:
            text, self.too_long = text[: self._room], True
        self._room -= len(text)
        return text

    def _add(self, parts: list[Part]) -> None:
        self.parts += [part for part in merged(parts) if part[1]]
        self.length += sum(len(text) for _, text in parts)
        self._grow(sum(len(text) if text.isascii() else 2 * len(text) for _, text in parts))

    def _grow(self, size: int) -> None:
        self.size += size
        if self.holding is not None and size:
            self.holding.grow(size)

    def wake(self) -> None:
        """Let every follower look: at new parts, at the end, or at the time for a heartbeat."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _change(self) -> None:
        """Wait for the next wake-up."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def text(self, kind: Kind) -> str:
        """All of one kind so far."""
        return "".join([text for part, text in self.parts if part == kind])

    @property
    def was_saved(self) -> bool:
        """Whether some of it is on disk, or on its way there."""
        return self._rows > 0

    def save_again(self) -> None:
        """What was given as unsaved last time did not reach the disk."""
        self._saved, self._rows = self._before

    def unsaved(self) -> list[tuple[int, str, str]]:
        """What is not on disk yet, as numbered runs; it counts as saved from here on."""
        self._before = self._saved, self._rows
        runs = merged(self.parts[self._saved :])
        self.parts[self._saved :] = runs
        self._saved = len(self.parts)
        self._rows += len(runs)
        return [(number, *run) for number, run in enumerate(runs, self._rows - len(runs))]

    def pack(self) -> None:
        """Join the parts, so that a text is in memory once however often it is asked for; only once none
        is saved any more."""
        self.parts = merged(self.parts)

    def let_go(self, read: Read, *, always: bool = False) -> None:
        """The text is kept elsewhere, a short one here too unless ``always``: followers ``read`` what they
        have not got."""
        if always or self.length > _PIECE:
            self.parts, self._read = [], read

    async def whole(self, kind: Kind) -> str:
        """All of one kind, of a reply that has ended."""
        return self.text(kind) if self._read is None else await self._read(kind, 0, self.length)

    def end(self) -> None:
        self.ended = True
        if self.holding is not None:
            self.holding.release()
        self.wake()

    async def follow(self, cursor: Cursor) -> AsyncIterator[list[Part]]:
        """What a client at ``cursor`` has not got, as runs of one kind, until the end; an empty list
        when woken for nothing. Moves the cursor along.

        A slow reader gets fewer and larger runs; nothing is queued for it, and once the reply is stored
        it does not keep a long text in memory.
        """
        position, skip = 0, {"content": cursor.content, "reasoning": cursor.reasoning}
        behind = bool(cursor.content or cursor.reasoning)
        at = Cursor(cursor.content, cursor.reasoning)
        while True:
            if position < self.length and self._read is not None:
                async for part in _stored(self._read, at):
                    yield [part]
                return
            if position < self.length:
                new = self._since(position)
                position += sum(len(text) for _, text in new)
                if behind:
                    new = after(new, skip)
                    behind = any(skip.values())
                new = merged(new)
                for kind, text in new:
                    at.advance(kind, text)
                yield new
            elif self.ended:
                return
            else:
                await self._change()
                if position == self.length and not self.ended:
                    yield []

    def _since(self, position: int) -> list[Part]:
        """The next parts after so many characters of all; found from the end, where followers are."""
        index, start = len(self.parts), self.length
        while start > position:
            index -= 1
            start -= len(self.parts[index][1])
        new: list[Part] = []
        left, skipped = _PIECE, position - start
        while left > 0 and index < len(self.parts):
            kind, text = self.parts[index]
            new.append((kind, text[skipped : skipped + left]))
            left -= len(new[-1][1])
            index, skipped = index + 1, 0
        return new

    async def finished(self) -> None:
        """Wait until the reply has ended and is stored."""
        while not self.ended:
            await self._change()


async def _stored(read: Read, at: Cursor) -> AsyncIterator[Part]:
    """The rest of a stored reply, as the database has it: all thinking, then all content."""
    kinds: tuple[Kind, Kind] = ("reasoning", "content")
    for kind in kinds:
        start = at.content if kind == "content" else at.reasoning
        while text := await read(kind, start, _PIECE):
            start += len(text)
            yield kind, text
