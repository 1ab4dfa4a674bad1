"""A reply as a stream of events, and its end as one event or one error."""

import math
import sys
from collections.abc import Iterable, Iterator

import msgspec
from aiohttp import web
from msgspec import UNSET

from chathub.chat.final_status import FinalStatus
from chathub.chat.turn import Kind
from chathub.database.errors import DatabaseUnavailable
from chathub.errors import ChatHubError
from chathub.formats.messages import ToolCall
from chathub.handlers.http import language_of
from chathub.handlers.response_writer import room_for
from chathub.handlers.streams import EventStream
from chathub.replies.attachments import Placer
from chathub.replies.cursor import Cursor, Part
from chathub.replies.reply import Reply
from chathub.schemas.attachments import Attachment, AttachmentEvent
from chathub.schemas.conversations import Usage
from chathub.schemas.json import JsonObject
from chathub.schemas.money import money
from chathub.schemas.replies import (
    ContentEvent,
    EndEvent,
    ErrorEvent,
    ReasoningEvent,
    StartEvent,
    ToolCallEvent,
)
from chathub.sentences import Language, Reason

# characters in one event and one write
_SLICE = 16_384
# of a reply that was stored without a reason
_UNKNOWN = Reason("request_failed")


async def follow(
    request: web.Request, reply: Reply, *, resumable: bool, cursor: Cursor | None = None
) -> web.StreamResponse:
    """Stream a reply from the cursor to its end; the reply goes on if the client leaves.

    With ``resumable`` each event has an ``id:`` line with the cursor after it.

    Raises:
        TooManyRequests: there is no room for the text of a reply that has ended, which stays in memory only
            for this client.
    """
    size = sum(sys.getsizeof(text) for _, text in reply.text.parts) if reply.has_ended else 0
    async with room_for(request, size):
        return await _follow(request, reply, resumable, cursor or Cursor())


async def _follow(request: web.Request, reply: Reply, resumable: bool, cursor: Cursor) -> web.StreamResponse:
    sent = Cursor(cursor.content, cursor.reasoning)
    events = await EventStream.begin(request)
    try:
        try:
            final_status = await _send_reply(events, reply, sent, cursor, resumable)
            event_id = sent.event_id() if resumable else b""
        except DatabaseUnavailable as error:
            # the stored text cannot be read any more
            final_status, event_id = FinalStatus("error", error.reason, error.status, "error"), b""
        await events.send((_end(reply, final_status, language_of(request)), event_id))
        await events.close()
    except ConnectionError:
        # the client has stopped reading; when it leaves, aiohttp cancels the handler
        events.abort()
    return events.response


async def _send_reply(
    events: EventStream, reply: Reply, sent: Cursor, cursor: Cursor, resumable: bool
) -> FinalStatus:
    """Send all events of a reply but its end; gives that. ``sent`` advances with the text."""
    await events.send((_start(reply), sent.event_id() if resumable else b""))
    placer = Placer(reply, cursor.content)
    if cursor.content:
        await _send_items(events, placer.due(), sent, resumable)
    async for parts in reply.follow(cursor):
        for batch in _batches(parts):
            await _send_items(events, placer.placed(batch), sent, resumable)
        if not await _send_items(events, placer.due(), sent, resumable) and not parts:
            await events.beat()
    await _send_items(events, placer.due(last=True), sent, resumable)
    assert reply.final_status is not None
    if reply.tool_calls and reply.final_status.status == "done":
        event_id = sent.event_id() if resumable else b""
        await events.send(*[(_tool_call(index, call), event_id) for index, call in reply.tool_calls.items()])
    return reply.final_status


async def _send_items(
    events: EventStream, items: Iterable[Part | Attachment], sent: Cursor, resumable: bool
) -> bool:
    """Send text and attachments in one write; whether there were any."""
    encoded = [
        (
            msgspec.json.encode(AttachmentEvent.of(item, events.base_path)),
            sent.event_id() if resumable else b"",
        )
        if isinstance(item, Attachment)
        else _text(*item, sent, resumable)
        for item in items
    ]
    if encoded:
        await events.send(*encoded)
    return bool(encoded)


def _batches(parts: list[Part]) -> Iterator[list[Part]]:
    """New text in batches of a bounded size: a client that is far behind does not cost a copy of all the text
    that it has not read yet."""
    batch: list[Part] = []
    size = 0
    for kind, text in parts:
        for start in range(0, len(text), _SLICE):
            piece = text[start : start + _SLICE]
            if batch and size + len(piece) > _SLICE:
                yield batch
                batch, size = [], 0
            batch.append((kind, piece))
            size += len(piece)
    if batch:
        yield batch


def end_event(reply: Reply, final_status: FinalStatus, language: Language) -> EndEvent:
    """The event at the end of a reply."""
    return EndEvent(
        conversation_id=reply.turn.public_id,
        title=reply.turn.title,
        message_id=reply.turn.message_id,
        model=reply.model_name,
        finish_reason=final_status.finish_reason,
        usage=Usage.of(reply.usage_cost),
        cost=money(reply.usage_cost.cost),
        sources=reply.sources,
        budget=reply.budget.said(language) if reply.budget else UNSET,
    )


def error_of(reply: Reply, final_status: FinalStatus, language: Language) -> ChatHubError:
    """A failed reply as the error of ``POST /api/chat``; its text so far is in the conversation."""
    details: JsonObject = {"conversation_id": reply.turn.public_id, "message_id": reply.turn.message_id}
    if reply.budget:
        details["budget"] = reply.budget.said(language)
    error = ChatHubError.of(
        final_status.reason or _UNKNOWN, retry_after=final_status.retry_after, details=details
    )
    error.status = final_status.http_status or 409
    return error


def _start(reply: Reply) -> bytes:
    turn = reply.turn
    return msgspec.json.encode(
        StartEvent(turn.public_id, turn.message_id, turn.user_message_id, reply.requested_model, turn.title)
    )


def _text(kind: Kind, text: str, sent: Cursor, resumable: bool) -> tuple[bytes, bytes]:
    event = ContentEvent(text) if kind == "content" else ReasoningEvent(text)
    payload = msgspec.json.encode(event)
    if not resumable:
        return payload, b""
    sent.advance(kind, text)
    return payload, sent.event_id()


def _tool_call(index: int, call: ToolCall) -> bytes:
    return msgspec.json.encode(ToolCallEvent(index, call.id, call.name, call.arguments))


def _end(reply: Reply, final_status: FinalStatus, language: Language) -> bytes:
    end = end_event(reply, final_status, language)
    if not final_status.http_status:
        return msgspec.json.encode(end)
    reason, retry_after = final_status.reason or _UNKNOWN, final_status.retry_after
    sentence = reason.text(language)
    error = ErrorEvent(
        status=final_status.http_status,
        code=reason.wire_code,
        error=sentence,
        content=sentence,
        retry_after=UNSET if retry_after is None else math.ceil(retry_after),
        **msgspec.structs.asdict(end),
    )
    return msgspec.json.encode(error)
