"""What is on disk of a reply in the making, and what becomes of it after a crash."""

from collections.abc import Iterable
from typing import Any

from chathub.catalog import ChatModel
from chathub.chat import turns
from chathub.chat.ledger import Bill, reckon
from chathub.chat.reply import Reply
from chathub.database.connection import Row, Transaction

INTERRUPTED = turns.Ending("interrupted", "服务器意外退出，回复中断", 503, "interrupted")


def collect(replies: Iterable[Reply]) -> list[dict[str, Any]]:
    """The text of live replies that is not on disk yet, one row for each run of a kind.

    Must be written before anything else is awaited: the writer takes things in order, and a reply that
    is settled later removes its rows again.
    """
    return [
        {"message_id": reply.turn.message_id, "sequence": number, "kind": kind, "text": text}
        for reply in replies
        if not reply.settling
        for number, kind, text in reply.unsaved()
    ]


def save(tx: Transaction, rows: list[dict[str, Any]], estimates: list[dict[str, Any]]) -> None:
    """Write collected text; with a reply's first, the estimate of its prompt."""
    tx.many(tx.q.messages.estimate_prompt, estimates)
    tx.many(tx.q.parts.insert, rows)


def recover(tx: Transaction, day: str) -> int:
    """At start: what was being written when the process ended becomes ``interrupted``, with its text and
    an estimate of what it used. Gives the number of replies."""
    rows = tx.all(tx.q.messages.list_streaming)
    for row in rows:
        parts = tx.all(tx.q.parts.list_for_message, message_id=row["id"])
        texts = {
            kind: "".join(part["text"] for part in parts if part["kind"] == kind)
            for kind in ("content", "reasoning")
        }
        turns.settle(
            tx,
            turns.Turn(row["conversation_id"], "", "", 0, row["id"]),
            user_id=row["user_id"],
            model=row["model"],
            **texts,
            ending=INTERRUPTED,
            bill=_bill(row, **texts),
            day=day,
            # a restart is no news of the conversation
            now=row["updated_at"],
        )
    return len(rows)


def _bill(row: Row, content: str, reasoning: str) -> Bill:
    model = ChatModel(
        name=row["model"],
        provider_id=0,
        provider_key=row["provider"],
        provider_name="",
        base_url="",
        needs_key=False,
        input_price=row["input_price"] or 0,
        output_price=row["output_price"] or 0,
    )
    return reckon(model, None, row["prompt_tokens"], content, reasoning)
