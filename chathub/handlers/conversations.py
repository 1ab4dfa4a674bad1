"""Section 6 of the API document: conversations and their messages."""

import contextlib
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.app_keys import CALLER, CLOCK, DB, REMOVER, REPLIES
from chathub.chat import branches, removal, settle
from chathub.chat.final_status import NOT_STORED
from chathub.chat.title_text import title_of
from chathub.chat.turn import Settlement
from chathub.database.rows.conversations import ShownConversation
from chathub.database.statements import R, Select
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, Forbidden, NotFound
from chathub.handlers.confirmation import confirm_password
from chathub.handlers.http import actor, base_path_of, body, done, json_response, language_of, query, said
from chathub.handlers.json_lists import Encode, send_rows
from chathub.handlers.response_writer import large
from chathub.schemas import conversations as schemas
from chathub.schemas.attachments import sources_of
from chathub.schemas.conversations import ConversationChange, ConversationFilter, MessageFilter
from chathub.schemas.decode import given
from chathub.schemas.money import money
from chathub.schemas.success import Success
from chathub.schemas.users import Confirmation
from chathub.security import audit
from chathub.sentences import Language

# more than any number of rows; later than any timestamp and any id
_ALL = _NEWEST = 2**63 - 1


class _Page(Struct, frozen=True):
    """The rows of a page in the order in which they are shown, and their owner. ``next_before`` is the
    ``before`` of the next page (None: this is the last one)."""

    owner_id: int
    ids: list[int]
    next_before: str | int | None = None


@large
async def list_for_user(request: web.Request) -> web.StreamResponse:
    filters, caller, db = query(request, ConversationFilter), request[CALLER], request.app[DB]
    user_id = caller.id if filters.user_id is None else filters.user_id
    if user_id != caller.id and not caller.administrates:
        raise Forbidden("conversations_of_others")
    page = await db.read_background(caller.id, _list_conversations, user_id, filters)
    if user_id != caller.id:
        await _audit_reading(request, "conversation.listed", user_id)
    return await send_rows(request, page.ids, _encode_conversation, page.next_before)


@large
async def list_messages(request: web.Request) -> web.StreamResponse:
    public_id, filters = request.match_info["conversation_id"], query(request, MessageFilter)
    caller, db = request[CALLER], request.app[DB]
    page = await db.read_background(caller.id, _list_messages, public_id, caller, filters)
    if page.owner_id != caller.id:
        await _audit_reading(request, "conversation.read", page.owner_id, conversation=public_id)
    encode = _message_encoder(request, public_id, page.owner_id)
    return await send_rows(request, page.ids, encode, page.next_before)


async def update(request: web.Request) -> web.Response:
    public_id, caller = request.match_info["conversation_id"], request[CALLER]
    changes = given(await body(request, ConversationChange))
    if "title" in changes:
        changes["title"] = title_of(changes["title"])
    if not changes or changes.get("title") == "":
        raise BadRequest("title_empty" if changes else "nothing_to_change")
    row = await request.app[DB].write(_update, public_id, caller.id, changes)
    changed = schemas.Conversation.of(row)
    return json_response(
        schemas.ConversationChanged(message=said(request, "conversation_updated"), conversation=changed)
    )


async def delete(request: web.Request) -> web.Response:
    await _delete(request, request.match_info["conversation_id"])
    return done(request, "conversation_removed")


async def delete_all(request: web.Request) -> web.Response:
    """Delete all conversations of the caller. One that begins meanwhile may stay."""
    await confirm_password(request, (await body(request, Confirmation)).password)
    db, user_id, clock = request.app[DB], request[CALLER].id, request.app[CLOCK]
    count = 0
    while deleted := await db.write(removal.delete_some, user_id, clock.now(), clock.certain()):
        count += deleted
        request.app[REMOVER].wake()
    # those in which something is generated
    newest = {"updated_at": _NEWEST, "before_id": _NEWEST}
    for row in await db.fetch_all(db.q.conversations.list_ids, user_id=user_id, limit=_ALL, **newest):
        with contextlib.suppress(NotFound):
            await _delete(request, row.public_id)
            count += 1
    return json_response(Success(message=said(request, "conversations_removed", count=count)))


async def _delete(request: web.Request, public_id: str) -> None:
    user_id, clock = request[CALLER].id, request.app[CLOCK]
    async with request.app[REPLIES].exclusive(public_id, user_id):
        now, certain = clock.now(), clock.certain()
        await request.app[DB].write(removal.delete_conversation, public_id, user_id, now, certain)
    request.app[REMOVER].wake()


async def _audit_reading(request: web.Request, event: str, owner_id: int, **details: str) -> None:
    """Record in the audit that an administrator reads another user's data, before the data is sent."""
    now = request.app[CLOCK].now()
    await request.app[DB].write(audit.record, actor(request), event, now, f"user {owner_id}", **details)


