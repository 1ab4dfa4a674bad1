"""A turn in the database: begun in one transaction, settled in one."""

from msgspec import Struct

from chathub.chat.ledger import Bill
from chathub.database.connection import Row, Transaction
from chathub.errors import NotFound

_TITLE = 30
INTERRUPTED = "服务器重启，回复中断"
# what the page shows in an empty bubble after its stop button: not a text of the model's
PLACEHOLDER = "对话已被用户停止"


class Turn(Struct, frozen=True):
    """A begun turn: both its messages are on disk. ``history`` is the branch before it, oldest first."""

    conversation_id: int
    public_id: str
    title: str
    user_message_id: int
    message_id: int
    history: list[Row]


def begin(
    tx: Transaction,
    *,
    user_id: int,
    public_id: str,
    question: str,
    model: str,
    provider: str,
    history_characters: int,
    refusal: str,
    now: int,
) -> Turn:
    """Find or start the conversation and store the question with its answer to come.

    A ``refusal`` (a sentence; else empty) stores the answer as failed from the start.

    Raises:
        NotFound: the conversation is someone else's.
    """
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is not None and row["user_id"] != user_id:
        raise NotFound("对话不存在")
    if row is None:
        title, head = title_of(question), None
        created = tx.one(
            tx.q.conversations.insert, public_id=public_id, user_id=user_id, title=title, model=model, now=now
        )
        assert created is not None
        conversation_id = created["id"]
    else:
        title, head, conversation_id = row["title"], row["head_id"], row["id"]
    history = tx.all(tx.q.messages.list_context, head_id=head, characters=history_characters) if head else []
    question_row = tx.one(
        tx.q.messages.insert_question,
        conversation_id=conversation_id,
        parent_id=head,
        content=question,
        now=now,
    )
    assert question_row is not None
    answer_row = tx.one(
        tx.q.messages.insert_answer,
        conversation_id=conversation_id,
        parent_id=question_row["id"],
        status="error" if refusal else "streaming",
        reason=refusal,
        model=model,
        provider=provider,
        now=now,
    )
    assert answer_row is not None
    tx.run(
        tx.q.conversations.add_turn,
        head_id=answer_row["id"],
        model=model,
        now=now,
        conversation_id=conversation_id,
    )
    return Turn(conversation_id, public_id, title, question_row["id"], answer_row["id"], history)


def settle(
    tx: Transaction,
    turn: Turn,
    *,
    user_id: int,
    model: str,
    content: str,
    reasoning: str,
    status: str,
    reason: str,
    finish_reason: str,
    bill: Bill,
    day: str,
    now: int,
) -> None:
    """Store how the reply ended and what it used. What it used counts even if it was deleted meanwhile."""
    tx.run(
        tx.q.messages.settle,
        message_id=turn.message_id,
        content=content,
        reasoning=reasoning,
        status=status,
        reason=reason,
        finish_reason=finish_reason,
        prompt_tokens=bill.prompt_tokens,
        completion_tokens=bill.completion_tokens,
        reasoning_tokens=bill.reasoning_tokens,
        cached_tokens=bill.cached_tokens,
        usage_source=bill.source,
        cost=bill.cost,
        now=now,
    )
    tx.run(tx.q.conversations.touch, conversation_id=turn.conversation_id, now=now)
    if bill.source:
        tx.run(
            tx.q.usage.add,
            user_id=user_id,
            day=day,
            model=model,
            prompt_tokens=bill.prompt_tokens,
            completion_tokens=bill.completion_tokens,
            cost=bill.cost,
        )


def title_of(question: str) -> str:
    """A conversation's title out of its first message: one line of at most 30 characters."""
    line = " ".join(question.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"


def complete_stopped(tx: Transaction, public_id: str, user_id: int, content: str, now: int) -> None:
    """Take over the page's text of a stopped reply where it goes on where ours ends; never a shorter one.

    Raises:
        NotFound: no such conversation of this user's.
    """
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or row["user_id"] != user_id:
        raise NotFound("对话不存在")
    if row["head_id"] is not None and content != PLACEHOLDER:
        tx.run(tx.q.messages.complete_stopped, message_id=row["head_id"], content=content, now=now)
