"""Section 5 of the API document: chatting. The reply is written by ``chat.replies``; here it is followed."""

from aiohttp import web
from msgspec import structs

from chathub.app_keys import BODY, CALLER, CLOCK, DB, REPLIES, RESOLVER
from chathub.chat.cursor import Cursor
from chathub.chat.reply import Reply
from chathub.chat.settle import complete_stopped
from chathub.chat.turn import BranchPoint, IdempotencyKey, Prompt, TurnRequest
from chathub.chat.turn_input import idempotency_key_of, prompt_of
from chathub.clock import iso
from chathub.errors import BadRequest, ChatHubError, NotFound
from chathub.handlers.http import (
    answer,
    body,
    idempotency_header,
    long_body,
    off_loop,
    query,
    row_id,
    streamed,
)
from chathub.handlers.reply_stream import end_event, failure, follow
from chathub.providers.resolver import Candidates, Requirements
from chathub.schemas.chats import Chat, Options, Resume, SavePartial, Stop
from chathub.schemas.replies import ActiveReply, ChatReply, Saved, Stopped


@streamed
async def complete(request: web.Request) -> web.Response:
    wanted, question, idempotency_key = await _chat(request)
    candidates = resolve_or_refusal(request, wanted.model, requirements_of(question, wanted))
    asking = _question(request, wanted, question, candidates, idempotency_key)
    # what is refused now may have been answered before
    if isinstance(candidates, ChatHubError) and not await request.app[REPLIES].is_repeated(asking):
        raise candidates
    async with request.app[REPLIES].begin_turn(asking) as reply:
        await reply.finished()
    assert reply.final_status is not None
    if reply.final_status.status != "done":
        raise failure(reply, reply.final_status)
    return answer(
        ChatReply(
            response=await reply.text.whole("content"),
            reasoning=await reply.text.whole("reasoning") or None,
            tool_calls=list(reply.calls.values()),
            timestamp=iso(request.app[CLOCK].now()),
            **structs.asdict(end_event(reply, reply.final_status)),
        )
    )


@streamed
async def stream(request: web.Request) -> web.StreamResponse:
    wanted, question, idempotency_key = await _chat(request)
    candidates = resolve_or_refusal(request, wanted.model, requirements_of(question, wanted))
    async with request.app[REPLIES].begin_turn(
        _question(request, wanted, question, candidates, idempotency_key)
    ) as reply:
        return await follow(request, reply, resumable=bool(wanted.resumable))


@streamed
async def resume(request: web.Request) -> web.StreamResponse:
    wanted = query(request, Resume, last_event_id=request.headers.get("Last-Event-ID"))
    message_id, user_id = row_id(request, "message_id"), request[CALLER].id
    async with request.app[REPLIES].follow(message_id, user_id) as reply:
        cursor = Cursor.parse(wanted.last_event_id)
        return await follow(request, reply, resumable=True, cursor=cursor)


async def list_active(request: web.Request) -> web.Response:
    running = request.app[REPLIES].of_user(request[CALLER].id)
    return answer([_active(each.reply, each.followers) for each in running])


def _active(reply: Reply, followers: int) -> ActiveReply:
    turn = reply.turn
    return ActiveReply(turn.message_id, turn.public_id, turn.title, reply.model, followers)


async def stop(request: web.Request) -> web.Response:
    wanted = await body(request, Stop)
    place = wanted.message_id if wanted.message_id is not None else wanted.conversation_id or None
    if place is None:
        raise BadRequest("请提供 message_id 或 conversation_id")
    reply = await request.app[REPLIES].stop(place, request[CALLER].id)
    if reply is None:
        raise NotFound("没有正在生成的回复")
    turn = reply.turn
    stopped = Stopped(message="已停止生成", message_id=turn.message_id, conversation_id=turn.public_id)
    return answer(stopped)


async def save_partial(request: web.Request) -> web.Response:
    """What the page calls after its stop button: stops the reply. The server's text is the reply's;
    the page's own counts only where the server has less of the same."""
    # a long reply is longer than other bodies may be; a page that cannot say "stop" would not stop it
    wanted = await long_body(request, SavePartial)
    if not wanted.conversation_id:
        return answer(Saved(message="没有需要保存的内容"))
    user_id, text = request[CALLER].id, wanted.content or ""
    await request.app[REPLIES].stop(wanted.conversation_id, user_id)
    await request.app[DB].write(
        complete_stopped, wanted.conversation_id, user_id, text, request.app[CLOCK].now()
    )
    return answer(Saved(message="部分回复已保存", conversation_id=wanted.conversation_id))


async def _chat(request: web.Request) -> tuple[Chat, Prompt, IdempotencyKey | None]:
    """All that takes time, so that nothing is awaited between the plan and the question."""
    wanted = await long_body(request, Chat)
    question = await off_loop(request, prompt_of, wanted.message, wanted.images, wanted.tool_results)
    return (
        wanted,
        question,
        await off_loop(request, idempotency_key_of, idempotency_header(request, wanted), wanted),
    )


def requirements_of(question: Prompt, options: Options) -> Requirements:
    return Requirements(images=bool(question.images), tools=bool(options.tools or question.results))


def resolve_or_refusal(request: web.Request, model: str, needs: Requirements) -> Candidates | ChatHubError:
    """What a chatting person should read is an event of the stream: the page never shows the body of a
    status."""
    try:
        return request.app[RESOLVER].resolve(request[CALLER], model, needs)
    except ChatHubError as refusal:
        return refusal


def _question(
    request: web.Request,
    wanted: Chat,
    question: Prompt,
    candidates: Candidates | ChatHubError,
    idempotency_key: IdempotencyKey | None,
) -> TurnRequest:
    given = wanted.conversation_id
    branch_point = BranchPoint("new", given or request.app[CLOCK].new_id(), fresh=not given)
    return TurnRequest(
        request[CALLER],
        branch_point,
        question,
        wanted.model,
        wanted,
        candidates,
        idempotency_key,
        request[BODY],
    )
