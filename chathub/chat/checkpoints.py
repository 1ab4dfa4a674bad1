"""What is on disk of a reply in the making, and what becomes of it after a crash."""

from collections.abc import Iterable

from msgspec import Struct

from chathub.catalog import ChatModel
from chathub.chat import turns
from chathub.chat.context import estimate
from chathub.chat.ledger import Bill, reckon
from chathub.chat.reply import Reply
from chathub.database.connection import Row, Transaction

INTERRUPTED = turns.Ending("interrupted", "服务器意外退出，回复中断", 503, "interrupted")


class Fresh(Struct, frozen=True):
    """What is new of one reply: its runs with their numbers, and the estimate of its prompt."""

    message_id: int
    prompt_estimate: int
    runs: list[tuple[int, str, str]]


def collect(replies: Iterable[Reply]) -> list[Fresh]:
    """The text of live replies that is not on disk yet.

    Must be written before anything else is awaited: the writer takes things in order, and a reply that
    is settled later removes its parts again.
    """
    return [
        Fresh(reply.turn.message_id, reply.prompt_estimate, runs)
        for reply in replies
        if not reply.settling and (runs := reply.unsaved())
    ]


def save(tx: Transaction, fresh: list[Fresh]) -> None:
    """Write collected text; with a reply's first, the estimate of its prompt."""
    firsts = [reply for reply in fresh if reply.runs[0][0] == 0]
    tx.many(
        tx.q.messages.estimate_prompt,
        [{"message_id": reply.message_id, "prompt_tokens": reply.prompt_estimate} for reply in firsts],
    )
    tx.many(
        tx.q.parts.insert,
        [
            {"message_id": reply.message_id, "sequence": number, "kind": kind, "text": text}
            for reply in fresh
            for number, kind, text in reply.runs
        ],
    )


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
        outcome = turns.Outcome(
            user_id=row["user_id"],
            model=row["model"],
            provider=row["provider"],
            content=texts["content"],
            reasoning=texts["reasoning"],
            was_saved=True,
            ending=INTERRUPTED,
            bill=_bill(row, **texts),
        )
        turn = turns.Turn(row["conversation_id"], "", "", 0, row["id"])
        # a restart is no news of the conversation
        turns.settle(tx, turn, outcome, day, row["updated_at"])
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
    return reckon(model, None, row["prompt_tokens"], estimate(content), estimate(reasoning))
