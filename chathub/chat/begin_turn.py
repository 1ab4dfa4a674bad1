"""The beginning of a turn, as one transaction: nothing goes upstream before this is on disk."""

import json
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from chathub.billing import budgets
from chathub.billing.budgets import BudgetState, Reservation
from chathub.chat import attachments, removal
from chathub.chat.context import estimate_history
from chathub.chat.settle import as_it_ended
from chathub.chat.title_text import title_of
from chathub.chat.turn import FinalStatus, IdempotencyKey, NewTurn, Settlement, Turn, status_columns
from chathub.clock import Month
from chathub.database.rows.conversations import Conversation
from chathub.database.rows.messages import ContextMessage, MessagePlace, PastReply
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, Conflict, Gone, NotFound, TooManyRequests
from chathub.formats.messages import Image
from chathub.schemas.budgets import Budget
from chathub.schemas.chats import ToolResult

# milliseconds that an idempotency key is remembered
_LIFE = 86_400_000


def begin_turn(
    tx: Transaction, it: NewTurn, unstored: Mapping[int, Settlement], ended: Sequence[int]
) -> Turn:
    """Find or start the conversation and store the question with its answer to come; ``unstored`` is how
    answers of the conversation ended that are not in the database yet, by message, and ``ended`` what is held
    for such answers of anybody's.

    Raises:
        NotFound: the conversation or message is not the user's.
        Gone: the user deleted the conversation.
        BadRequest: tool results that do not answer the calls of the last answer.
        Repeated: the claim was made before, with the same digest.
        Conflict: the claim was made before for something else.
        TooManyRequests: the user has too many requests in this minute, or answers at once.
    """
    if (
        it.idempotency_key
        and (known := find_repeated(tx, it.user_id, it.idempotency_key, it.now)) is not None
    ):
        raise RepeatedRequest(known)
    state = budgets.check_rate_limits(tx, it.owner, ended)
    conversation = _conversation(tx, it)
    conversation_id = conversation.id
    parent_id = _parent(tx, it, conversation, unstored)
    history = [as_it_ended(tx, row, unstored) for row in _history(tx, it, parent_id)]
    # decided before anything of the question is stored: less is kept of a refused one
    reservation, refusal, budget = _reservation(state, it, history)
    it = it.refused(refusal) if refusal else it
    question_id, count = _store_question(tx, it, conversation_id, parent_id)
    message_id = _store_answer(tx, it, conversation_id, question_id, count + 1)
    reservation_id = budgets.reserve(tx, it.owner, reservation, message_id) if reservation else 0
    if it.idempotency_key:
        remember_key(tx, it.user_id, it.idempotency_key, message_id, it.owner.month)
    return Turn(
        conversation_id,
        it.branch_point.public_id,
        conversation.title,
        question_id,
        message_id,
        it.prompt.messages(),
        history,
        _images(tx, it, history) if reservation else {},
        first=parent_id is None,
        reservation_id=reservation_id,
        answer_limit=reservation.cap if reservation else None,
        refusal=refusal,
        budget=budget,
    )


def _parent(
    tx: Transaction, it: NewTurn, conversation: Conversation, unstored: Mapping[int, Settlement]
) -> int | None:
    """The message that the question goes after."""
    parent_id: int | None = conversation.head_id
    if it.branch_point.kind != "new":
        parent_id = _question(tx, it.branch_point.message_id, conversation.id).parent_id
    elif it.prompt.results:
        parent_id = _answer_with_calls(tx, it.prompt.results, parent_id, unstored)
    return parent_id


def _history(tx: Transaction, it: NewTurn, head_id: int | None) -> list[ContextMessage]:
    if head_id is None or not it.history_characters:
        return []
    return tx.all(tx.q.messages.list_context, head_id=head_id, characters=it.history_characters)


def _images(tx: Transaction, it: NewTurn, history: Sequence[ContextMessage]) -> dict[int, list[Image]]:
    """Those of the history that go along with what is asked."""
    if not it.supports_vision:
        return {}
    left = attachments.MOST_TOGETHER - attachments.size_of(it.prompt.images)
    return attachments.of_messages(tx, [row.id for row in history if row.has_images], left)


