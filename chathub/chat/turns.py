"""A turn in the database: begun in one transaction, settled in one."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from chathub.chat import pictures, pool
from chathub.chat.ledger import Bill
from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, Conflict, NotFound
from chathub.upstream.types import Image, Message
from chathub.wire.requests import ToolResult

_TITLE = 30
_KEY_LIFE = 86_400_000
# what the page shows in an empty bubble after its stop button: not a text of the model's
PLACEHOLDER = "对话已被用户停止"


class Place(Struct, frozen=True):
    """Where in the tree a turn goes: after the conversation's head (``new``), beside the question
    ``message_id`` (``edit``), or as another answer to it (``again``). ``fresh``: the id is the server's
    own invention, there is no such conversation yet."""

    kind: Literal["new", "edit", "again"]
    public_id: str
    message_id: int = 0
    fresh: bool = False


class Asked(Struct, frozen=True):
    """What is asked: a text with pictures, or what tools gave for the calls of the last answer."""

    text: str = ""
    images: tuple[Image, ...] = ()
    results: tuple[ToolResult, ...] = ()

    def messages(self) -> list[Message]:
        """As it goes upstream."""
        if self.results:
            return [
                Message("tool", result.content, tool_call_id=result.tool_call_id) for result in self.results
            ]
        return [Message("user", self.text, images=list(self.images))]


class Claim(Struct, frozen=True):
    """A request that may be repeated: its key and the digest of what it asks."""

    name: str
    digest: str


class Turn(Struct, frozen=True):
    """A begun turn: its messages are on disk. ``asked`` is what is new, ``history`` the branch before it,
    oldest first, ``images`` the pictures of both by message."""

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


class Repeated(Exception):
    """The request was seen before: ``message_id`` is the reply it got."""

    def __init__(self, message_id: int) -> None:
        super().__init__(message_id)
        self.message_id = message_id


def begin(
    tx: Transaction,
    place: Place,
    *,
    user_id: int,
    asked: Asked,
    options: dict[str, Any],
    claim: Claim | None,
    model: str,
    provider: str,
    history_characters: int,
    sees: bool,
    refusal: Ending | None,
    now: int,
) -> Turn:
    """Find or start the conversation and store the question with its answer to come.

    A ``refusal`` stores the answer as failed from the start. The history's pictures are read only for
    a model that ``sees``.

    Raises:
        NotFound: the conversation or message is not the user's.
        BadRequest: tool results that do not answer the calls of the last answer.
        Repeated: the claim was made before, with the same digest.
        Conflict: the claim was made before for something else.
    """
    if claim and (known := claimed(tx, user_id, claim, now)) is not None:
        raise Repeated(known)
    conversation = _conversation(tx, place, user_id, asked.text, model, now)
    conversation_id = conversation["id"]
    parent_id = conversation["head_id"]
    if place.kind != "new":
        parent_id = _question(tx, place.message_id, conversation_id)["parent_id"]
    if place.kind == "again":
        question_id, count = place.message_id, 1
    elif asked.results:
        question_id = _store_results(tx, conversation_id, parent_id, asked.results, now)
        count = 1 + len(asked.results)
    else:
        question_id = tx.add(
            tx.q.messages.insert_question,
            conversation_id=conversation_id,
            parent_id=parent_id,
            content=asked.text,
            options=json.dumps(options, ensure_ascii=False) if options else "",
            now=now,
        )
        pictures.keep(tx, question_id, user_id, asked.images, now)
        count = 2
    message_id = tx.add(
        tx.q.messages.insert_answer,
        conversation_id=conversation_id,
        parent_id=question_id,
        status=refusal.status if refusal else "streaming",
        reason=refusal.reason if refusal else "",
        error_status=refusal.code if refusal else 0,
        finish_reason=refusal.finish_reason if refusal else "",
        model=model,
        provider=provider,
        now=now,
    )
    tx.run(
        tx.q.conversations.add_turn,
        head_id=message_id,
        model=model,
        more=count,
        now=now,
        conversation_id=conversation_id,
    )
    if place.kind != "new":
        tx.run(tx.q.conversations.count_branch, conversation_id=conversation_id)
    if claim:
        tx.run(
            tx.q.idempotency.claim,
            user_id=user_id,
            name=claim.name,
            digest=claim.digest,
            message_id=message_id,
            now=now,
        )
    history = []
    if parent_id is not None and history_characters:
        history = tx.all(tx.q.messages.list_context, head_id=parent_id, characters=history_characters)
    return Turn(
        conversation_id,
        place.public_id,
        conversation["title"],
        question_id,
        message_id,
        asked.messages(),
        history,
        pictures.of_messages(tx, [row["id"] for row in history if row["has_images"]]) if sees else {},
        first=parent_id is None,
    )


def claimed(tx: Transaction, user_id: int, claim: Claim, now: int) -> int | None:
    """The reply that this request got before, if it was seen within a day.

    A turn that failed before any output may be asked again: then there is none.

    Raises:
        Conflict: the key was used for something else.
    """
    tx.run(tx.q.idempotency.sweep, before=now - _KEY_LIFE)
    row = tx.one(tx.q.idempotency.get, user_id=user_id, name=claim.name)
    if row is None:
        return None
    if row["digest"] != claim.digest:
        raise Conflict("同一幂等键已用于不同的请求")
    if row["failed_empty"]:
        tx.run(tx.q.idempotency.release, user_id=user_id, name=claim.name)
        return None
    message_id: int = row["message_id"]
    return message_id


def _conversation(tx: Transaction, place: Place, user_id: int, question: str, model: str, now: int) -> Row:
    if not place.fresh:
        row = tx.one(tx.q.conversations.get_by_public_id, public_id=place.public_id)
        if row is not None and row["user_id"] == user_id:
            return row
        if row is not None or place.kind != "new":
            raise NotFound("对话不存在")
    row = tx.one(
        tx.q.conversations.insert,
        public_id=place.public_id,
        user_id=user_id,
        title=title_of(question),
        model=model,
        now=now,
    )
    assert row is not None
    return row


def _store_results(
    tx: Transaction, conversation_id: int, head_id: int | None, results: Sequence[ToolResult], now: int
) -> int:
    """Store what tools gave, one message after the other; gives the last one's id."""
    head = tx.one(tx.q.messages.get_calls, message_id=head_id)
    calls = {call["id"] for call in json.loads((head["tool_calls"] if head else "") or "[]")}
    if not calls or [result.tool_call_id for result in results if result.tool_call_id not in calls]:
        raise BadRequest("tool_results 与上一条回复的工具调用不符")
    if calls - {result.tool_call_id for result in results}:
        raise BadRequest("tool_results 必须回答上一条回复的所有工具调用")
    for result in results:
        head_id = tx.add(
            tx.q.messages.insert_result,
            conversation_id=conversation_id,
            parent_id=head_id,
            content=result.content,
            tool_call_id=result.tool_call_id,
            now=now,
        )
    assert head_id is not None
    return head_id


