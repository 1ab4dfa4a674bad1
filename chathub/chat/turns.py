"""A turn in the database: what it is once begun, how it is settled, what it used."""

from msgspec import Struct

from chathub.chat import pool
from chathub.chat.ledger import Bill
from chathub.database.connection import Row, Transaction
from chathub.errors import NotFound
from chathub.upstream.types import Image, Message

_TITLE = 30
# what the page shows in an empty bubble after its stop button: not a text of the model's
PLACEHOLDER = "对话已被用户停止"


class Turn(Struct, frozen=True):
    """A begun turn: its messages are on disk. ``asked`` is what is new, ``history`` the branch before it,
    oldest first, ``images`` the pictures of it by message."""

    conversation_id: int
    public_id: str
    title: str
    user_message_id: int
    message_id: int
    asked: list[Message] = []
    history: list[Row] = []
    images: dict[int, list[Image]] = {}
    first: bool = False


class Ending(Struct, frozen=True):
    """How a reply ended. ``status`` is the message's, ``code`` the HTTP status of an error (else 0)."""

    status: str
    reason: str = ""
    code: int = 0
    finish_reason: str = ""
    retry_after: float | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """All that is known of a reply at its end.

    ``key_id`` is the key that answered well, ``was_saved`` says whether parts of the text are on disk,
    ``tool_calls`` and ``state`` are JSON.
    """

    user_id: int
    token_id: int | None = None
    model: str
    provider: str
    key_id: int | None = None
    content: str
    reasoning: str
    tool_calls: str = ""
    state: str = ""
    was_saved: bool
    ending: Ending
    bill: Bill


def settle(tx: Transaction, turn: Turn, it: Outcome, day: str, now: int) -> None:
    """Store how the reply ended and what it used. That counts even if the reply was deleted meanwhile."""
    tx.run(
        tx.q.messages.settle,
        message_id=turn.message_id,
        model=it.model,
        provider=it.provider,
        content=it.content,
        reasoning=it.reasoning,
        tool_calls=it.tool_calls,
        state=it.state,
        status=it.ending.status,
        reason=it.ending.reason,
        finish_reason=it.ending.finish_reason,
        error_status=it.ending.code,
        prompt_tokens=it.bill.prompt_tokens,
        completion_tokens=it.bill.completion_tokens,
        reasoning_tokens=it.bill.reasoning_tokens,
        cached_tokens=it.bill.cached_tokens,
        usage_source=it.bill.source,
        cost=it.bill.cost,
        now=now,
    )
    if it.was_saved:
        tx.run(tx.q.parts.delete, message_id=turn.message_id)
    tx.run(tx.q.conversations.touch, conversation_id=turn.conversation_id, now=now)
    book(tx, it.user_id, it.model, it.bill, day, it.token_id)
    if it.key_id is not None:
        pool.note_success(tx, it.key_id, now)


def book(
    tx: Transaction, user_id: int, model: str, bill: Bill, day: str, token_id: int | None = None
) -> None:
    """Count what was used on its day, and for the token it was asked with; nothing used, nothing counted."""
    if bill.source:
        if token_id is not None:
            used = bill.prompt_tokens + bill.completion_tokens
            tx.run(tx.q.personal_tokens.count_use, token_id=token_id, month=day[:7], tokens=used)
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
    line = " ".join(question.split()) or "图片"
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
