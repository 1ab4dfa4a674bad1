"""The usage of a gateway reply while it passes, and the queue of its translated events."""

import asyncio
import contextlib
import time

from msgspec import Raw

from chathub.billing.early_ends import Ending, Seen, cost_of
from chathub.billing.ledger import UsageCost
from chathub.billing.output_rates import Lesson, OutputRates, lesson_of
from chathub.formats.attachments import MOST_BYTES, in_words
from chathub.formats.estimates import TokenCounter
from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Logprobs,
    OtherChoice,
    Reasoning,
    Text,
    ToolCallDelta,
    Units,
    Usage,
    size_beside_text,
)
from chathub.formats.prompt_counts import PromptCounts
from chathub.gateway.thought_memory import ThoughtRecorder
from chathub.limits.reply_memory import MemoryLease
from chathub.providers.chat_model import ChatModel
from chathub.upstream.failover import Progress

# events in a queue, and their characters, above which reading from the provider pauses
_MOST_WAITING = 2_000
_MOST_WAITING_CHARACTERS = 65_536


class UsageMeter(Progress):
    """Counts the usage and the length of a reply while it passes; keeps no text.

    ``limit`` is the number of characters that a reply may have. ``prompt_estimate`` is 0 while the prompt is
    not decoded; ``longest_prompt`` is the most that it can be. ``is_streamed``: the
    reply comes as it is generated.
    """

    def __init__(self, prompt_estimate: int, limit: int) -> None:
        super().__init__()
        self.prompt_estimate = self.longest_prompt = prompt_estimate
        # what the prompt is made of, where it was counted; whether that and the report are learned from
        self.prompt_counts: PromptCounts | None = None
        self.teaches = self.is_counted = False
        self.model: ChatModel | None = None
        self.is_streamed = False
        self.thoughts: ThoughtRecorder | None = None
        # whether bytes were sent to the client before the reply itself began
        self.is_sent = False
        self.is_too_long = False
        self.finish_reason = ""
        self._characters_left = limit
        self._usage: Usage | None = None
        # the units of a request once it is sent, and those that its provider told
        self.units_sent: Units | None = None
        self._units: Units | None = None
        self._output, self._reasoning = TokenCounter(), TokenCounter()

    def feed(self, events: list[Event]) -> bool:
        if self.thoughts is not None:
            self.thoughts.feed(events)
        for event in events:
            # not isinstance(): for a Struct of another type it takes three times as long
            if type(event) is OtherChoice:
                event = event.event
            if type(event) is Text:
                self._count(self._output, event.text, len(event.text))
            elif type(event) is Reasoning:
                self._count(self._reasoning, event.text, len(event.text))
            elif type(event) is ToolCallDelta:
                self._count(self._output, event.name + event.arguments, event.size)
            elif type(event) is Attachment:
                self._begin()
            elif type(event) is Usage:
                self._usage = event
            elif type(event) is Units:
                self._units = event
            elif type(event) is Finish:
                self.finish_reason = event.word or event.reason
        self.is_too_long = self._characters_left < 0
        return self.is_too_long

    def _count(self, counter: TokenCounter, text: str, size: int) -> None:
        counter.add(text)
        self._characters_left -= size
        if self.first_at is None:
            self._begin()

    def _begin(self) -> None:
        if self.first_at is None:
            self.first_at = time.monotonic()

    @property
    def has_output(self) -> bool:
        return self.first_at is not None

    @property
    def is_committed(self) -> bool:
        return self.has_output or self.is_sent

    def reset_attempt(self) -> None:
        """Forget the usage and finish reason of a failed attempt, which brought nothing of the reply."""
        self._usage, self._units, self.finish_reason = None, None, ""
        if self.thoughts is not None:
            self.thoughts.reset()

    @property
    def lacks_prompt_tokens(self) -> bool:
        """Whether the prompt counts, but the provider did not report its tokens."""
        if any(attempt.may_be_charged for attempt in self.attempts[:-1]):
            return True
        counts = self.has_output or any(attempt.may_be_charged for attempt in self.attempts)
        return counts and (self._usage is None or self._usage.prompt_tokens is None)

    @property
    def reported_prompt(self) -> int | None:
        """The prompt's tokens as the provider reported them."""
        return self._usage.prompt_tokens if self._usage else None

    @property
    def reported_usage(self) -> Usage | None:
        """The usage as the provider has reported it so far."""
        return self._usage

    @property
    def end_reason(self) -> str:
        """How the reply ended: the provider's finish reason if it was successful."""
        if self.is_too_long:
            return "size_limit"
        failure = self.attempts[-1].failure if self.attempts else None
        if failure is not None:
            return failure.kind
        has_ended = self.is_successful and not self.left.is_set()
        return self.finish_reason or "stop" if has_ended else "disconnected"

    @property
    def is_successful(self) -> bool:
        """Whether the last attempt brought the whole reply."""
        return bool(self.attempts) and self.attempts[-1].is_successful

    @property
    def successful_key_id(self) -> int | None:
        """The API key of a successful reply."""
        return self.endpoint.key_id if self.is_successful and self.endpoint else None

    def usage_cost(self, model: ChatModel, rates: OutputRates, most: int = 0) -> UsageCost:
        """What the reply has used; ``most`` is its reserved length in tokens."""
        # of a reported count the longest prompt says whether it is possible
        prompt = self.prompt_estimate or self.longest_prompt
        seen = Seen(prompt, self._output.tokens, self._reasoning.tokens)
        ending = Ending.of(self, is_streamed=self.is_streamed, most=most, is_too_long=self.is_too_long)
        units = self._units or self.units_sent
        return cost_of(model, self.counted(self._usage), seen, ending, rates, units)

    def lesson(self, model: ChatModel, usage_cost: UsageCost) -> Lesson | None:
        """What the reply teaches about its model."""
        return lesson_of(model, self.attempt, usage_cost, self._output.tokens, self._reasoning.tokens)


