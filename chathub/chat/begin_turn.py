"""The beginning of a turn, in one transaction: nothing is sent to a provider before it is on disk."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from chathub.billing import budgets
from chathub.billing.budgets import BudgetState, Reservation
from chathub.billing.interrupted import Asked
from chathub.chat import attachments, removal
from chathub.chat.context import CHARACTERS, counts_of_history, images_made
from chathub.chat.final_status import FinalStatus, status_columns
from chathub.chat.idempotency import RepeatedRequest, find_repeated_reply, remember_reply
from chathub.chat.settle import as_it_ended
from chathub.chat.title_text import title_of
from chathub.chat.turn import NewTurn, Settlement, Turn
from chathub.database.rows.conversations import Conversation
from chathub.database.rows.messages import ContextMessage, MessagePlace, PastReply
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, Gone, NotFound, TooManyRequests
from chathub.formats.messages import Image
from chathub.schemas.budgets import Budget
from chathub.schemas.chats import ToolResult

Unstored = Mapping[int, Settlement]


def begin_turn(tx: Transaction, new_turn: NewTurn, unstored: Unstored, ended: Sequence[int]) -> Turn:
    """Store a turn: the conversation if it is new, the prompt, and the reply that is to be generated.

    ``unstored`` is how replies of the conversation ended whose end is not in the database yet, by message;
    ``ended`` are the reservations of such replies of all users.

    Raises:
        NotFound: the conversation or message is not the user's.
        Gone: the user deleted the conversation.
        BadRequest: tool results that do not match the tool calls of the last reply.
        RepeatedRequest: the idempotency key was used before, for the same request.
        Conflict: the idempotency key was used before, for another request.
        TooManyRequests: too many requests in this minute, or too many replies at once.
        StorageFull: the user stores as much as it may, or would with this prompt.
    """
    _check_repetition(tx, new_turn)
    state = budgets.check_rate_limits(tx, new_turn.owner, ended)
    budgets.check_storage(state.of_user)
    conversation = _get_or_insert_conversation(tx, new_turn)
    parent_id = _parent_of_prompt(tx, new_turn, conversation, unstored)
    history = [as_it_ended(tx, row, unstored) for row in _list_history(tx, new_turn, parent_id)]
    # decided before the prompt is stored: less of it is stored if the turn is refused
    decision = _decide(state, new_turn, history)
    new_turn = new_turn.refused(decision.refusal) if decision.refusal else new_turn
    prompt_id, count = _insert_prompt(tx, new_turn, conversation.id, parent_id)
    message_id = _insert_reply(tx, new_turn, conversation.id, prompt_id, count + 1)
    budgets.check_storage(budgets.get_limits(tx, new_turn.user_id))
    if new_turn.idempotency_key:
        remember_reply(tx, new_turn.user_id, new_turn.idempotency_key, message_id, new_turn.owner.month)
    turn = Turn(
        conversation_id=conversation.id,
        public_id=new_turn.branch_point.public_id,
        title=conversation.title,
        user_message_id=prompt_id,
        message_id=message_id,
        prompt=new_turn.prompt.messages(),
        history=history,
        is_first=parent_id is None,
        refusal=decision.refusal,
        budget=decision.budget,
        is_limited=state.has_cost_budget,
    )
    return _reserve(tx, new_turn, turn, decision) if decision.reservation else turn


def _check_repetition(tx: Transaction, new_turn: NewTurn) -> None:
    if new_turn.idempotency_key is None:
        return
    message_id = find_repeated_reply(tx, new_turn.user_id, new_turn.idempotency_key, new_turn.now)
    if message_id is not None:
        raise RepeatedRequest(message_id)


# --- where the turn goes


def _get_or_insert_conversation(tx: Transaction, new_turn: NewTurn) -> Conversation:
    branch_point = new_turn.branch_point
    public_id, user_id, is_new = branch_point.public_id, new_turn.user_id, branch_point.kind == "new"
    if not branch_point.fresh:
        row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
        if row is not None and row.user_id == user_id:
            return row
        if is_new and removal.was_deleted(tx, public_id, user_id, new_turn.now):
            raise Gone("conversation_deleted")
        if row is not None or not is_new:
            raise NotFound("conversation_not_found")
    (row,) = tx.all(
        tx.q.conversations.insert,
        public_id=public_id,
        user_id=user_id,
        title=title_of(new_turn.prompt.text) or new_turn.untitled,
        model=new_turn.requested_model,
        now=new_turn.now,
    )
    return row


def _parent_of_prompt(
    tx: Transaction, new_turn: NewTurn, conversation: Conversation, unstored: Unstored
) -> int | None:
    """The message that the prompt follows; None: the prompt is a root."""
    branch_point, results = new_turn.branch_point, new_turn.prompt.results
    if branch_point.kind != "new":
        return _get_place(tx, branch_point.message_id, conversation.id).parent_id
    if results:
        return _get_called_reply(tx, results, conversation.head_id, unstored)
    return conversation.head_id


def _get_place(tx: Transaction, message_id: int, conversation_id: int) -> MessagePlace:
    row = tx.one(tx.q.messages.get_place, message_id=message_id)
    if row is None or row.conversation_id != conversation_id:
        raise NotFound("message_not_found")
    return row


def _get_called_reply(
    tx: Transaction, results: Sequence[ToolResult], head_id: int | None, unstored: Unstored
) -> int:
    """The reply whose tool calls these results complete: the head, or, if the head is a failed turn that
    continued from other results of that reply, the reply before it.

    Raises:
        BadRequest: the results do not match its tool calls.
    """
    row = _find_reply_with_calls(tx, head_id, unstored)
    calls = {call["id"] for call in json.loads((row.tool_calls if row else "") or "[]")}
    completed = {result.tool_call_id for result in results}
    if row is None or not calls or completed - calls or len(completed) < len(results):
        raise BadRequest("tool_results_unmatched")
    if calls - completed:
        raise BadRequest("tool_results_incomplete")
    return row.id


def _find_reply_with_calls(tx: Transaction, head_id: int | None, unstored: Unstored) -> PastReply | None:
    """The head if it is a successful reply; if it is an empty reply that failed, the one whose tool results
    it followed."""
    stored = tx.one(tx.q.messages.get_reply_with_calls, message_id=head_id)
    if stored is None:
        return None
    row = as_it_ended(tx, stored, unstored)
    if row.status == "done":
        return row
    if row.status == "streaming" or row.content or row.tool_calls:
        return None
    previous = tx.one(tx.q.messages.get_previous_reply, message_id=head_id)
    return previous and as_it_ended(tx, previous, unstored)


def _list_history(tx: Transaction, new_turn: NewTurn, head_id: int | None) -> list[ContextMessage]:
    if head_id is None or not new_turn.history_characters:
        return []
    return tx.all(tx.q.messages.list_context, head_id=head_id, characters=new_turn.history_characters)


# --- what the turn may use


class _Decision(NamedTuple):
    """The reservation of a turn with a prompt of so many tokens, or why the turn is refused and which budget
    is used up."""

    reservation: Reservation | None
    refusal: FinalStatus | None = None
    budget: Budget | None = None
    prompt: int = 0


def _decide(state: BudgetState, new_turn: NewTurn, history: Sequence[ContextMessage]) -> _Decision:
    if new_turn.bound is None:
        return _Decision(None, new_turn.refusal)
    # no more of the history is sent than the model's context window takes
    counts = counts_of_history(
        history, images=new_turn.supports_vision, images_of_replies=new_turn.returns_images
    )
    past = min(new_turn.longest(counts), new_turn.history_characters // CHARACTERS)
    bound = replace(new_turn.bound, prompt=new_turn.bound.prompt + past)
    try:
        return _Decision(budgets.size_reservation(state, bound), prompt=bound.prompt)
    except TooManyRequests as error:
        refusal = FinalStatus("error", error.reason, error.status, "error")
        return _Decision(None, refusal, error.details["budget"])


def _reserve(tx: Transaction, new_turn: NewTurn, turn: Turn, decision: _Decision) -> Turn:
    """The turn with its reservation, and with the images of its history."""
    reservation, prompt = decision.reservation, decision.prompt
    assert reservation is not None
    names = new_turn.provider, new_turn.model, new_turn.requested_model
    asked = Asked("chat", *names, new_turn.key_id, prompt)
    return replace(
        turn,
        images=_history_images(tx, new_turn, turn.history),
        reservation_id=budgets.reserve(tx, new_turn.owner, reservation, asked, turn.message_id),
        reply_cap=reservation.cap,
        reply_tokens=reservation.tokens - prompt,
    )


def _history_images(
    tx: Transaction, new_turn: NewTurn, history: Sequence[ContextMessage]
) -> dict[int, list[Image]]:
    """The images of the history that are sent with the prompt, by message."""
    if not new_turn.supports_vision:
        return {}
    shown = [row.id for row in history if row.image_count or (new_turn.returns_images and images_made(row))]
    return attachments.load_images(tx, shown, attachments.image_bytes(new_turn.prompt.images))


# --- its messages


def _insert_prompt(
    tx: Transaction, new_turn: NewTurn, conversation_id: int, parent_id: int | None
) -> tuple[int, int]:
    """The message that the reply follows, and how many messages were inserted for it."""
    if new_turn.branch_point.kind == "again":
        return new_turn.branch_point.message_id, 0
    prompt = new_turn.prompt
    if prompt.results:
        return _insert_tool_results(tx, new_turn, conversation_id, parent_id), len(prompt.results)
    (message,) = tx.all(
        tx.q.messages.insert_prompt,
        conversation_id=conversation_id,
        parent_id=parent_id,
        content=prompt.text,
        options=_options_json(new_turn),
        is_incomplete=new_turn.is_incomplete,
        now=new_turn.now,
    )
    attachments.insert_images(tx, message.id, new_turn.user_id, prompt.images, new_turn.now)
    return message.id, 1


def _insert_tool_results(
    tx: Transaction, new_turn: NewTurn, conversation_id: int, parent_id: int | None
) -> int:
    """Insert tool results, each as the child of the one before; gives the last one's id. The options are
    stored with that one, which the reply follows."""
    last = new_turn.prompt.results[-1]
    for result in new_turn.prompt.results:
        (message,) = tx.all(
            tx.q.messages.insert_tool_result,
            conversation_id=conversation_id,
            parent_id=parent_id,
            content=result.content,
            tool_call_id=result.tool_call_id,
            options=_options_json(new_turn) if result is last else "",
            is_incomplete=new_turn.is_incomplete,
            now=new_turn.now,
        )
        parent_id = message.id
    assert parent_id is not None
    return parent_id


def _options_json(new_turn: NewTurn) -> str:
    return json.dumps(new_turn.options, ensure_ascii=False) if new_turn.options else ""


def _insert_reply(
    tx: Transaction, new_turn: NewTurn, conversation_id: int, prompt_id: int, count: int
) -> int:
    """Insert the reply, streaming or refused, as the conversation's head. ``count``: the messages inserted
    in this turn."""
    (message,) = tx.all(
        tx.q.messages.insert_reply,
        conversation_id=conversation_id,
        parent_id=prompt_id,
        asked_model=new_turn.requested_model,
        model=new_turn.model,
        provider=new_turn.provider,
        now=new_turn.now,
        **status_columns(new_turn.refusal),
    )
    tx.run(
        tx.q.conversations.add_turn,
        conversation_id=conversation_id,
        head_id=message.id,
        model=new_turn.requested_model,
        more=count,
        now=new_turn.now,
    )
    if new_turn.branch_point.kind != "new" or new_turn.prompt.results:
        tx.run(tx.q.conversations.update_message_count, conversation_id=conversation_id)
    return message.id
