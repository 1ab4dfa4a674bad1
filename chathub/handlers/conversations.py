"""Section 6 of the API document: conversations and their messages."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from chathub.accounts.caller import Caller
from chathub.app_keys import CALLER, CLOCK, DB, REMOVER, REPLIES
from chathub.chat import branches, removal, settle, turn
from chathub.chat.title_text import title_of
from chathub.chat.turn import Settlement
from chathub.database.rows.conversations import ShownConversation
from chathub.database.statements import R, Select
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, Forbidden, NotFound
from chathub.handlers.http import actor, answer, body, done, query
from chathub.handlers.json_lists import Encode, send_rows
from chathub.handlers.response_writer import large
from chathub.schemas import conversations as schemas
from chathub.schemas.conversations import ConversationChange, ConversationFilter, MessageFilter
from chathub.schemas.decode import given
from chathub.schemas.money import money
from chathub.security import audit

# more than any number of rows; after every stamp and every id
_ALL = _NEWEST = 2**63 - 1


class _Page(Struct, frozen=True):
    """Whose rows they are, which, in the order they are shown, and what ``before`` the next page has."""

    owner_id: int
    ids: list[int]
    further: str | int | None = None


@large
async def list_for_user(request: web.Request) -> web.StreamResponse:
    wanted, caller, db = query(request, ConversationFilter), request[CALLER], request.app[DB]
    user_id = caller.id if wanted.user_id is None else wanted.user_id
    if user_id != caller.id and not caller.administrates:
        raise Forbidden("不能查看其他用户的对话")
    page = await db.read_background(caller.id, _conversations, user_id, wanted)
    if user_id != caller.id:
        await _note_look(request, "conversation.listed", user_id)
    return await send_rows(request, page.ids, _encode_conversation, page.further)


@large
async def list_messages(request: web.Request) -> web.StreamResponse:
    public_id, wanted = request.match_info["conversation_id"], query(request, MessageFilter)
    caller, db = request[CALLER], request.app[DB]
    page = await db.read_background(caller.id, _messages, public_id, caller, wanted)
    if page.owner_id != caller.id:
        await _note_look(request, "conversation.read", page.owner_id, conversation=public_id)
    return await send_rows(request, page.ids, _message_encoder(request, public_id, page), page.further)


async def update(request: web.Request) -> web.Response:
    public_id, caller = request.match_info["conversation_id"], request[CALLER]
    changes = given(await body(request, ConversationChange))
    if "title" in changes:
        changes["title"] = title_of(changes["title"])
    if not changes or changes.get("title") == "":
        raise BadRequest("字段 title 或 head_id 不能为空")
    row = await request.app[DB].write(_change, public_id, caller.id, changes)
    changed = schemas.Conversation.of(row)
    return answer(schemas.ConversationChanged(message="对话更新成功", conversation=changed))


async def delete(request: web.Request) -> web.Response:
    public_id, caller, clock = request.match_info["conversation_id"], request[CALLER], request.app[CLOCK]
    async with request.app[REPLIES].exclusive(public_id, caller.id):
        now, certain = clock.now(), clock.certain()
        await request.app[DB].write(removal.delete_conversation, public_id, caller.id, now, certain)
    request.app[REMOVER].wake()
    return done("对话删除成功")


async def _note_look(request: web.Request, event: str, owner_id: int, **details: str) -> None:
    """An administrator's look at what is another user's is shown only once it is in the audit."""
    now = request.app[CLOCK].now()
    await request.app[DB].write(audit.record, actor(request), event, now, f"user {owner_id}", **details)


def _conversations(tx: Transaction, user_id: int, wanted: ConversationFilter) -> _Page:
    """A user's conversations, newest first, from after ``before`` on."""
    updated_at = before_id = _NEWEST
    if wanted.before is not None:
        row = tx.one(tx.q.conversations.get_own, public_id=wanted.before, user_id=user_id)
        if row is None:
            raise BadRequest("参数 before 不是该用户的对话")
        updated_at, before_id = row.updated_at, row.id
    rows, is_all = _limited(
        tx,
        tx.q.conversations.list_ids,
        wanted.limit,
        user_id=user_id,
        updated_at=updated_at,
        before_id=before_id,
    )
    return _Page(user_id, [row.id for row in rows], None if is_all else rows[-1].public_id)


