"""The background task that removes what is older than it is to be kept, in small steps.

What goes is decided by the moment that has certainly come (``Clock.certain``): a clock that jumps ahead
removes nothing. Nothing is removed in the first hour after a start, in which a wrong clock is set right. A
start with a clock that has run ahead for long takes its time for right: therefore a round goes at most a week
further than the one before, and there is time to notice.
"""

import asyncio
import logging

from chathub.chat import removal
from chathub.chat.remover import Remover
from chathub.clock import DAY, Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.retention import tables
from chathub.retention.row_file import RowFile
from chathub.retention.tables import Table

log = logging.getLogger("chathub.retention")

# seconds before the first round and between two rounds; between two steps of one
_ROUND, _PAUSE = 3600.0, 0.05
# milliseconds that a round goes further than the one before, at most
_LEAP = 7 * DAY
_SETTING = "retention_until"
# milliseconds: an earlier stamp is of a clock that had not been set yet, and says nothing
_FIRST = 1_577_836_800_000


class Retention:
    """Removes old conversations, and old rows of the audit and the ledger once they are in a file."""

    def __init__(self, db: Database, clock: Clock, config: Config, remover: Remover) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._remover = remover
        # why the rows of a table could not be exported in the last round
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        """Remove what is old without end, if anything is kept for a time only."""
        config = self._config
        while config.conversation_days or config.audit_days or config.ledger_days:
            await asyncio.sleep(_ROUND)
            await self.remove_old()

    async def remove_old(self) -> None:
        """One round."""
        until, zone = await self._db.write(_advance, self._clock.certain()), self._clock.zone
        if days := self._config.conversation_days:
            await self._remove_conversations(until - days * DAY)
        for table, days in (
            (tables.AUDIT, self._config.audit_days),
            (tables.LEDGER, self._config.ledger_days),
        ):
            if days:
                await self._remove_rows(table, tables.month_begin(until - days * DAY, zone))

    async def _remove_conversations(self, before: int) -> None:
        now, certain = self._clock.now(), self._clock.certain()
        while await self._db.write(removal.delete_unchanged, _FIRST, before, now, certain):
            self._remover.wake()
            await asyncio.sleep(_PAUSE)

    async def _remove_rows(self, table: Table, before: int) -> None:
        """Export the rows of a table from before a moment, and delete them. If they cannot be exported they
        stay."""
        try:
            # those that the last end of the server left
            await self._delete_exported(table)
            while (last := await self._export(table, before)) is not None:
                await self._db.write(tables.mark_exported, table, last)
                await self._delete_exported(table)
            self._problems.pop(table.name, None)
        except OSError as error:
            if self._problems.get(table.name) != str(error):
                self._problems[table.name] = str(error)
                log.error("old rows of the %s could not be exported, and stay: %s", table.name, error)

    async def _export(self, table: Table, before: int) -> int | None:
        """Write old rows to a file; gives the id of the last one (None: there is none)."""
        span = await self._db.read_background(None, tables.find_old, table, before, self._clock.certain())
        if span is None:
            return None
        file = await asyncio.to_thread(RowFile, self._config.exports_folder, table.name, span)
        try:
            after = span.first - 1
            while rows := await self._db.read_background(None, tables.list_rows, table, after, span.last):
                await asyncio.to_thread(file.write, rows)
                after = rows[-1].id
            await asyncio.to_thread(file.finish)
        finally:
            await asyncio.to_thread(file.close)
        return span.last

    async def _delete_exported(self, table: Table) -> None:
        more = True
        while more:
            more = await self._db.write(tables.delete_exported, table) > 0
            await asyncio.sleep(_PAUSE)


def _advance(tx: Transaction, certain: int) -> int:
    """The moment by which this round goes (milliseconds), which is remembered."""
    row = tx.one(tx.q.settings.get, name=_SETTING)
    until = min(certain, int(row.value) + _LEAP) if row else certain
    tx.run(tx.q.settings.put, name=_SETTING, value=str(until))
    return until