class EventQueue(UsageMeter):
    """The events of a reply that wait for a client of another format. None is taken before the reply has
    begun, so that a failed attempt leaves no trace. A slow client pauses the reading from the provider."""

    def __init__(self, prompt_estimate: int, limit: int) -> None:
        super().__init__(prompt_estimate, limit)
        self.room = asyncio.Event()
        self.room.set()
        self._events: list[Event] = []
        # ``_characters_left`` when events were taken last
        self._left_when_taken = limit
        # bytes of attachments and of what is told of tokens, and how many when events were taken last
        self.attached = self._attached_when_taken = 0
        self._collects = False
        # its reply goes to the client as it comes: no event waits
        self.is_forwarded = False
        self._ready = asyncio.Event()

    def collect(self, memory: MemoryLease) -> None:
        """Keep all events until the end, for a reply that is sent whole; they count as memory."""
        self._collects = True
        self.memory, self.room = memory, memory.room

    def feed(self, events: list[Event]) -> bool:
        left_before, attached_before = self._characters_left, self.attached
        is_enough = super().feed(events)
        if self.is_forwarded:
            return is_enough
        # once the client has left, nobody takes them
        given = () if self.left.is_set() else events
        kept = [event for event in given if type(event) not in (Failure, OtherChoice)]
        self._events += [self._fitting(event) for event in kept]
        if self.has_output:
            self._ready.set()
        attached = self.attached - attached_before
        if self._collects and self.memory is not None:
            self.memory.grow(left_before - self._characters_left + attached)
            return is_enough
        self._count_attached(attached)
        if self.room is not None and self._is_full:
            self.room.clear()
        return is_enough

    def _count_attached(self, size: int) -> None:
        """Count attachments that wait for the client, or (negative) were taken; text is not counted."""
        if size and self.memory is not None:
            self.memory.grow(size)

    def _fitting(self, event: Event) -> Event:
        """An event; instead of an attachment for which the reply has no room a sentence."""
        size = size_beside_text(event)
        if self.attached + size > MOST_BYTES:
            if isinstance(event, Attachment):
                return in_words(event, "attachment_too_large")
            return Logprobs(Raw(b"[]"))
        self.attached += size
        return event

    def reset_attempt(self) -> None:
        super().reset_attempt()
        self._events = []

    @property
    def _is_full(self) -> bool:
        characters = self._left_when_taken - self._characters_left
        characters += self.attached - self._attached_when_taken
        return len(self._events) > _MOST_WAITING or characters > _MOST_WAITING_CHARACTERS

    @property
    def has_events(self) -> bool:
        return self.has_output and bool(self._events)

    async def wait(self, seconds: float) -> None:
        """Wait until there are events to take or the attempt has ended, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()

    def begin_attempt(self) -> None:
        """An attempt begins: ``wait`` waits for its events."""
        self._ready.clear()

    def end_attempt(self) -> None:
        """The attempt has ended: ``wait`` returns."""
        self._ready.set()

    def take(self) -> list[Event]:
        """The waiting events, once the reply has begun."""
        if not self.has_output:
            return []
        events, self._events = self._events, []
        self._count_attached(self._attached_when_taken - self.attached)
        self._left_when_taken, self._attached_when_taken = self._characters_left, self.attached
        self._ready.clear()
        if self.room is not None:
            self.room.set()
        return events

    def take_rest(self) -> list[Event]:
        """All events that are left, also those of a reply without output."""
        events, self._events = self._events, []
        return events
