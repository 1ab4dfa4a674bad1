"""Answers of /v1 on their way: what they used, and events that wait for their client."""

import asyncio
import contextlib
import time

from chathub.billing import ledger
from chathub.formats.estimates import TokenCounter
from chathub.formats.events import Event, Failure, Finish, Reasoning, Text, ToolCallDelta, Usage
from chathub.limits.reply_memory import MemoryLease
from chathub.providers.catalog import ChatModel
from chathub.upstream.failover import Progress

# events that may wait for a client before the provider has to
_WAITING = 2_000
# and their characters
_WAITING_CHARACTERS = 65_536


class UsageMeter(Progress):
    """Reads an answer in passing: what it used, and how much of it there was. Keeps no text.

    ``limit`` is how many characters an answer may have.
    """

    def __init__(self, prompt_estimate: int, limit: int) -> None:
        super().__init__()
        self.prompt_estimate = prompt_estimate
        self.model: ChatModel | None = None
        # something went to the client before the reply itself began
        self.is_sent = False
        self.too_long = False
        self.finish_reason = ""
        self._left = limit
        self._usage: Usage | None = None
        self._answer, self._thinking = TokenCounter(), TokenCounter()

    def feed(self, events: list[Event]) -> bool:
        for event in events:
            if isinstance(event, Text):
                self._count(self._answer, event.text, len(event.text))
            elif isinstance(event, Reasoning):
                self._count(self._thinking, event.text, len(event.text))
            elif isinstance(event, ToolCallDelta):
                self._count(self._answer, event.name + event.arguments, event.size)
            elif isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Finish):
                self.finish_reason = event.reason
        self.too_long = self._left < 0
        return self.too_long

    def _count(self, counter: TokenCounter, text: str, size: int) -> None:
        counter.add(text)
        self._left -= size
        if self.first_at is None:
            self.first_at = time.monotonic()

    @property
    def has_output(self) -> bool:
        return self.first_at is not None

    @property
    def is_committed(self) -> bool:
        return self.has_output or self.is_sent

    def reset_attempt(self) -> None:
        """A failed attempt brought nothing of the answer: what else it told does not count."""
        self._usage, self.finish_reason = None, ""

    @property
    def lacks_prompt(self) -> bool:
        """Whether something came and nobody told what its prompt took."""
        return self.has_output and (self._usage is None or self._usage.prompt_tokens is None)

    @property
    def end_reason(self) -> str:
        """How it ended: in the model's words if it went well."""
        if self.too_long:
            return "size_limit"
        failure = self.attempts[-1].failure if self.attempts else None
        if failure is not None:
            return failure.kind
        return self.finish_reason or "stop" if self.is_successful else "disconnected"

    @property
    def is_successful(self) -> bool:
        """Whether the last attempt brought the whole reply."""
        return bool(self.attempts) and self.attempts[-1].is_successful

    @property
    def well_key(self) -> int | None:
        """The key with which it was answered well."""
        return self.endpoint.key_id if self.is_successful and self.endpoint else None

    def usage_cost(self, model: ChatModel) -> ledger.UsageCost:
        return ledger.compute_cost(
            model, self._usage, self.prompt_estimate, self._answer.tokens, self._thinking.tokens
        )


class EventQueue(UsageMeter):
    """Events on their way to a client of another dialect. Nothing is shown before the answer has begun,
    so that an attempt that fails leaves no trace; a client that reads slowly slows the provider."""

    def __init__(self, prompt_estimate: int, limit: int) -> None:
        super().__init__(prompt_estimate, limit)
        self.room = asyncio.Event()
        self.room.set()
        self._events: list[Event] = []
        self._taken = limit
        self._keeps = False
        self._ready = asyncio.Event()

    def keep(self, memory: MemoryLease) -> None:
        """The answer is told as a whole: nothing is taken before its end, and what waits is counted."""
        self._keeps = True
        self.memory, self.room = memory, memory.room

    def feed(self, events: list[Event]) -> bool:
        before = self._left
        enough = super().feed(events)
        self._events += [event for event in events if type(event) is not Failure]
        if self.has_output:
            self._ready.set()
        if self._keeps and self.memory is not None:
            self.memory.grow(before - self._left)
        elif self.room is not None and self._is_full:
            self.room.clear()
        return enough

    def reset_attempt(self) -> None:
        super().reset_attempt()
        self._events = []

    @property
    def _is_full(self) -> bool:
        return len(self._events) > _WAITING or self._taken - self._left > _WAITING_CHARACTERS

    @property
    def has_events(self) -> bool:
        return self.has_output and bool(self._events)

    async def wait(self, seconds: float) -> None:
        """Until there is something to take, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()

    def open(self) -> None:
        """Another attempt begins: there is something to wait for again."""
        self._ready.clear()

    def close(self) -> None:
        """The attempt has ended: nothing more will come, and waiting ends."""
        self._ready.set()

    def take(self) -> list[Event]:
        if not self.has_output:
            return []
        events, self._events = self._events, []
        self._taken = self._left
        self._ready.clear()
        if self.room is not None:
            self.room.set()
        return events

    def rest(self) -> list[Event]:
        """All that is left, also of an answer that brought no text."""
        events, self._events = self._events, []
        return events
