"""A reply: what has come of it, its state, and any number of followers with a cursor each."""

import time
from collections.abc import AsyncIterator

import msgspec

from chathub.billing.ledger import UsageCost
from chathub.chat.final_status import NOT_STORED, FinalStatus
from chathub.chat.turn import Turn
from chathub.database.rows.messages import StoredReply
from chathub.formats.estimates import TokenCounter
from chathub.formats.events import (
    Event,
    Failure,
    Finish,
    Reasoning,
    Source,
    Text,
    ToolCallDelta,
    Usage,
    text_in,
)
from chathub.formats.messages import ToolCall
from chathub.formats.prompt_counts import PromptCounts
from chathub.formats.reasoning.recorder import Recorder
from chathub.formats.sources import Insertions
from chathub.limits.reply_memory import MemoryLease
from chathub.providers.chat_model import ChatModel
from chathub.replies.cursor import Cursor, Part, after, merged
from chathub.replies.followers import Followers
from chathub.replies.sources import shown
from chathub.replies.state import ReplyState, stored_status
from chathub.replies.text import ReplyText
from chathub.schemas import attachments as schemas
from chathub.schemas.attachments import Attachment
from chathub.upstream.failover import Progress

# bytes that an attachment and a source count as
_PER_ATTACHMENT, _PER_SOURCE = 500, 2000


