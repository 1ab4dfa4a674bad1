"""Replies that have ended and are not in the database yet: their text is shown from memory."""

import logging
import sys
from functools import partial
from typing import NamedTuple

from chathub.billing.settlement_queue import SettlementQueue
from chathub.chat import settle
from chathub.chat.turn import Kind, Settlement
from chathub.database.database import Database
from chathub.formats.reasoning.recorder import Recorder
from chathub.replies.reply import Reply
from chathub.replies.text import Read
from chathub.schemas.budgets import Budget

log = logging.getLogger("chathub.replies")


class _Unstored(NamedTuple):
    reply: Reply
    settlement: Settlement


class UnstoredReplies:
    """The unstored replies by their message, each with its settlement.

    The database still has them as ``streaming``, with the text that was saved while they were generated: that
    is all that a crash leaves.
    """

    def __init__(self, db: Database, queue: SettlementQueue) -> None:
        self._db = db
        self._queue = queue
        self._unstored: dict[int, _Unstored] = {}

    def keep(self, reply: Reply, settlement: Settlement, error: Exception) -> None:
        """Have a reply's settlement stored later. If there is no memory left for it, only the text that was
        saved remains."""
        if not self._queue.has_room(_size_of(settlement)):
            log.error("no memory is left for a reply that could not be stored: the rest of its text is lost")
            settlement = settlement.without_text()
            reply.tool_calls = {}
        message_id = reply.turn.message_id
        reply.turn, reply.recorder = reply.turn.without_texts(), Recorder()
        self._unstored[message_id] = _Unstored(reply, settlement)
        reply.text.move(self._reader(message_id), always=True)
        self._queue.keep(
            "reply",
            partial(settle.settle, turn=reply.turn, settlement=settlement),
            _size_of(settlement),
            error,
            partial(self._when_stored, reply, settlement),
            partial(self._when_given_up, reply, settlement),
            reply.turn.reservation_id,
        )

    def _when_stored(self, reply: Reply, settlement: Settlement, budget: Budget | None) -> None:
        """The database has it from here on. Those who still follow it learn how it really ended."""
        reply.budget = budget
        reply.end(settlement.final_status)
        del self._unstored[reply.turn.message_id]

    def _when_given_up(self, reply: Reply, settlement: Settlement, error: Exception) -> bool:
        """The settlement without its text may still be stored: the text that was saved is the reply's then.
        If that is given up too, the next start of the server settles the reply."""
        if not settlement.is_cut:
            reply.tool_calls = {}
            self.keep(reply, settlement.without_text(), error)
            return True
        del self._unstored[reply.turn.message_id]
        return False

    def _reader(self, message_id: int) -> Read:
        stored = reader(self._db, message_id)

        async def read(kind: Kind, start: int, length: int) -> str:
            unstored = self._unstored.get(message_id)
            if unstored is None:
                return await stored(kind, start, length)
            settlement = unstored.settlement
            if settlement.is_cut:
                return (await self._db.read(settle.saved_text, message_id))[kind][start : start + length]
            text = settlement.content if kind == "content" else settlement.reasoning
            return text[start : start + length]

        return read

    def find(self, message_id: int, user_id: int) -> Reply | None:
        """A user's reply by its message."""
        unstored = self._unstored.get(message_id)
        return unstored.reply if unstored and unstored.reply.user_id == user_id else None

    def settlements(self, public_id: str, user_id: int) -> dict[int, Settlement]:
        """The settlements of a user's conversation that are not stored yet, by message."""
        return {
            message_id: settlement
            for message_id, (reply, settlement) in self._unstored.items()
            if reply.turn.public_id == public_id and reply.user_id == user_id
        }


def reader(db: Database, message_id: int) -> Read:
    """Reads the text of a stored reply."""

    async def read(kind: Kind, start: int, length: int) -> str:
        row = await db.fetch_one(
            db.q.messages.get_text, message_id=message_id, kind=kind, start=start, length=length
        )
        return row.text if row else ""

    return read


def _size_of(settlement: Settlement) -> int:
    """The bytes of a settlement's text, with what Python's SQLite module adds to a string that it was given.
    Tool calls count twice: they are kept decoded as well."""
    texts = (
        settlement.content,
        settlement.reasoning,
        settlement.tool_calls,
        settlement.tool_calls,
        settlement.state,
        settlement.sources,
    )
    return sum(map(sys.getsizeof, texts))
