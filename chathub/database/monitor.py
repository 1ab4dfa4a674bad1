"""The monitor of the open database keeps its condition up to date.

It looks whether the file is still in its place and whether an obstacle to writing has gone. After an unclean
shutdown or a sign of damage it has the file checked.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from chathub.database.database import Database
from chathub.database.errors import DatabaseError, DatabaseUnavailable
from chathub.disk import identity

log = logging.getLogger("chathub.database")

# seconds between two rounds
_ROUND = 1.0
# seconds that a check may take: SQLite cannot reset its write-ahead log while the check reads
_LONGEST = 900.0
# the pause before a damaged database is checked again: at least so many seconds, and so many times as long
# as the check took
_PAUSE, _PAUSE_FACTOR = 60.0, 20
# nice: a larger number has less priority
_PRIORITY = 10

# device and inode of a file; None: the file does not exist
_Identity = tuple[int, int] | None


class Monitor:
    """Updates the condition of an open database; ``watch`` and ``check`` run without end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._condition = db.condition
        self._files = _files(db.path)

    async def watch(self) -> None:
        """Refresh the condition once a second."""
        while True:
            await asyncio.sleep(_ROUND)
            await self.refresh()

    async def refresh(self) -> None:
        """Check whether the files are in their place, and whether writing works again."""
        # a folder that cannot be read for a moment says nothing about its files
        with contextlib.suppress(OSError):
            database, journal = await asyncio.to_thread(_files, self._db.path)
            before, journal_before = self._files
            is_there = database is not None and database == before
            self._condition.record_place(is_there and journal_before in (None, journal))
        if self._condition.obstacle is not None:
            await self._db.probe()

    async def check(self) -> None:
        """Check the database while it is suspect, with a pause between two checks. The first check begins
        after the server has had time to open its port."""
        while True:
            await asyncio.sleep(_ROUND)
            if self._condition.is_suspect and not self._condition.missing:
                began = time.monotonic()
                await self.check_once()
                if self._condition.is_suspect:
                    await asyncio.sleep(max(_PAUSE, _PAUSE_FACTOR * (time.monotonic() - began)))

    async def check_once(self, longest: float = _LONGEST) -> None:
        """Have SQLite check the whole file, on a separate connection and with low priority."""
        try:
            async with asyncio.timeout(longest), self._db.reader() as reader:
                found = await reader.work(None, _quick_check)
        except TimeoutError:
            log.warning("the check of the database %s took too long and was broken off", self._db.path)
        except DatabaseError as error:
            if not isinstance(error, DatabaseUnavailable):
                log.exception("the database %s could not be checked", self._db.path)
            self._condition.record_failure(error, writing=False)
        else:
            if found == "ok":
                self._condition.record_sound()
            else:
                self._condition.record_damage(found)


def _quick_check(connection: sqlite3.Connection) -> str:
    """``ok``, or the first error that SQLite finds."""
    with contextlib.suppress(OSError, AttributeError):
        # for this thread only: the connection has a thread of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return found


def _files(database: Path) -> tuple[_Identity, _Identity]:
    """The identities of the database file and its log: without either, stored data is lost."""
    real = database.resolve()
    return identity(real), identity(real.with_name(real.name + "-wal"))