def _list_conversations(tx: Transaction, user_id: int, filters: ConversationFilter) -> _Page:
    """A user's conversations, newest first, from the one after ``before``."""
    updated_at = before_id = _NEWEST
    if filters.before is not None:
        row = tx.one(tx.q.conversations.get_own, public_id=filters.before, user_id=user_id)
        if row is None:
            raise BadRequest("before_not_a_conversation")
        updated_at, before_id = row.updated_at, row.id
    rows, is_all = _limited(
        tx,
        tx.q.conversations.list_ids,
        filters.limit,
        user_id=user_id,
        updated_at=updated_at,
        before_id=before_id,
    )
    return _Page(user_id, [row.id for row in rows], None if is_all else rows[-1].public_id)


def _list_messages(tx: Transaction, public_id: str, caller: Caller, filters: MessageFilter) -> _Page:
    """The messages of the shown branch, or of the branch of ``before``, oldest first. An administrator may
    read the conversations of other users, but not change them."""
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or (row.user_id != caller.id and not caller.administrates):
        raise NotFound("conversation_not_found")
    newest_id = row.head_id
    if filters.before is not None:
        place = tx.one(tx.q.messages.get_place, message_id=filters.before)
        if place is None or place.conversation_id != row.id:
            raise BadRequest("before_not_a_message")
        newest_id = place.parent_id
    rows, is_all = _limited(tx, tx.q.messages.list_branch_ids, filters.limit, newest_id=newest_id)
    ids = [row.id for row in reversed(rows)]
    return _Page(row.user_id, ids, None if is_all else ids[0])


def _limited(tx: Transaction, statement: Select[R], limit: int | None, **values: Any) -> tuple[list[R], bool]:
    """At most ``limit`` rows, and whether these are all."""
    if limit is None:
        return tx.all(statement, limit=_ALL, **values), True
    rows = tx.all(statement, limit=limit + 1, **values)
    return rows[:limit], len(rows) <= limit


def _encode_conversation(tx: Transaction, conversation_id: int) -> bytes | None:
    row = tx.one(tx.q.conversations.get_shown, conversation_id=conversation_id)
    return msgspec.json.encode(schemas.Conversation.of(row)) if row else None


def _message_encoder(request: web.Request, public_id: str, owner_id: int) -> Encode:
    """The JSON of a message; the text of a running reply, and of one that could not be stored yet, comes from
    memory."""
    language, base_path = language_of(request), base_path_of(request)
    unstored = request.app[REPLIES].unstored(public_id, owner_id)
    running = request.app[REPLIES].find_running(public_id, owner_id)
    running_id = running.turn.message_id if running else None
    content, reasoning = (running.text.of("content"), running.text.of("reasoning")) if running else ("", "")

    def encode(tx: Transaction, message_id: int) -> bytes | None:
        row = tx.one(tx.q.messages.get_shown, message_id=message_id)
        if row is None:
            return None
        message = schemas.Message.of(row, language, base_path)
        if message.id == running_id and message.status == "streaming":
            message.content, message.reasoning = content, reasoning or None
        elif message.status == "streaming":
            _show_unstored(tx, message, unstored.get(message.id), language)
        return msgspec.json.encode(message)

    return encode


def _show_unstored(
    tx: Transaction, message: schemas.Message, settlement: Settlement | None, language: Language
) -> None:
    """Complete a reply that is not running any more, but whose end is not stored."""
    if settlement is None or settlement.is_cut:
        saved = settle.saved_text(tx, message.id)
        message.content, message.reasoning = saved["content"], saved["reasoning"] or None
    else:
        message.content, message.reasoning = settlement.content, settlement.reasoning or None
        message.tool_calls = msgspec.json.decode(settlement.tool_calls or "[]")
        message.sources = sources_of(settlement.sources)
    if settlement is not None:
        assert NOT_STORED.reason is not None
        message.status, message.reason = NOT_STORED.status, NOT_STORED.reason.text(language)
        message.finish_reason, message.model = NOT_STORED.finish_reason, settlement.model.name
        if (usage_cost := settlement.usage_cost).usage_source:
            message.usage, message.cost = schemas.Usage.of(usage_cost), money(usage_cost.cost)


def _update(tx: Transaction, public_id: str, user_id: int, changes: dict[str, Any]) -> ShownConversation:
    conversation = branches.get_conversation(tx, public_id, user_id)
    if "title" in changes:
        tx.run(tx.q.conversations.rename, conversation_id=conversation.id, title=changes["title"])
    if "head_id" in changes:
        branches.show_branch(tx, public_id, user_id, changes["head_id"])
    return branches.get_conversation(tx, public_id, user_id)