def _messages(tx: Transaction, public_id: str, caller: Caller, wanted: MessageFilter) -> _Page:
    """The messages of the current branch, or of the one that ``before`` is in, oldest first; an administrator
    may read, never write, another user's."""
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or (row.user_id != caller.id and not caller.administrates):
        raise NotFound("对话不存在")
    newest_id = row.head_id
    if wanted.before is not None:
        place = tx.one(tx.q.messages.get_place, message_id=wanted.before)
        if place is None or place.conversation_id != row.id:
            raise BadRequest("参数 before 不是该对话的消息")
        newest_id = place.parent_id
    rows, is_all = _limited(tx, tx.q.messages.list_branch_ids, wanted.limit, newest_id=newest_id)
    ids = [row.id for row in reversed(rows)]
    return _Page(row.user_id, ids, None if is_all else ids[0])


def _limited(tx: Transaction, statement: Select[R], limit: int | None, **values: Any) -> tuple[list[R], bool]:
    """So many rows, and whether these are all."""
    if limit is None:
        return tx.all(statement, limit=_ALL, **values), True
    rows = tx.all(statement, limit=limit + 1, **values)
    return rows[:limit], len(rows) <= limit


def _encode_conversation(tx: Transaction, conversation_id: int) -> bytes | None:
    row = tx.one(tx.q.conversations.get_shown, conversation_id=conversation_id)
    return msgspec.json.encode(schemas.Conversation.of(row)) if row else None


def _message_encoder(request: web.Request, public_id: str, page: _Page) -> Encode:
    """A reply in the making, and one that could not be stored yet, is shown as it is in memory."""
    unstored = request.app[REPLIES].unstored(public_id, page.owner_id)
    live = request.app[REPLIES].find_running(public_id, page.owner_id)
    live_id = live.turn.message_id if live else None
    content, reasoning = (live.text.of("content"), live.text.of("reasoning")) if live else ("", "")

    def encode(tx: Transaction, message_id: int) -> bytes | None:
        row = tx.one(tx.q.messages.get_shown, message_id=message_id)
        if row is None:
            return None
        message = schemas.Message.of(row)
        if message.id == live_id and message.status == "streaming":
            message.content, message.reasoning = content, reasoning or None
        elif message.status == "streaming":
            _show_unstored(tx, message, unstored.get(message.id))
        return msgspec.json.encode(message)

    return encode


def _show_unstored(tx: Transaction, message: schemas.Message, it: Settlement | None) -> None:
    """All there is of a reply that nobody writes any more and whose end is not stored."""
    if it is None or it.is_cut:
        saved = settle.saved_text(tx, message.id)
        message.content, message.reasoning = saved["content"], saved["reasoning"] or None
    else:
        message.content, message.reasoning = it.content, it.reasoning or None
        message.tool_calls = msgspec.json.decode(it.tool_calls or "[]")
    if it is not None:
        message.status, message.reason = turn.NOT_STORED.status, turn.NOT_STORED.reason
        message.finish_reason, message.model = turn.NOT_STORED.finish_reason, it.model.name
        if it.usage_cost.usage_source:
            message.usage, message.cost = schemas.Usage.of(it.usage_cost), money(it.usage_cost.cost)


def _change(tx: Transaction, public_id: str, user_id: int, changes: dict[str, Any]) -> ShownConversation:
    conversation = branches.own_conversation(tx, public_id, user_id)
    if "title" in changes:
        tx.run(tx.q.conversations.rename, conversation_id=conversation.id, title=changes["title"])
    if "head_id" in changes:
        branches.switch(tx, public_id, user_id, changes["head_id"])
    return branches.own_conversation(tx, public_id, user_id)
