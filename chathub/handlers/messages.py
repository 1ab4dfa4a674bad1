"""Messages as a tree: another answer, another question, and removing what follows."""

import json
from typing import TypeVar

import msgspec
from aiohttp import web

from chathub.app_keys import BODY, CALLER, CLOCK, DB, REMOVER, REPLIES
from chathub.chat import branches
from chathub.chat.turn import BranchPoint, Prompt, TurnRequest
from chathub.chat.turn_input import idempotency_key_of, prompt_of
from chathub.database.rows.messages import StoredPrompt
from chathub.errors import BadRequest, Conflict
from chathub.handlers.chat import requirements_of, resolve_or_refusal
from chathub.handlers.http import answer, body, idempotency_header, long_body, off_loop, row_id, streamed
from chathub.handlers.reply_stream import follow
from chathub.schemas.chats import EditMessage, Regenerate
from chathub.schemas.replies import MessagesDeleted

O = TypeVar("O", Regenerate, EditMessage)  # noqa: E741


@streamed
async def regenerate(request: web.Request) -> web.StreamResponse:
    question = await _question_of(request)
    if question.is_incomplete:
        raise Conflict("提问被拒绝时没有保存图片、工具等内容，无法重新生成，请修改后重新提问")
    wanted = await body(request, Regenerate)
    branch_point = BranchPoint("again", question.public_id, question.id)
    old = await request.app[DB].read(branches.asked_in, question)
    return await _ask(request, branch_point, old, question, wanted)


@streamed
async def edit(request: web.Request) -> web.StreamResponse:
    message_id = row_id(request, "message_id")
    wanted = await long_body(request, EditMessage)
    question = await _question_of(request)
    if question.id != message_id or question.role != "user":
        raise BadRequest("只能修改用户消息")
    new = await off_loop(request, prompt_of, wanted.content, wanted.images)
    if wanted.images is None and not new.images:
        old = await request.app[DB].read(branches.asked_in, question)
        new = Prompt(new.text, old.images)
    branch_point = BranchPoint("edit", question.public_id, question.id)
    return await _ask(request, branch_point, new, question, wanted)


async def delete(request: web.Request) -> web.Response:
    message_id, user_id = row_id(request, "message_id"), request[CALLER].id
    replies, db = request.app[REPLIES], request.app[DB]
    message = await db.read(branches.own_message, message_id, user_id)
    live = replies.find_running(message.public_id, user_id)
    # what follows from the message may be the reply that is being written; elsewhere it may go on
    live_id, now = live.turn.message_id if live else None, request.app[CLOCK].now()
    _, ends_live = await db.read(branches.subtree, message_id, live_id)
    if live and not ends_live:
        count, head = await db.write(branches.delete, message_id, user_id, now)
    else:
        async with replies.exclusive(message.public_id, user_id):
            count, head = await db.write(branches.delete, message_id, user_id, now)
    request.app[REMOVER].wake()
    return answer(MessagesDeleted(message="消息删除成功", deleted=count, head_id=head))


async def _question_of(request: web.Request) -> StoredPrompt:
    return await request.app[DB].read(branches.question_of, row_id(request, "message_id"), request[CALLER].id)


def _with_old_options(wanted: O, question: StoredPrompt) -> O:
    """What is not given is as it was when the question was first asked."""
    old = json.loads(question.options or "{}")
    missing = {name: value for name, value in old.items() if getattr(wanted, name, None) is None}
    return msgspec.structs.replace(wanted, **missing)


async def _ask(
    request: web.Request, branch_point: BranchPoint, new: Prompt, old: StoredPrompt, sent: O
) -> web.StreamResponse:
    # what was sent, and where: what it stands for changes with every answer
    key, place_id = idempotency_header(request, sent), row_id(request, "message_id")
    idempotency_key = await off_loop(request, idempotency_key_of, key, sent, place_id)
    wanted = _with_old_options(sent, old)
    model = wanted.model or old.answered_by
    candidates = resolve_or_refusal(request, model, requirements_of(new, wanted))
    question = TurnRequest(
        request[CALLER], branch_point, new, model, wanted, candidates, idempotency_key, request[BODY]
    )
    async with request.app[REPLIES].begin_turn(question) as reply:
        return await follow(request, reply, resumable=bool(wanted.resumable))
