"""Replies that have ended and are not in the database yet: all of their text is shown from memory."""

import logging
import sys
from functools import partial

from chathub.billing.settlement_queue import SettlementQueue
from chathub.chat import settle
from chathub.chat.cursor import Kind
from chathub.chat.reply import Reply
from chathub.chat.reply_text import Read
from chathub.chat.turn import Settlement
from chathub.database.connection import Database
from chathub.schemas.budgets import Budget

log = logging.getLogger("chathub.replies")


class Unstored:
    """Such replies by their message, and the outcome that is kept of each.

    The database still has them as ``streaming``, and what was saved of their text: all that a crash leaves.
    """

    def __init__(self, db: Database, queue: SettlementQueue) -> None:
        self._db = db
        self._queue = queue
        self._replies: dict[int, Reply] = {}
        self._settlements: dict[int, Settlement] = {}

    def keep(self, reply: Reply, settlement: Settlement, error: Exception) -> None:
        """Have a reply's outcome stored later. If there is no memory left for it, what is saved of its text
        is what remains."""
        if not self._queue.has_room(_size_of(settlement)):
            log.error("no memory is left for a reply that could not be stored: the rest of its text is lost")
            settlement = settlement.without_text()
            reply.calls = {}
        message_id = reply.turn.message_id
        reply.turn, reply.provider_state = reply.turn.without_texts(), {}
        self._replies[message_id], self._settlements[message_id] = reply, settlement
        reply.text.move(self._reader(message_id), always=True)
        self._queue.keep(
            "reply",
            partial(settle.settle, turn=reply.turn, it=settlement),
            _size_of(settlement),
            error,
            partial(self._stored, reply, settlement),
            partial(self._lost, reply, settlement),
            reply.turn.reservation_id,
        )

    def _lost(self, reply: Reply, settlement: Settlement, error: Exception) -> bool:
        """It was given up. What is saved of its text may still be stored as its end; if not even that, the
        next start does it."""
        if not settlement.is_cut:
            reply.calls = {}
            self.keep(reply, settlement.without_text(), error)
            return True
        del self._replies[reply.turn.message_id], self._settlements[reply.turn.message_id]
        return False

    def _stored(self, reply: Reply, settlement: Settlement, budget: Budget | None) -> None:
        """The database has it from here on. Those who still follow it learn how it really ended."""
        reply.budget = budget
        reply.end(settlement.final_status)
        del self._replies[reply.turn.message_id], self._settlements[reply.turn.message_id]

    def _reader(self, message_id: int) -> Read:
        stored = reader(self._db, message_id)

        async def read(kind: Kind, start: int, length: int) -> str:
            settlement = self._settlements.get(message_id)
            if settlement is None:
                return await stored(kind, start, length)
            if settlement.is_cut:
                return (await self._db.read(settle.saved_text, message_id))[kind][start : start + length]
            text = settlement.content if kind == "content" else settlement.reasoning
            return text[start : start + length]

        return read

    def find(self, message_id: int, user_id: int) -> Reply | None:
        """A user's reply by its message."""
        reply = self._replies.get(message_id)
        return reply if reply and reply.user_id == user_id else None

    def settlements(self, public_id: str, user_id: int) -> dict[int, Settlement]:
        """By message, what is not stored yet of a user's conversation."""
        return {
            message_id: self._settlements[message_id]
            for message_id, reply in self._replies.items()
            if reply.turn.public_id == public_id and reply.user_id == user_id
        }


def reader(db: Database, message_id: int) -> Read:
    """Reads a stored reply's text."""

    async def read(kind: Kind, start: int, length: int) -> str:
        row = await db.fetch_one(
            db.q.messages.get_text, message_id=message_id, kind=kind, start=start, length=length
        )
        return row.text if row else ""

    return read


def _size_of(settlement: Settlement) -> int:
    """The bytes of an outcome's text, with what SQLite's module adds to one that it was given; calls of
    tools are kept as they came as well."""
    texts = (
        settlement.content,
        settlement.reasoning,
        settlement.tool_calls,
        settlement.tool_calls,
        settlement.state,
    )
    return sum(map(sys.getsizeof, texts))
