"""The settlement of a turn in the database: how its reply ended, and its usage."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from chathub.billing import budgets, ledger, output_rates, token_weights
from chathub.billing.ledger import AttemptOwner
from chathub.chat.final_status import status_columns
from chathub.chat.turn import Kind, Settlement, Turn
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


def settle(tx: Transaction, turn: Turn, settlement: Settlement) -> Budget | None:
    """Store how the reply ended and its usage, which counts even if the reply was deleted meanwhile.
    Returns a warning if little of the budget is left to its user."""
    now = settlement.owner.month.now
    owner = replace(settlement.owner, month=ledger.in_force(tx, settlement.owner.month))
    if settlement.is_cut:
        saved = saved_text(tx, turn.message_id)
        settlement = replace(settlement, content=saved["content"], reasoning=saved["reasoning"])
    _store(tx, turn, settlement, now)
    tx.run(tx.q.conversations.touch, conversation_id=turn.conversation_id, now=now)
    ledger.record_attempts(
        tx,
        _attempt_owner(turn, settlement),
        settlement.attempts,
        settlement.models,
        settlement.usage_cost,
        prompt_estimate=settlement.prompt_estimate,
        first_at=settlement.first_at,
        end_reason=settlement.end_reason,
        month=owner.month,
    )
    budgets.release(tx, turn.reservation_id)
    output_rates.store(tx, [settlement.rate], now)
    token_weights.store(tx, settlement.lesson, now)
    if settlement.key_id is not None:
        key_pool.record_success(tx, settlement.key_id, settlement.attempts[-1].model, now)
    return budgets.warning(tx, owner)


def recover(tx: Transaction, turn: Turn, settlement: Settlement, updated_at: int, key_id: int | None) -> None:
    """Store what a crash left of a reply, which began with an API key. The conversation's ``updated_at``
    stays: a restart is not activity in the conversation."""
    _store(tx, turn, settlement, updated_at)
    ledger.record_attempt(
        tx,
        _attempt_owner(turn, settlement),
        settlement.model,
        settlement.usage_cost,
        settlement.owner.month,
        key_id=key_id,
        end_reason=settlement.end_reason,
    )


def _attempt_owner(turn: Turn, settlement: Settlement) -> AttemptOwner:
    return AttemptOwner(
        kind="chat",
        user_id=settlement.owner.user_id,
        token_id=settlement.owner.token_id,
        conversation_id=turn.public_id,
        message_id=turn.message_id,
        requested_model=settlement.requested_model,
    )


def _store(tx: Transaction, turn: Turn, settlement: Settlement, now: int) -> None:
    tx.run(
        tx.q.messages.settle,
        message_id=turn.message_id,
        model=settlement.model.name,
        provider=settlement.model.provider_slug,
        content=settlement.content,
        reasoning=settlement.reasoning,
        tool_calls=settlement.tool_calls,
        state=settlement.state,
        sources=settlement.sources,
        prompt_tokens=settlement.usage_cost.prompt_tokens,
        completion_tokens=settlement.usage_cost.completion_tokens,
        reasoning_tokens=settlement.usage_cost.reasoning_tokens,
        cached_tokens=settlement.usage_cost.cached_tokens,
        cache_write_tokens=settlement.usage_cost.cache_write_tokens,
        usage_source=settlement.usage_cost.usage_source,
        cost=settlement.usage_cost.cost,
        now=now,
        **status_columns(settlement.final_status),
    )
    if settlement.was_saved:
        tx.run(tx.q.parts.delete, message_id=turn.message_id)


def complete_stopped(tx: Transaction, public_id: str, user_id: int, content: str, now: int) -> None:
    """Store the page's text of a stopped reply if it begins with our text and is longer.

    Raises:
        NotFound: no such conversation of this user's.
        StorageFull: the user stores as much as it may; the stored text stays.
    """
    row = tx.one(tx.q.conversations.get_by_public_id, public_id=public_id)
    if row is None or row.user_id != user_id:
        raise NotFound("conversation_not_found")
    if row.head_id is None or content == PLACEHOLDER:
        return
    if tx.run(tx.q.messages.complete_stopped, message_id=row.head_id, content=content, now=now):
        budgets.check_storage(budgets.get_limits(tx, user_id))