class Reply(Progress):
    """A reply, while it is generated and afterwards. ``limit`` is the number of characters it may have.

    The reply belongs to the server; a client is a cursor (``follow``), and a slow client does not slow the
    reply. ``final_status`` is known from ``STOPPING`` or ``SETTLING`` on and final at the end;
    ``usage_cost`` and ``budget`` (what is left to its user, if that is little) are known at the end.
    """

    def __init__(self, turn: Turn, user_id: int, requested_model: str, limit: int = 0) -> None:
        super().__init__()
        self.turn = turn
        self.user_id = user_id
        # the access token of the request
        self.token_id: int | None = None
        # the name in the request, and the name of the model that replies
        self.requested_model = self.model_name = requested_model
        # None for a refused turn
        self.model: ChatModel | None = None
        # what the prompt is made of, and about how many tokens it is
        self.prompt_counts = PromptCounts()
        self.prompt_estimate = 0
        self.text = ReplyText()
        # code points of its content
        self.content_length = 0
        self.attachments: list[Attachment] = []
        self.attached_bytes = 0
        # whether an attachment is being stored, together with the text that is not saved
        self.is_storing = False
        self.sources: list[schemas.Source] = []
        self._insertions = Insertions()
        self.tool_calls: dict[int, ToolCall] = {}
        # what its provider needs back with it
        self.recorder = Recorder()
        # what came after it had ended for its followers
        self.unshown = TokenCounter()
        self.usage: Usage | None = None
        # in OpenAI's words, and the provider's own word where those do not fit
        self.finish_reason = self.finish_word = ""
        self.failure: Failure | None = None
        # bytes that all of it takes, about
        self.size = 0
        self.final_status: FinalStatus | None = None
        self.usage_cost = UsageCost()
        self.budget = turn.budget
        self._state = ReplyState.BEGINNING
        # characters that it may still grow; negative when it was cut
        self._room = limit
        self._followers = Followers()

    @classmethod
    def stored(cls, row: StoredReply, user_id: int) -> "Reply":
        """A reply that has ended, from the database: it is followed like a running one."""
        turn = Turn(row.conversation_id, row.public_id, row.title, row.parent_id or 0, row.id)
        reply = cls(turn, user_id, row.requested_model)
        reply.model_name = row.model
        texts: list[Part] = [("reasoning", row.reasoning), ("content", row.content)]
        reply._add([part for part in texts if part[1]])
        tool_calls = msgspec.json.decode(row.tool_calls or "[]", type=list[ToolCall])
        reply.tool_calls = dict(enumerate(tool_calls))
        reply.attachments = schemas.attachments_of(row.attachments)
        reply.sources = schemas.sources_of(row.sources)
        final_status = stored_status(row)
        reply.final_status, reply._state = final_status, ReplyState(final_status.status)
        reply.usage_cost = UsageCost(
            row.prompt_tokens,
            row.completion_tokens,
            row.reasoning_tokens,
            row.cached_tokens,
            row.usage_source,
            row.cost,
            row.cache_write_tokens,
        )
        return reply

    # --- its state

    @property
    def state(self) -> ReplyState:
        return self._state

    @property
    def has_ended(self) -> bool:
        return self._state.has_ended

    def begin_stopping(self, reason: FinalStatus) -> None:
        """Something of ours ends it; how it ends is decided."""
        self._state = self._state.to(ReplyState.STOPPING)
        self.final_status = reason
        self.left.set()

    def begin_settling(self, final_status: FinalStatus) -> FinalStatus:
        """The reading has ended. Returns the status to be stored: the reason to stop it says more than what
        the provider made of that."""
        self._state = self._state.to(ReplyState.SETTLING)
        self.final_status = self.final_status or final_status
        return self.final_status

    def end(self, final_status: FinalStatus) -> None:
        """Its end is stored, or kept in memory (``NOT_STORED``) and stored later, which ends it again."""
        is_stored = final_status is not NOT_STORED
        self._state = self._state.to(ReplyState(final_status.status) if is_stored else ReplyState.UNSTORED)
        self.final_status = final_status
        if self.memory is not None:
            self.memory.release()
        self.wake()

    # --- it is read

    def count_in(self, memory: MemoryLease) -> None:
        """Count what comes as memory of its user; when that is too much, the reading pauses."""
        self.memory, self.room = memory, memory.room

    def use_model(self, model: ChatModel) -> None:
        """A model is called: the first one, or a fallback."""
        self.model, self.model_name = model, model.name

    @property
    def has_output(self) -> bool:
        """Whether text, a tool call or an attachment has come."""
        return self.first_at is not None

    @property
    def is_too_long(self) -> bool:
        return self._room < 0

    def reset_attempt(self) -> None:
        """An attempt failed before any output: what else it reported does not count."""
        self.usage, self.finish_reason, self.finish_word = None, "", ""
        self.recorder, self.sources = Recorder(), []

    def feed(self, events: list[Event]) -> bool:
        """Take in what one network read brought, and wake the followers once; true for enough."""
        if self._state is ReplyState.STOPPING:
            # nobody sees what comes now, but its provider charges for it
            self.unshown.add("".join(map(text_in, events)))
            events = [event for event in events if isinstance(event, Usage)]
        parts: list[Part] = []
        for event in events:
            # not isinstance(): for a Struct of another type it takes three times as long
            if type(event) is Text:
                if (text := self._fitting(event.text)) is not event.text:
                    event = Text(text)
                parts.append(("content", text))
            elif type(event) is Reasoning:
                if (text := self._fitting(event.text)) is not event.text:
                    event = Reasoning(text)
                parts.append(("reasoning", text))
            elif type(event) is ToolCallDelta:
                self._add_call(event)
            elif type(event) is Usage:
                self.usage = event
            elif type(event) is Finish:
                self.finish_reason, self.finish_word = event.reason, event.word
            self.recorder.add(event)
        self._add(parts)
        # sources come after all text
        if cited := [event for event in events if type(event) is Source]:
            self.sources += [shown(self._insertions.moved(source), self.content_length) for source in cited]
            self._grow(_PER_SOURCE * len(cited))
        if self.first_at is None and (self.text.parts or self.tool_calls):
            self._begin()
        self.wake()
        return self.is_too_long

    def _begin(self) -> None:
        """The first output has come."""
        if self.first_at is None and self._state is ReplyState.BEGINNING:
            self.first_at = time.monotonic()
            self._state = self._state.to(ReplyState.STREAMING)

    def attach(self, attachment: Attachment, size: int) -> None:
        """Show a stored attachment of ``size`` bytes, and wake the followers."""
        self.attachments.append(attachment)
        self.attached_bytes += size
        self._grow(_PER_ATTACHMENT)
        self._begin()
        self.wake()

    def insert(self, text: str) -> None:
        """Add a sentence of ours to the content."""
        self._insertions.add(self.content_length, len(text))
        self.feed([Text(text)])

    def _fitting(self, text: str) -> str:
        """As much of a text as there is room for."""
        if "\0" in text:
            # SQLite's text functions stop at it
            text = text.replace("\0", "")
        self._room -= len(text)
        # a negative room is what does not fit
        return text if self._room >= 0 else text[: max(0, len(text) + self._room)]

    def _add_call(self, delta: ToolCallDelta) -> None:
        known = self.tool_calls.get(delta.index, ToolCall("", ""))
        self.tool_calls[delta.index] = ToolCall(
            known.id or delta.id, known.name or delta.name, known.arguments + delta.arguments
        )
        self._room -= delta.size
        self._grow(delta.size)

    def _add(self, parts: list[Part]) -> None:
        parts = merged(parts)
        self.text.add(parts)
        self.content_length += sum(len(text) for kind, text in parts if kind == "content")
        self._grow(sum(len(text) if text.isascii() else 2 * len(text) for _, text in parts))

    def _grow(self, size: int) -> None:
        self.size += size
        self.count(size)

    def count(self, size: int) -> None:
        """Count bytes in memory, or (negative) bytes that are free again."""
        if self.memory is not None and size:
            self.memory.grow(size)

    # --- it is followed

    def wake(self) -> None:
        """Wake every follower: for new parts, for the end, or for its heartbeat."""
        self._followers.wake()

    async def finished(self) -> None:
        """Wait until the reply has ended and is stored."""
        while not self.has_ended:
            await self._followers.wait()

    async def follow(self, cursor: Cursor) -> AsyncIterator[list[Part]]:
        """What a client at ``cursor`` has not received, as runs of one kind, until the end; an empty list
        after a wake-up without news. Moves the cursor along.

        A slow reader gets fewer and larger runs; nothing is queued for it, and once the reply is stored it
        does not keep a long text in memory.
        """
        position, skip = 0, {"content": cursor.content, "reasoning": cursor.reasoning}
        is_behind = bool(cursor.content or cursor.reasoning)
        at = Cursor(cursor.content, cursor.reasoning)
        while True:
            if position < self.text.length and self.text.is_moved:
                async for part in self.text.moved_after(at):
                    yield [part]
                return
            if position < self.text.length:
                new = self.text.since(position)
                position += sum(len(text) for _, text in new)
                if is_behind:
                    new = after(new, skip)
                    is_behind = any(skip.values())
                new = merged(new)
                for kind, text in new:
                    at.advance(kind, text)
                yield new
            elif self.has_ended:
                return
            else:
                await self._followers.wait()
                if position == self.text.length and not self.has_ended:
                    yield []
