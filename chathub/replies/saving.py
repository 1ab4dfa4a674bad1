"""Saving of running replies, and their recovery after a crash."""

import logging
from collections.abc import Iterable, Sequence

from msgspec import Struct

from chathub.billing import interrupted, output_rates
from chathub.billing.budgets import BudgetOwner
from chathub.billing.early_ends import Seen
from chathub.billing.interrupted import Crash
from chathub.billing.ledger import compute_cost
from chathub.chat import settle
from chathub.chat.final_status import FinalStatus
from chathub.chat.turn import Settlement, Turn
from chathub.clock import Month
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.database.rows.budgets import LeftReservation
from chathub.database.rows.messages import InterruptedReply
from chathub.database.transaction import Transaction
from chathub.formats.estimates import estimate
from chathub.providers.catalog import Catalog
from chathub.providers.chat_model import ChatModel
from chathub.replies.reply import Reply
from chathub.sentences import Reason

log = logging.getLogger("chathub.replies")

INTERRUPTED = FinalStatus("interrupted", Reason("reply_interrupted"), 503, interrupted.END_REASON)


class NewText(Struct, frozen=True):
    """The text of one reply that is not saved yet: its runs with their numbers, the model that replies, and
    the estimate of its prompt in tokens."""

    message_id: int
    model: ChatModel
    prompt_estimate: int
    runs: list[tuple[int, str, str]]


class ReplySaver:
    """Saves the new text of running replies."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # whether the last round failed
        self._is_failing = False

    async def save(self, replies: Sequence[Reply]) -> None:
        """One round, in one transaction. What fails is saved in the next round."""
        new_texts = collect(replies)
        if not new_texts:
            return
        collected = [(reply, reply.text.saves) for reply in replies if not reply.is_storing]
        try:
            await self._db.try_write(save, new_texts)
            self._is_failing = False
        except Exception as error:
            if not self._is_failing:
                # one line for all rounds that fail, not one line a second
                unknown = None if isinstance(error, DatabaseUnavailable) else error
                log.error("replies in the making could not be saved: %s", error, exc_info=unknown)
            self._is_failing = True
            for reply, saves in collected:
                # a reply that is settled meanwhile was not among them, or needs no part any more
                if reply.state.is_generating:
                    reply.text.save_again(saves)


def collect(replies: Iterable[Reply], *, empty: bool = False) -> list[NewText]:
    """The text of running replies that is not on disk yet; ``empty``: also of a reply without any. A reply
    that stores an attachment saves its text with that.

    The caller must write it before it awaits anything else: the database's writer works in order, and a
    reply that is settled later deletes its parts again.
    """
    return [
        NewText(reply.turn.message_id, reply.model, reply.prompt_estimate, runs)
        for reply in replies
        if reply.model and reply.state.is_generating and not reply.is_storing
        if (runs := reply.text.unsaved()) or empty
    ]


def save(tx: Transaction, new_texts: list[NewText], *, begins: bool = False) -> None:
    """Write collected text. The first text of a reply also stores its model: a model that has begun to reply
    is not changed any more. ``begins``: something else of the reply is stored with it."""
    tx.many(
        tx.q.messages.set_model,
        [
            {
                "message_id": new.message_id,
                "model": new.model.name,
                "provider": new.model.provider_slug,
                "prompt_tokens": new.prompt_estimate,
            }
            for new in new_texts
            if begins or new.runs[0][0] == 0
        ],
    )
    tx.many(
        tx.q.parts.insert,
        [
            {"message_id": new.message_id, "sequence": number, "kind": kind, "text": text}
            for new in new_texts
            for number, kind, text in new.runs
        ],
    )


def recover(tx: Transaction, catalog: Catalog, month: Month, alive_until: int) -> int:
    """At start: replies that were running when the process ended become ``interrupted``, with their saved
    text and an estimate of their usage; other requests are entered in the ledger, and all reservations
    released. ``alive_until`` is when the process was seen last (milliseconds). Returns the number of replies.
    """
    rows = tx.all(tx.q.messages.list_streaming)
    left = {each.message_id or -each.id: each for each in tx.all(tx.q.budgets.list_left)}
    crash = Crash(alive_until, output_rates.load(tx), catalog)
    for row in rows:
        _recover_reply(tx, row, left.pop(row.id, None), crash, month)
    for each in left.values():
        interrupted.record(tx, each, crash, month)
    tx.run(tx.q.budgets.release_all)
    return len(rows)


def _recover_reply(
    tx: Transaction, row: InterruptedReply, left: LeftReservation | None, crash: Crash, month: Month
) -> None:
    texts, model = settle.saved_text(tx, row.id), crash.catalog.get_charged(row.provider, row.model)
    estimates = estimate(texts["content"]), estimate(texts["reasoning"])
    if left is None or left.kind is None:
        usage_cost = compute_cost(model, None, row.prompt_tokens, *estimates)
    else:
        usage_cost = crash.cost_of(model, left, Seen(row.prompt_tokens or left.prompt_tokens, *estimates))
    settlement = Settlement(
        owner=BudgetOwner(row.user_id, row.token_id, month),
        requested_model=row.requested_model,
        model=model,
        content=texts["content"],
        reasoning=texts["reasoning"],
        was_saved=True,
        final_status=INTERRUPTED,
        end_reason=interrupted.END_REASON,
        usage_cost=usage_cost,
    )
    turn = Turn(row.conversation_id, row.public_id, "", 0, row.id)
    settle.recover(tx, turn, settlement, row.updated_at, left.key_id if left else None)
