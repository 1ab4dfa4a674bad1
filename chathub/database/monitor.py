"""Looks after the open database: whether its file is still there, whether what kept from writing has gone,
and, after an unclean end or a sign of damage, whether it is whole."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from chathub.database.connection import Database
from chathub.database.errors import DatabaseError, DatabaseUnavailable
from chathub.disk import identity

log = logging.getLogger("chathub.database")

# seconds between two looks
_ROUND = 1.0
# seconds that a check may take: SQLite's log cannot begin anew while it reads
_LONGEST = 900.0
# seconds until a damaged database is checked again, and how often longer the pause is than the check
_PAUSE, _SHARE = 60.0, 20
# the less urgent, the larger (nice)
_PRIORITY = 10

# device and inode of a file; None: there is none
_Identity = tuple[int, int] | None


class Monitor:
    """Keeps an open database's condition up to date; both rounds run without end."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._condition = db.condition
        self._files = _files(db.path)

    async def watch(self) -> None:
        """Look once a second."""
        while True:
            await asyncio.sleep(_ROUND)
            await self.look()

    async def look(self) -> None:
        """See whether the files are in their place, and try whether it can be written again."""
        # a folder that cannot be looked into for a moment tells nothing
        with contextlib.suppress(OSError):
            database, journal = await asyncio.to_thread(_files, self._db.path)
            before, journal_before = self._files
            is_there = database is not None and database == before
            self._condition.found_in_place(is_there and journal_before in (None, journal))
        if self._condition.obstacle is not None:
            await self._db.probe()

    async def check(self) -> None:
        """Have the database checked when there is a reason to, a while after the last time; the first
        time when the server has had time to open its port."""
        while True:
            await asyncio.sleep(_ROUND)
            if self._condition.is_suspect and not self._condition.missing:
                began = time.monotonic()
                await self.check_once()
                if self._condition.is_suspect:
                    await asyncio.sleep(max(_PAUSE, _SHARE * (time.monotonic() - began)))

    async def check_once(self, longest: float = _LONGEST) -> None:
        """Have SQLite look at all of it, on a connection of its own and with little urgency."""
        try:
            async with asyncio.timeout(longest), self._db.reader() as reader:
                found = await reader.work(None, _quick_check)
        except TimeoutError:
            log.warning("the check of the database %s took too long and was broken off", self._db.path)
        except DatabaseError as error:
            if not isinstance(error, DatabaseUnavailable):
                log.exception("the database %s could not be checked", self._db.path)
            self._condition.failed(error, writing=False)
        else:
            if found == "ok":
                self._condition.found_sound()
            else:
                self._condition.found_damaged(found)


def _quick_check(connection: sqlite3.Connection) -> str:
    """``ok``, or the first thing that is wrong."""
    with contextlib.suppress(OSError, AttributeError):
        # of this thread only, which is the connection's own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)
    found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return found


def _files(database: Path) -> tuple[_Identity, _Identity]:
    """The database and its log: without either what is stored is lost."""
    real = database.resolve()
    return identity(real), identity(real.with_name(real.name + "-wal"))
