"""Section 6 of the API document: conversations and their messages."""

from typing import Any

from aiohttp import web

from chathub import audit
from chathub.accounts.sessions import Caller
from chathub.chat import tree
from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, Forbidden, NotFound
from chathub.handlers.common import actor, answer, body, done, query
from chathub.keys import CALLER, CLOCK, DB, REPLIES
from chathub.wire import answers
from chathub.wire.decode import given
from chathub.wire.requests import ConversationChange, ConversationFilter

# SQLite takes a negative limit for none
_ALL = -1


async def list_for_user(request: web.Request) -> web.Response:
    wanted, caller, db = query(request, ConversationFilter), request[CALLER], request.app[DB]
    user_id = caller.id if wanted.user_id is None else wanted.user_id
    if user_id != caller.id:
        if not caller.administrates:
            raise Forbidden("不能查看其他用户的对话")
        await _note_look(request, "conversation.listed", user_id)
    rows = await db.fetch_slowly(
        caller.id,
        db.q.conversations.list_for_user,
        user_id=user_id,
        limit=_ALL if wanted.limit is None else wanted.limit,
    )
    return answer([answers.Conversation.of(row) for row in rows])


async def list_messages(request: web.Request) -> web.Response:
    public_id = request.match_info["conversation_id"]
    rows, owner_id = await request.app[DB].read_slowly(request[CALLER].id, _branch, public_id, request[CALLER])
    if owner_id != request[CALLER].id:
        await _note_look(request, "conversation.read", owner_id, conversation=public_id)
    live = request.app[REPLIES].live(public_id, owner_id)
    messages = [answers.Message.of(row) for row in rows]
    for message in messages:
        # a reply in the making is shown as it is in memory
        if live is not None and message.id == live.turn.message_id:
            message.content, message.reasoning = live.text("content"), live.text("reasoning") or None
    return answer(messages)


async def update(request: web.Request) -> web.Response:
    public_id, caller = request.match_info["conversation_id"], request[CALLER]
    changes = given(await body(request, ConversationChange))
    if not changes or ("title" in changes and not changes["title"].strip()):
        raise BadRequest("字段 title 或 head_id 不能为空")
    row = await request.app[DB].write(_change, public_id, caller.id, changes)
    return done("对话更新成功", conversation=answers.Conversation.of(row))


async def delete(request: web.Request) -> web.Response:
    public_id, caller = request.match_info["conversation_id"], request[CALLER]
    async with request.app[REPLIES].quiet(public_id, caller.id):
        await request.app[DB].write(tree.delete_conversation, public_id, caller.id)
    return done("对话删除成功")


async def _note_look(request: web.Request, event: str, owner_id: int, **details: str) -> None:
    """An administrator's look at what is another user's is shown only once it is in the audit."""
    now = request.app[CLOCK].now()
    await request.app[DB].write(audit.record, actor(request), event, now, f"user {owner_id}", **details)


def _branch(tx: Transaction, public_id: str, caller: Caller) -> tuple[list[Row], int]:
    """The messages of the current branch; an administrator may read, never write, another user's."""
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or (row["user_id"] != caller.id and not caller.administrates):
        raise NotFound("对话不存在")
    return tx.all(tx.q.messages.list_branch, public_id=public_id), row["user_id"]


def _change(tx: Transaction, public_id: str, user_id: int, changes: dict[str, Any]) -> Row:
    conversation = tree.own_conversation(tx, public_id, user_id)
    if "title" in changes:
        title = changes["title"].strip()
        tx.run(tx.q.conversations.rename, conversation_id=conversation["id"], title=title)
    if "head_id" in changes:
        tree.switch(tx, public_id, user_id, changes["head_id"])
    return tree.own_conversation(tx, public_id, user_id)