def _reservation(
    state: BudgetState, it: NewTurn, history: Sequence[ContextMessage]
) -> tuple[Reservation | None, FinalStatus | None, Budget | None]:
    """What the answer may use; or why there will be none, and what is left."""
    if it.bound is None:
        return None, it.refusal, None
    # no more of it goes upstream than the window takes
    past = min(estimate_history(history, it.supports_vision), it.history_characters // 4)
    prompt = it.bound.prompt + past
    try:
        return budgets.size_reservation(state, replace(it.bound, prompt=prompt)), None, None
    except TooManyRequests as spent:
        return None, FinalStatus("error", spent.sentence, spent.status, "error"), spent.details["budget"]


def _conversation(tx: Transaction, it: NewTurn) -> Conversation:
    branch_point = it.branch_point
    if not branch_point.fresh:
        row = tx.one(tx.q.conversations.get_by_public_id, public_id=branch_point.public_id)
        if row is not None and row.user_id == it.user_id:
            return row
        if branch_point.kind == "new" and removal.was_deleted(tx, branch_point.public_id, it.user_id, it.now):
            raise Gone("对话已被删除", code="conversation_deleted")
        if row is not None or branch_point.kind != "new":
            raise NotFound("对话不存在")
    row = tx.one(
        tx.q.conversations.insert,
        public_id=branch_point.public_id,
        user_id=it.user_id,
        title=title_of(it.prompt.text) or ("图片" if it.prompt.images else "新对话"),
        model=it.model,
        now=it.now,
    )
    assert row is not None
    return row


def _question(tx: Transaction, message_id: int, conversation_id: int) -> MessagePlace:
    row = tx.one(tx.q.messages.get_place, message_id=message_id)
    if row is None or row.conversation_id != conversation_id:
        raise NotFound("消息不存在")
    return row


def _store_question(
    tx: Transaction, it: NewTurn, conversation_id: int, parent_id: int | None
) -> tuple[int, int]:
    """The message that is answered, and how many messages were stored for it."""
    if it.branch_point.kind == "again":
        return it.branch_point.message_id, 0
    if it.prompt.results:
        return _store_results(tx, it, conversation_id, parent_id), len(it.prompt.results)
    (question,) = tx.all(
        tx.q.messages.insert_question,
        conversation_id=conversation_id,
        parent_id=parent_id,
        content=it.prompt.text,
        options=_options(it),
        is_incomplete=it.incomplete,
        now=it.now,
    )
    attachments.keep(tx, question.id, it.user_id, it.prompt.images, it.now)
    return question.id, 1


def _answer_with_calls(
    tx: Transaction, results: Sequence[ToolResult], head_id: int | None, unstored: Mapping[int, Settlement]
) -> int:
    """The answer whose calls these results answer: the head, or what a failed attempt to go on from
    other results of it left as the head.

    Raises:
        BadRequest: the results are not those of its calls.
    """
    row = _with_calls(tx, head_id, unstored)
    calls = {call["id"] for call in json.loads((row.tool_calls if row else "") or "[]")}
    answered = {result.tool_call_id for result in results}
    if row is None or not calls or answered - calls or len(answered) < len(results):
        raise BadRequest("tool_results 与上一条回复的工具调用不符")
    if calls - answered:
        raise BadRequest("tool_results 必须回答上一条回复的所有工具调用")
    answer_id: int = row.id
    return answer_id


def _with_calls(tx: Transaction, head_id: int | None, unstored: Mapping[int, Settlement]) -> PastReply | None:
    """An answer that went well; of an empty one that did not, the one whose results of tools it followed."""
    stored = tx.one(tx.q.messages.get_answer, message_id=head_id)
    if stored is None:
        return None
    row = as_it_ended(tx, stored, unstored)
    if row.status == "done":
        return row
    if row.status == "streaming" or row.content or row.tool_calls:
        return None
    before = tx.one(tx.q.messages.get_answer_before, message_id=head_id)
    return before and as_it_ended(tx, before, unstored)


def _options(it: NewTurn) -> str:
    return json.dumps(it.options, ensure_ascii=False) if it.options else ""


def _store_results(tx: Transaction, it: NewTurn, conversation_id: int, head_id: int | None) -> int:
    """Store what tools gave, one message after the other; gives the last one's id. The options go with that
    one, which the answer follows."""
    last = it.prompt.results[-1]
    for result in it.prompt.results:
        (message,) = tx.all(
            tx.q.messages.insert_result,
            conversation_id=conversation_id,
            parent_id=head_id,
            content=result.content,
            tool_call_id=result.tool_call_id,
            options=_options(it) if result is last else "",
            is_incomplete=it.incomplete,
            now=it.now,
        )
        head_id = message.id
    assert head_id is not None
    return head_id


def _store_answer(tx: Transaction, it: NewTurn, conversation_id: int, question_id: int, count: int) -> int:
    """The answer to come, or that there will be none, becomes the conversation's head."""
    (message,) = tx.all(
        tx.q.messages.insert_answer,
        conversation_id=conversation_id,
        parent_id=question_id,
        model=it.model,
        provider=it.provider,
        now=it.now,
        **status_columns(it.refusal),
    )
    conversation = {"conversation_id": conversation_id}
    tx.run(
        tx.q.conversations.add_turn,
        head_id=message.id,
        model=it.model,
        more=count,
        now=it.now,
        **conversation,
    )
    if it.branch_point.kind != "new" or it.prompt.results:
        tx.run(tx.q.conversations.count_branch, **conversation)
    return message.id


class RepeatedRequest(Exception):
    """A request with this idempotency key was answered before: ``message_id`` is its reply."""

    def __init__(self, message_id: int) -> None:
        super().__init__(message_id)
        self.message_id = message_id


def find_repeated(tx: Transaction, user_id: int, key: IdempotencyKey, now: int) -> int | None:
    """The reply that this request got before, if it was seen within a day. Only reads: a repeated request is
    answered when the disk is full as well.

    A turn that failed before any output may be asked again, and one that was deleted: then there is none.

    Raises:
        Conflict: the key was used for something else.
    """
    row = tx.one(tx.q.idempotency.get, user_id=user_id, name=key.name, since=now - _LIFE)
    if row is None:
        return None
    if row.digest != key.digest and not row.is_deleted:
        raise Conflict("同一幂等键已用于不同的请求")
    return None if row.failed_empty or row.is_deleted else row.message_id


def remember_key(tx: Transaction, user_id: int, key: IdempotencyKey, message_id: int, month: Month) -> None:
    """Remember which reply a request got, instead of one that failed; forget what is older than a day."""
    tx.run(tx.q.idempotency.sweep, before=month.certain - _LIFE)
    tx.run(tx.q.idempotency.release, user_id=user_id, name=key.name)
    tx.run(
        tx.q.idempotency.claim,
        user_id=user_id,
        name=key.name,
        digest=key.digest,
        message_id=message_id,
        now=month.now,
    )
