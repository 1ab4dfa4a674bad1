"""Messages as a tree: generating another reply, editing a user message, and deleting a subtree."""

import json
from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec.structs import replace

from chathub.app_keys import BODY, CALLER, CLOCK, DB, REMOVER, REPLIES
from chathub.chat import branches
from chathub.chat.turn import BranchPoint, Prompt, TurnRequest
from chathub.chat.turn_input import decode_prompt, idempotency_key_of
from chathub.database.rows.messages import StoredPrompt
from chathub.errors import BadRequest, Conflict
from chathub.handlers.chat import resolve_or_refusal
from chathub.handlers.http import (
    body,
    idempotency_header,
    json_response,
    long_body,
    off_loop,
    row_id,
    said,
    streamed,
)
from chathub.handlers.reply_stream import follow
from chathub.schemas.chats import EditMessage, Regenerate
from chathub.schemas.replies import MessagesDeleted

O = TypeVar("O", Regenerate, EditMessage)  # noqa: E741


@streamed
async def regenerate(request: web.Request) -> web.StreamResponse:
    stored = await _get_prompt(request)
    if stored.is_incomplete:
        raise Conflict("prompt_not_stored")
    options = await body(request, Regenerate)
    branch_point = BranchPoint("again", stored.public_id, stored.id)
    prompt = await request.app[DB].read(branches.load_prompt, stored)
    return await _begin_and_follow(request, branch_point, prompt, stored, options)


@streamed
async def edit(request: web.Request) -> web.StreamResponse:
    message_id = row_id(request, "message_id")
    change = await long_body(request, EditMessage)
    stored = await _get_prompt(request)
    if stored.id != message_id or stored.role != "user":
        raise BadRequest("not_a_user_message")
    prompt = await off_loop(request, decode_prompt, change.content, change.images)
    if change.images is None and not prompt.images:
        old_prompt = await request.app[DB].read(branches.load_prompt, stored)
        # their places were in the old text
        prompt = Prompt(prompt.text, tuple(replace(image, at=None) for image in old_prompt.images))
    branch_point = BranchPoint("edit", stored.public_id, stored.id)
    return await _begin_and_follow(request, branch_point, prompt, stored, change)


async def delete(request: web.Request) -> web.Response:
    message_id, user_id = row_id(request, "message_id"), request[CALLER].id
    replies, db, now = request.app[REPLIES], request.app[DB], request.app[CLOCK].now()
    public_id = (await db.read(branches.get_message, message_id, user_id)).public_id
    running = replies.find_running(public_id, user_id)
    # a running reply is stopped only if it is in the subtree
    running_id = running.turn.message_id if running else None
    _, contains_running = await db.read(branches.count_subtree, message_id, running_id)
    if running and not contains_running:
        count, head_id = await db.write(branches.delete_message, message_id, user_id, now)
    else:
        async with replies.exclusive(public_id, user_id):
            count, head_id = await db.write(branches.delete_message, message_id, user_id, now)
    request.app[REMOVER].wake()
    return json_response(
        MessagesDeleted(message=said(request, "messages_deleted"), deleted=count, head_id=head_id)
    )


async def _get_prompt(request: web.Request) -> StoredPrompt:
    message_id, user_id = row_id(request, "message_id"), request[CALLER].id
    return await request.app[DB].read(branches.get_prompt, message_id, user_id)


def _with_stored_options(options: O, stored: StoredPrompt) -> O:
    """The options of a request; those that are absent as they were in the prompt's first turn."""
    stored_options = json.loads(stored.options or "{}")
    absent = {name: value for name, value in stored_options.items() if getattr(options, name, None) is None}
    return msgspec.structs.replace(options, **absent)


async def _begin_and_follow(
    request: web.Request, branch_point: BranchPoint, prompt: Prompt, stored: StoredPrompt, sent: O
) -> web.StreamResponse:
    # the digest is of the fields that were sent: the stored options and the model change with every reply
    key, message_id = idempotency_header(request, sent.client_message_id), row_id(request, "message_id")
    idempotency_key = await off_loop(request, idempotency_key_of, key, sent, message_id)
    options = _with_stored_options(sent, stored)
    model = options.model or stored.requested_model
    turn_request = TurnRequest(
        caller=request[CALLER],
        branch_point=branch_point,
        prompt=prompt,
        model=model,
        options=options,
        candidates=resolve_or_refusal(request, model, prompt, options, sent, branch_point.public_id),
        idempotency_key=idempotency_key,
        body=request[BODY],
    )
    async with request.app[REPLIES].begin_turn(turn_request) as reply:
        return await follow(request, reply, resumable=bool(options.resumable))
