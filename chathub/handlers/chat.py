"""Chats, section 5 of the API document: ``replies.conversations`` runs the replies, the handlers follow."""

from aiohttp import web
from msgspec import structs

from chathub.app_keys import BODY, CALLER, CLOCK, DB, REPLIES, RESOLVER
from chathub.chat.settle import complete_stopped
from chathub.chat.turn import BranchPoint, Prompt, TurnRequest
from chathub.chat.turn_input import decode_prompt, idempotency_key_of
from chathub.clock import iso
from chathub.errors import BadRequest, ChatHubError, NotFound
from chathub.formats.needs import forming
from chathub.handlers.http import (
    base_path_of,
    body,
    idempotency_header,
    json_response,
    language_of,
    long_body,
    off_loop,
    query,
    row_id,
    said,
    streamed,
)
from chathub.handlers.reply_stream import end_event, error_of, follow
from chathub.providers.candidates import Candidates
from chathub.providers.requirements import Requirements
from chathub.replies.cursor import Cursor
from chathub.replies.reply import Reply
from chathub.schemas.attachments import behind
from chathub.schemas.chats import Chat, Options, Resume, SavePartial, Stop
from chathub.schemas.replies import ActiveReply, ChatReply, Saved, Stopped


@streamed
async def complete(request: web.Request) -> web.Response:
    turn_request = await _turn_request(request, await long_body(request, Chat))
    refusal = turn_request.candidates
    # a request that is refused now may have got a reply before
    if isinstance(refusal, ChatHubError) and not await request.app[REPLIES].is_repeated(turn_request):
        raise refusal
    async with request.app[REPLIES].begin_turn(turn_request) as reply:
        await reply.finished()
    assert reply.final_status is not None
    if reply.final_status.status != "done":
        raise error_of(reply, reply.final_status, language_of(request))
    return json_response(
        ChatReply(
            response=await reply.text.whole("content"),
            reasoning=await reply.text.whole("reasoning") or None,
            tool_calls=list(reply.tool_calls.values()),
            attachments=[behind(each, base_path_of(request)) for each in reply.attachments],
            timestamp=iso(request.app[CLOCK].now()),
            **structs.asdict(end_event(reply, reply.final_status, language_of(request))),
        )
    )


@streamed
async def stream(request: web.Request) -> web.StreamResponse:
    chat = await long_body(request, Chat)
    async with request.app[REPLIES].begin_turn(await _turn_request(request, chat)) as reply:
        return await follow(request, reply, resumable=bool(chat.resumable))


@streamed
async def resume(request: web.Request) -> web.StreamResponse:
    parameters = query(request, Resume, last_event_id=request.headers.get("Last-Event-ID"))
    message_id, user_id = row_id(request, "message_id"), request[CALLER].id
    async with request.app[REPLIES].follow(message_id, user_id) as reply:
        cursor = Cursor.parse(parameters.last_event_id)
        return await follow(request, reply, resumable=True, cursor=cursor)


async def list_active(request: web.Request) -> web.Response:
    running_replies = request.app[REPLIES].of_user(request[CALLER].id)
    return json_response([_active(running.reply, running.followers) for running in running_replies])


def _active(reply: Reply, followers: int) -> ActiveReply:
    turn = reply.turn
    return ActiveReply(turn.message_id, turn.public_id, turn.title, reply.requested_model, followers)


async def stop(request: web.Request) -> web.Response:
    target = await body(request, Stop)
    target_id = target.message_id if target.message_id is not None else target.conversation_id or None
    if target_id is None:
        raise BadRequest("stop_target_required")
    reply = await request.app[REPLIES].stop(target_id, request[CALLER].id)
    if reply is None:
        raise NotFound("no_reply_running")
    turn = reply.turn
    return json_response(
        Stopped(
            message=said(request, "reply_stopped"), message_id=turn.message_id, conversation_id=turn.public_id
        )
    )


async def save_partial(request: web.Request) -> web.Response:
    """Stop the reply: the page calls this after its stop button. The page's text is stored only if it is
    longer than the server's and begins with it."""
    # a long reply needs a long body: a page that could not send it could not stop the reply
    partial = await long_body(request, SavePartial)
    public_id, user_id = partial.conversation_id, request[CALLER].id
    if not public_id:
        return json_response(Saved(message=said(request, "nothing_to_save")))
    await request.app[REPLIES].stop(public_id, user_id)
    now = request.app[CLOCK].now()
    await request.app[DB].write(complete_stopped, public_id, user_id, partial.content or "", now)
    return json_response(Saved(message=said(request, "partial_reply_saved"), conversation_id=public_id))


async def _turn_request(request: web.Request, chat: Chat) -> TurnRequest:
    """The request for a reply. The candidates are resolved last: nothing may be awaited between that and the
    beginning of the turn."""
    prompt = await off_loop(request, decode_prompt, chat.message, chat.images, chat.tool_results)
    key = idempotency_header(request, chat.client_message_id)
    idempotency_key = await off_loop(request, idempotency_key_of, key, chat)
    public_id = chat.conversation_id or request.app[CLOCK].new_id()
    return TurnRequest(
        caller=request[CALLER],
        branch_point=BranchPoint("new", public_id, fresh=not chat.conversation_id),
        prompt=prompt,
        model=chat.model,
        options=chat,
        candidates=resolve_or_refusal(request, chat.model, prompt, chat, chat, public_id),
        idempotency_key=idempotency_key,
        body=request[BODY],
    )


def resolve_or_refusal(
    request: web.Request, model: str, prompt: Prompt, options: Options, sent: Options, public_id: str
) -> Candidates | ChatHubError:
    """The candidates for a turn, or the error why there are none: a stream sends it as an event, because the
    page never shows the body of a status.

    ``sent`` are the options of the request alone: those that are kept from an earlier turn do not refuse a
    model whose format lacks them. ``public_id`` is the conversation's.
    """
    requirements = Requirements(
        images=bool(prompt.images),
        tools=bool(options.tools or prompt.results),
        fields=forming(sent.parameters()),
    )
    try:
        hint = f"conversation\0{public_id}"
        return request.app[RESOLVER].resolve(request[CALLER], model, requirements, hint)
    except ChatHubError as refusal:
        return refusal
