"""Section 6 of the API document: conversations and their messages."""

from aiohttp import web

from chathub.accounts.sessions import Caller
from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, Forbidden, NotFound
from chathub.handlers.common import answer, body, done, query
from chathub.keys import CALLER, DB, REPLIES
from chathub.wire import answers
from chathub.wire.requests import ConversationChange, ConversationFilter

# SQLite takes a negative limit for none
_ALL = -1


async def list_for_user(request: web.Request) -> web.Response:
    wanted, caller, db = query(request, ConversationFilter), request[CALLER], request.app[DB]
    user_id = caller.id if wanted.user_id is None else wanted.user_id
    if user_id != caller.id and not caller.is_admin:
        raise Forbidden("不能查看其他用户的对话")
    rows = await db.fetch_slowly(
        db.q.conversations.list_for_user,
        user_id=user_id,
        limit=_ALL if wanted.limit is None else wanted.limit,
    )
    return answer([answers.Conversation.of(row) for row in rows])


async def list_messages(request: web.Request) -> web.Response:
    public_id = request.match_info["conversation_id"]
    rows, owner_id = await request.app[DB].read_slowly(_branch, public_id, request[CALLER])
    live = request.app[REPLIES].live(public_id, owner_id)
    messages = [answers.Message.of(row) for row in rows]
    for message in messages:
        # a reply in the making is shown as it is in memory
        if live is not None and message.id == live.turn.message_id:
            message.content, message.reasoning = live.text("content"), live.text("reasoning") or None
    return answer(messages)


async def update(request: web.Request) -> web.Response:
    public_id, caller = request.match_info["conversation_id"], request[CALLER]
    change = await body(request, ConversationChange)
    title = change.title.strip() if isinstance(change.title, str) else ""
    if not title:
        raise BadRequest("字段 title 不能为空")
    row = await request.app[DB].write(_rename, public_id, caller.id, title)
    return done("对话更新成功", conversation=answers.Conversation.of(row))


async def delete(request: web.Request) -> web.Response:
    public_id, caller, db = request.match_info["conversation_id"], request[CALLER], request.app[DB]
    if live := request.app[REPLIES].live(public_id, caller.id):
        await request.app[REPLIES].stop(live)
    if not await db.execute(db.q.conversations.delete, public_id=public_id, user_id=caller.id):
        raise NotFound("对话不存在")
    return done("对话删除成功")


def _branch(tx: Transaction, public_id: str, caller: Caller) -> tuple[list[Row], int]:
    """The messages of the current branch; an administrator may read, never write, another user's."""
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or (row["user_id"] != caller.id and not caller.is_admin):
        raise NotFound("对话不存在")
    return tx.all(tx.q.messages.list_branch, public_id=public_id), row["user_id"]


def _rename(tx: Transaction, public_id: str, user_id: int, title: str) -> Row:
    tx.run(tx.q.conversations.rename, public_id=public_id, user_id=user_id, title=title)
    row = tx.one(tx.q.conversations.get_own, public_id=public_id, user_id=user_id)
    if row is None:
        raise NotFound("对话不存在")
    return row
