"""Section 5 of the API document: chatting. The reply is written by ``chat.replies``; here it is followed."""

from typing import Any

import msgspec
from aiohttp import web

from chathub.chat.replies import Question
from chathub.chat.reply import Ending, Kind, Reply
from chathub.chat.turns import complete_stopped
from chathub.clock import iso
from chathub.errors import BadRequest, ChatHubError, NotFound
from chathub.handlers.common import answer, body, done
from chathub.handlers.streams import EventStream
from chathub.keys import CALLER, CLOCK, DB, PLANNER, REPLIES
from chathub.wire import answers
from chathub.wire.requests import Chat, SavePartial, Stop


async def complete(request: web.Request) -> web.Response:
    wanted = await _chat(request)
    plan = await request.app[PLANNER].plan(request[CALLER], wanted.model)
    async with request.app[REPLIES].ask(Question(request[CALLER], wanted, plan)) as reply:
        await reply.finished()
    assert reply.ending is not None
    if reply.ending.status != "done":
        raise _error(reply, reply.ending)
    return answer(
        {
            "conversation_id": reply.turn.public_id,
            "response": reply.text("content"),
            "reasoning": reply.text("reasoning") or None,
            "model": reply.model,
            "timestamp": iso(request.app[CLOCK].now()),
            "title": reply.turn.title,
            **_summary(reply, reply.ending),
        }
    )


async def stream(request: web.Request) -> web.StreamResponse:
    wanted = await _chat(request)
    try:
        plan: Any = await request.app[PLANNER].plan(request[CALLER], wanted.model)
    except ChatHubError as refusal:
        # what a chatting person should read is an event: the page never shows the body of a status
        plan = refusal
    async with request.app[REPLIES].ask(Question(request[CALLER], wanted, plan)) as reply:
        return await _follow(request, reply)


async def stop(request: web.Request) -> web.Response:
    wanted = await body(request, Stop)
    replies, caller = request.app[REPLIES], request[CALLER]
    if wanted.message_id is None and not wanted.conversation_id:
        raise BadRequest("请提供 message_id 或 conversation_id")
    if wanted.message_id is not None:
        reply = replies.live_message(wanted.message_id, caller.id)
    else:
        reply = replies.live(wanted.conversation_id or "", caller.id)
    if reply is None:
        raise NotFound("没有正在生成的回复")
    await replies.stop(reply)
    return done("已停止生成", message_id=reply.turn.message_id, conversation_id=reply.turn.public_id)


async def save_partial(request: web.Request) -> web.Response:
    """What the page calls after its stop button: stops the reply. The server's text is the reply's;
    the page's own counts only where the server has less of the same."""
    wanted = await body(request, SavePartial)
    if not wanted.conversation_id:
        return done("没有需要保存的内容")
    caller = request[CALLER]
    if live := request.app[REPLIES].live(wanted.conversation_id, caller.id):
        await request.app[REPLIES].stop(live)
    await request.app[DB].write(
        complete_stopped, wanted.conversation_id, caller.id, wanted.content or "", request.app[CLOCK].now()
    )
    return done("部分回复已保存", conversation_id=wanted.conversation_id)


async def _chat(request: web.Request) -> Chat:
    wanted = await body(request, Chat)
    if not wanted.message.strip():
        raise BadRequest("消息内容不能为空")
    return wanted


async def _follow(request: web.Request, reply: Reply) -> web.StreamResponse:
    events = await EventStream.begin(request)
    try:
        await events.send(_start(reply))
        async for runs in reply.follow():
            if runs:
                await events.send(*[_part(kind, text) for kind, text in runs])
            else:
                await events.beat()
        assert reply.ending is not None
        await events.send(_end(reply, reply.ending))
        await events.close()
    except (ConnectionError, TimeoutError):
        # the client left or stopped reading; the reply goes on without it
        events.abort()
    return events.response


def _start(reply: Reply) -> bytes:
    return msgspec.json.encode(
        {
            "type": "start",
            "conversation_id": reply.turn.public_id,
            "message_id": reply.turn.message_id,
            "user_message_id": reply.turn.user_message_id,
            "model": reply.model,
            "title": reply.turn.title,
        }
    )


def _part(kind: Kind, text: str) -> bytes:
    return b'{"type":"%b","content":%b}' % (kind.encode(), msgspec.json.encode(text))


def _end(reply: Reply, ending: Ending) -> bytes:
    if ending.status in ("error", "interrupted"):
        error = {"type": "error", "status": ending.code, "error": ending.reason, "content": ending.reason}
        return msgspec.json.encode(
            {**error, "conversation_id": reply.turn.public_id, "message_id": reply.turn.message_id}
        )
    return msgspec.json.encode(
        {
            "type": "end",
            "conversation_id": reply.turn.public_id,
            "title": reply.turn.title,
            **_summary(reply, ending),
        }
    )


def _summary(reply: Reply, ending: Ending) -> dict[str, Any]:
    bill = reply.bill
    return {
        "message_id": reply.turn.message_id,
        "finish_reason": ending.finish_reason,
        "usage": answers.Usage(
            prompt_tokens=bill.prompt_tokens,
            completion_tokens=bill.completion_tokens,
            total_tokens=bill.prompt_tokens + bill.completion_tokens,
            reasoning_tokens=bill.reasoning_tokens,
            cached_tokens=bill.cached_tokens,
            estimated=bill.source != "reported",
        ),
        "cost": answers.money(bill.cost),
    }


def _error(reply: Reply, ending: Ending) -> ChatHubError:
    """A failed reply as the status of ``POST /api/chat``; its text so far is in the conversation."""
    error = ChatHubError(
        ending.reason,
        retry_after=ending.retry_after,
        conversation_id=reply.turn.public_id,
        message_id=reply.turn.message_id,
    )
    error.status = 409 if ending.status == "stopped" else ending.code
    return error
