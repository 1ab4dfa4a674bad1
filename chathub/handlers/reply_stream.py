"""A reply as its client sees it: a stream of events, or one answer."""

import math
import sys
from collections.abc import Iterator

import msgspec
from aiohttp import web
from msgspec import UNSET

from chathub.chat.cursor import Cursor, Kind, Part
from chathub.chat.reply import Reply
from chathub.chat.turn import NOT_STORED, FinalStatus
from chathub.database.errors import DatabaseUnavailable
from chathub.errors import ChatHubError
from chathub.formats.messages import ToolCall
from chathub.handlers.response_writer import room_for
from chathub.handlers.streams import EventStream
from chathub.schemas.conversations import Usage
from chathub.schemas.money import money
from chathub.schemas.replies import (
    ContentEvent,
    EndEvent,
    ErrorEvent,
    ReasoningEvent,
    StartEvent,
    ToolCallEvent,
)

# characters in one event and one write
_SLICE = 16_384


async def follow(
    request: web.Request, reply: Reply, *, resumable: bool, cursor: Cursor | None = None
) -> web.StreamResponse:
    """Stream a reply from the cursor on to its end; the reply does not mind if the client leaves.

    With ``resumable`` each event has an ``id:`` line that says how much was delivered with it.

    Raises:
        TooManyRequests: the reply is over, its text is kept for this client only, and there is no room.
    """
    size = sum(sys.getsizeof(text) for _, text in reply.text.parts) if reply.has_ended else 0
    async with room_for(request, size):
        return await _follow(request, reply, resumable, cursor or Cursor())


async def _follow(request: web.Request, reply: Reply, resumable: bool, cursor: Cursor) -> web.StreamResponse:
    sent = Cursor(cursor.content, cursor.reasoning)
    events = await EventStream.begin(request)
    try:
        try:
            await _tell(events, reply, sent, cursor, resumable)
        except DatabaseUnavailable as error:
            # what is stored of it cannot be read any more
            final_status = FinalStatus("error", error.sentence, error.status, "error")
            await events.send((_end(reply, final_status), b""))
        await events.close()
    except ConnectionError:
        # the client left or stopped reading
        events.abort()
    return events.response


async def _tell(events: EventStream, reply: Reply, sent: Cursor, cursor: Cursor, resumable: bool) -> None:
    """All events of a reply, to its end; ``sent`` goes along with what was sent."""
    await events.send((_start(reply), sent.event_id() if resumable else b""))
    async for runs in reply.follow(cursor):
        for batch in _batches(runs):
            await events.send(*[_part(kind, text, sent, resumable) for kind, text in batch])
        if not runs:
            await events.beat()
    assert reply.final_status is not None
    if reply.calls and reply.final_status.status == "done":
        at = sent.event_id() if resumable else b""
        await events.send(*[(_call(number, call), at) for number, call in reply.calls.items()])
    await events.send((_end(reply, reply.final_status), sent.event_id() if resumable else b""))


def _batches(runs: list[Part]) -> Iterator[list[Part]]:
    """What is new in writes of a bounded size: a client that is far behind gets on by as much as it
    reads, and does not cost a copy of all it has not read."""
    batch: list[Part] = []
    size = 0
    for kind, text in runs:
        for start in range(0, len(text), _SLICE):
            piece = text[start : start + _SLICE]
            if batch and size + len(piece) > _SLICE:
                yield batch
                batch, size = [], 0
            batch.append((kind, piece))
            size += len(piece)
    if batch:
        yield batch


def end_event(reply: Reply, final_status: FinalStatus) -> EndEvent:
    """What is known at the end of a reply."""
    return EndEvent(
        conversation_id=reply.turn.public_id,
        title=reply.turn.title,
        message_id=reply.turn.message_id,
        model=reply.answered_by,
        finish_reason=final_status.finish_reason,
        usage=Usage.of(reply.usage_cost),
        cost=money(reply.usage_cost.cost),
        budget=reply.budget or UNSET,
    )


def failure(reply: Reply, final_status: FinalStatus) -> ChatHubError:
    """A failed reply as the status of ``POST /api/chat``; its text so far is in the conversation."""
    error = ChatHubError(
        final_status.reason,
        retry_after=final_status.retry_after,
        conversation_id=reply.turn.public_id,
        message_id=reply.turn.message_id,
        **({"code": final_status.finish_reason} if final_status is NOT_STORED else {}),
        **({"budget": reply.budget} if reply.budget else {}),
    )
    error.status = final_status.code or 409
    return error


def _start(reply: Reply) -> bytes:
    turn = reply.turn
    return msgspec.json.encode(
        StartEvent(turn.public_id, turn.message_id, turn.user_message_id, reply.model, turn.title)
    )


def _part(kind: Kind, text: str, sent: Cursor, resumable: bool) -> tuple[bytes, bytes]:
    event = ContentEvent(text) if kind == "content" else ReasoningEvent(text)
    payload = msgspec.json.encode(event)
    if not resumable:
        return payload, b""
    sent.advance(kind, text)
    return payload, sent.event_id()


def _call(number: int, call: ToolCall) -> bytes:
    return msgspec.json.encode(ToolCallEvent(number, call.id, call.name, call.arguments))


def _end(reply: Reply, final_status: FinalStatus) -> bytes:
    end = end_event(reply, final_status)
    if not final_status.code:
        return msgspec.json.encode(end)
    wait = final_status.retry_after
    error = ErrorEvent(
        status=final_status.code,
        # tells a program that nothing of the reply is lost, and that it need not ask again
        code=final_status.finish_reason if final_status is NOT_STORED else UNSET,
        error=final_status.reason,
        content=final_status.reason,
        retry_after=UNSET if wait is None else math.ceil(wait),
        **msgspec.structs.asdict(end),
    )
    return msgspec.json.encode(error)