def _question(tx: Transaction, message_id: int, conversation_id: int) -> Row:
    row = tx.one(tx.q.messages.get_place, message_id=message_id)
    if row is None or row["conversation_id"] != conversation_id:
        raise NotFound("消息不存在")
    return row


def settle(
    tx: Transaction,
    turn: Turn,
    *,
    user_id: int,
    token_id: int | None,
    model: str,
    provider: str,
    key_id: int | None,
    content: str,
    reasoning: str,
    tool_calls: str,
    state: str,
    was_saved: bool,
    ending: Ending,
    bill: Bill,
    day: str,
    now: int,
) -> None:
    """Store how the reply ended and what it used; ``key_id`` is the key that answered well,
    ``was_saved`` says whether parts of it are on disk. What was used counts even if the reply was
    deleted meanwhile."""
    tx.run(
        tx.q.messages.settle,
        message_id=turn.message_id,
        model=model,
        provider=provider,
        content=content,
        reasoning=reasoning,
        tool_calls=tool_calls,
        state=state,
        status=ending.status,
        reason=ending.reason,
        finish_reason=ending.finish_reason,
        error_status=ending.code,
        prompt_tokens=bill.prompt_tokens,
        completion_tokens=bill.completion_tokens,
        reasoning_tokens=bill.reasoning_tokens,
        cached_tokens=bill.cached_tokens,
        usage_source=bill.source,
        cost=bill.cost,
        now=now,
    )
    if was_saved:
        tx.run(tx.q.parts.delete, message_id=turn.message_id)
    tx.run(tx.q.conversations.touch, conversation_id=turn.conversation_id, now=now)
    book(tx, user_id, model, bill, day, token_id)
    if key_id is not None:
        pool.note_success(tx, key_id, now)


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
