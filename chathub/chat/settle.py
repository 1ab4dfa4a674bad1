"""The settlement of a turn in the database: how its reply ended, and its usage."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from chathub.billing import budgets, ledger
from chathub.billing.ledger import AttemptOwner
from chathub.chat.cursor import Kind
from chathub.chat.turn import Settlement, Turn, status_columns
from chathub.database.rows.messages import ContextMessage, PastReply
from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.providers import key_pool
from chathub.schemas.budgets import Budget

# what the page shows in an empty bubble after its stop button; no text of the model
PLACEHOLDER = "对话已被用户停止"

M = TypeVar("M", PastReply, ContextMessage)


def saved_text(tx: Transaction, message_id: int) -> dict[Kind, str]:
    """The text that was saved of a reply whose end is not stored."""
    parts = tx.all(tx.q.parts.list_for_message, message_id=message_id)
    kinds: tuple[Kind, Kind] = ("content", "reasoning")
    return {kind: "".join(part.text for part in parts if part.kind == kind) for kind in kinds}


def as_it_ended(tx: Transaction, row: M, unstored: Mapping[int, Settlement]) -> M:
    """A message of the history; for a reply whose end is not stored yet, with its end from memory."""
    settlement = unstored.get(row.id) if row.status == "streaming" else None
    if settlement is None:
        return row
    content = saved_text(tx, row.id)["content"] if settlement.is_cut else settlement.content
    return replace(
        row,
        content=content,
        tool_calls=settlement.tool_calls,
        state=settlement.state,
        status=settlement.final_status.status,
    )


def settle(tx: Transaction, turn: Turn, it: Settlement) -> Budget | None:
    """Store how the reply ended and its usage, which counts even if the reply was deleted meanwhile.
    Returns a warning if little of the budget is left to its user."""
    now = it.owner.month.now
    if it.is_cut:
        saved = saved_text(tx, turn.message_id)
        it = replace(it, content=saved["content"], reasoning=saved["reasoning"])
    _store(tx, turn, it, now)
    tx.run(tx.q.conversations.touch, conversation_id=turn.conversation_id, now=now)
    ledger.record_attempts(
        tx,
        _attempt_owner(turn, it),
        it.attempts,
        it.models,
        it.usage_cost,
        first_at=it.first_at,
        end_reason=it.final_status.finish_reason,
        month=it.owner.month,
    )
    budgets.release(tx, turn.reservation_id)
    if it.key_id is not None:
        key_pool.record_success(tx, it.key_id, now)
    return budgets.warning(tx, it.owner)


def recover(tx: Transaction, turn: Turn, it: Settlement, updated_at: int) -> None:
    """Store what a crash left of a reply. The conversation's ``updated_at`` stays: a restart is not activity
    in it."""
    _store(tx, turn, it, updated_at)
    reason = it.final_status.finish_reason
    ledger.record_attempt(
        tx, _attempt_owner(turn, it), it.model, it.usage_cost, it.owner.month, end_reason=reason
    )


def _attempt_owner(turn: Turn, it: Settlement) -> AttemptOwner:
    return AttemptOwner(
        kind="chat",
        user_id=it.owner.user_id,
        token_id=it.owner.token_id,
        conversation_id=turn.public_id,
        message_id=turn.message_id,
    )


def _store(tx: Transaction, turn: Turn, it: Settlement, now: int) -> None:
    tx.run(
        tx.q.messages.settle,
        message_id=turn.message_id,
        model=it.model.name,
        provider=it.model.provider_slug,
        content=it.content,
        reasoning=it.reasoning,
        tool_calls=it.tool_calls,
        state=it.state,
        prompt_tokens=it.usage_cost.prompt_tokens,
        completion_tokens=it.usage_cost.completion_tokens,
        reasoning_tokens=it.usage_cost.reasoning_tokens,
        cached_tokens=it.usage_cost.cached_tokens,
        usage_source=it.usage_cost.usage_source,
        cost=it.usage_cost.cost,
        now=now,
        **status_columns(it.final_status),
    )
    if it.was_saved:
        tx.run(tx.q.parts.delete, message_id=turn.message_id)


def complete_stopped(tx: Transaction, public_id: str, user_id: int, content: str, now: int) -> None:
    """Store the page's text of a stopped reply if it begins with our text and is longer.

    Raises:
        NotFound: no such conversation of this user's.
    """
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or row.user_id != user_id:
        raise NotFound("对话不存在")
    if row.head_id is not None and content != PLACEHOLDER:
        tx.run(tx.q.messages.complete_stopped, message_id=row.head_id, content=content, now=now)
