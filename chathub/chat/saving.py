"""What is on disk of a reply in the making, and what becomes of it after a crash."""

import logging
from collections.abc import Iterable

from msgspec import Struct

from chathub.billing.budgets import BudgetOwner
from chathub.billing.ledger import compute_cost
from chathub.chat import settle
from chathub.chat.reply import Reply
from chathub.chat.turn import FinalStatus, Settlement, Turn
from chathub.clock import Month
from chathub.database.connection import Database, Row, Transaction
from chathub.database.errors import DatabaseUnavailable
from chathub.formats.estimates import estimate
from chathub.providers.catalog import ChatModel

log = logging.getLogger("chathub.replies")

INTERRUPTED = FinalStatus("interrupted", "服务器意外退出，回复中断", 503, "interrupted")


class Fresh(Struct, frozen=True):
    """What is new of one reply: its runs with their numbers, which model answers, and the estimate of its
    prompt."""

    message_id: int
    model: ChatModel
    prompt_estimate: int
    runs: list[tuple[int, str, str]]


class ReplySaver:
    """Writes down what is new of replies in the making."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # whether the last round went well
        self._works = True

    async def save(self, live: Iterable[Reply]) -> None:
        """One round, as one transaction; what fails is in the next one."""
        replies = list(live)
        fresh = collect(replies)
        if not fresh:
            return
        try:
            await self._db.try_write(save, fresh)
            self._works = True
        except Exception as error:
            if self._works:
                # one line for the trouble, not one for each second of it
                unknown = None if isinstance(error, DatabaseUnavailable) else error
                log.error("replies in the making could not be saved: %s", error, exc_info=unknown)
            self._works = False
            for reply in replies:
                # one that is being settled was not among them, or needs no part any more
                if not reply.settling:
                    reply.save_again()


def collect(replies: Iterable[Reply]) -> list[Fresh]:
    """The text of live replies that is not on disk yet.

    Must be written before anything else is awaited: the writer takes things in order, and a reply that
    is settled later removes its parts again.
    """
    return [
        Fresh(reply.turn.message_id, reply.answering, reply.prompt_estimate, runs)
        for reply in replies
        if reply.answering and not reply.settling and (runs := reply.unsaved())
    ]


def save(tx: Transaction, fresh: list[Fresh]) -> None:
    """Write collected text; with a reply's first, whose it is: a model that has begun answers to the end."""
    tx.many(
        tx.q.messages.note_answering,
        [
            {
                "message_id": reply.message_id,
                "model": reply.model.name,
                "provider": reply.model.provider_slug,
                "prompt_tokens": reply.prompt_estimate,
            }
            for reply in fresh
            if reply.runs[0][0] == 0
        ],
    )
    tx.many(
        tx.q.parts.insert,
        [
            {"message_id": reply.message_id, "sequence": number, "kind": kind, "text": text}
            for reply in fresh
            for number, kind, text in reply.runs
        ],
    )


def recover(tx: Transaction, month: Month) -> int:
    """At start: what was being written when the process ended becomes ``interrupted``, with its text and
    an estimate of what it used; nothing holds a budget any more. Gives the number of replies."""
    rows = tx.all(tx.q.messages.list_streaming)
    for row in rows:
        texts = settle.saved_text(tx, row["id"])
        model = _model(row)
        came = estimate(texts["content"]), estimate(texts["reasoning"])
        settlement = Settlement(
            owner=BudgetOwner(row["user_id"], row["token_id"], month),
            model=model,
            content=texts["content"],
            reasoning=texts["reasoning"],
            was_saved=True,
            final_status=INTERRUPTED,
            usage_cost=compute_cost(model, None, row["prompt_tokens"], *came),
        )
        turn = Turn(row["conversation_id"], row["public_id"], "", 0, row["id"])
        settle.recover(tx, turn, settlement, row["updated_at"])
    tx.run(tx.q.budgets.release_all)
    return len(rows)


def _model(row: Row) -> ChatModel:
    """The model of a reply, with its price of today: a crash leaves no other."""
    return ChatModel(
        name=row["model"],
        provider_id=0,
        provider_slug=row["provider"],
        provider_name="",
        base_url="",
        needs_key=False,
        input_price=row["input_price"] or 0,
        output_price=row["output_price"] or 0,
    )
