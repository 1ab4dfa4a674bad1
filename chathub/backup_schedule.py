"""Scheduled backups: one every so many hours; old ones are thinned out, and the last result is stored."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from chathub.clock import Clock
from chathub.config import Config
from chathub.database import backup_files
from chathub.database.copying import LONGEST
from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.transaction import Transaction
from chathub.disk import make_folder
from chathub.errors import ChatHubError, StartError
from chathub.security.audit import SERVER, record
from chathub.sentences import sentence

if TYPE_CHECKING:
    from chathub.mail import Mailer

T = TypeVar("T")

log = logging.getLogger("chathub.backups")

# the setting with the result of the last backup
LAST = "last_backup"
_SERIES = "backup_series"
# seconds until a failed backup is tried again, and before the first backup after a start
_RETRY_AFTER = 3600.0
_FIRST = 10.0


class LastBackup(Struct, frozen=True):
    """The result of the last backup: when (Unix milliseconds), its file in the folder, or why it failed."""

    at: int
    ok: bool
    file: str = ""
    size: int = 0
    error: str = ""


def read_last(text: str | None) -> LastBackup | None:
    """The last backup from the text of its setting; None if there was none."""
    try:
        return msgspec.json.decode(text, type=LastBackup) if text else None
    except msgspec.DecodeError:
        return None


class Backups:
    """Makes a backup when one is due, in a thread."""

    def __init__(self, db: Database, config: Config, clock: Clock, mailer: Mailer | None) -> None:
        self.last: LastBackup | None = None
        self._db = db
        self._config = config
        self._clock = clock
        self._mailer = mailer
        self._stop = Event()
        self._pool = ThreadPoolExecutor(1, "backup")

    async def load_last(self) -> None:
        """Read the result of the last backup before this start."""
        row = await self._db.fetch_one(self._db.q.settings.get, name=LAST)
        self.last = read_last(row.value if row else None)

    async def run(self) -> None:
        """Make backups without end, if a folder for them is configured."""
        while self._config.backup_dir is not None:
            await asyncio.sleep(self._wait())
            await self.make()

    def close(self) -> None:
        """Abort a running copy; its file is deleted."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def make(self) -> LastBackup:
        """Make a backup now, and store the result."""
        now, before = self._clock.now(), self.last
        try:
            series = await self._db.write(_series)
            made = await self._in_thread(partial(_make_backup, self._config, now / 1000, self._stop, series))
            await self._store_result(LastBackup(now, True, made.file.name, made.size))
            # only now: until the new result is stored, doctor looks for the file of the last one
            await self._in_thread(partial(_thin_out, self._config, now / 1000, series))
        except (StartError, OSError, DatabaseError) as error:
            log.error("the backup failed: %s", error)
            await self._store_result(LastBackup(now, False, error=str(error)))
        assert self.last is not None
        if not self.last.ok and (before is None or before.ok):
            await self._mail_administrators()
        return self.last

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _store_result(self, last: LastBackup) -> None:
        self.last = last
        try:
            await self._db.write(_store, last)
        except DatabaseError:
            log.exception("what came of the backup could not be stored")

    def _wait(self) -> float:
        """Seconds until the next backup; never more than the configured interval, also if the clock was
        set."""
        every = self._config.backup_every * 3600
        if self.last is None:
            return min(_FIRST, every)
        after = every if self.last.ok else min(every, _RETRY_AFTER)
        due = after - (self._clock.now() - self.last.at) / 1000
        return min(max(due, min(_FIRST, every)), after)

    async def _mail_administrators(self) -> None:
        """Send the administrators a mail about the first failure in a row."""
        assert self.last is not None
        if self._mailer is None:
            return
        language = self._config.language
        subject = sentence("backup_mail_subject", language, {})
        text = sentence("backup_mail_text", language, {"error": self.last.error})
        for row in await self._db.fetch_all(self._db.q.users.list_admin_emails):
            try:
                await self._mailer.send(row.email, subject, text)
            except ChatHubError:
                # the mailer has logged why
                continue


def _make_backup(config: Config, now: float, stop: Event, series: str) -> backup_files.Backup:
    """Make a backup; ``series`` names this database's backups in a folder that others may use too."""
    folder, database = config.backup_dir, config.database
    assert folder is not None
    make_folder(folder)
    backup_files.delete_unfinished(database, folder, datetime.fromtimestamp(now - 2 * LONGEST, UTC))
    file = folder / backup_files.backup_name(database, now, packed=config.backup_compress, series=series)
    return backup_files.make_backup(database, file, stop=stop)


def _thin_out(config: Config, now: float, series: str) -> None:
    """Delete the outdated backups."""
    folder, database = config.backup_dir, config.database
    assert folder is not None
    there, moment = backup_files.list_backups(database, folder, series), datetime.fromtimestamp(now, UTC)
    for outdated in backup_files.outdated(there, config.backup_keep, moment):
        outdated.unlink(missing_ok=True)


def _series(tx: Transaction) -> str:
    """The name of this database's series of backups, made once."""
    row = tx.one(tx.q.settings.get, name=_SERIES)
    if row is not None:
        return row.value
    made = secrets.token_hex(3)
    tx.run(tx.q.settings.put, name=_SERIES, value=made)
    return made


def _store(tx: Transaction, last: LastBackup) -> None:
    tx.run(tx.q.settings.put, name=LAST, value=msgspec.json.encode(last).decode())
    if not last.ok:
        record(tx, SERVER, "backup.failed", last.at, error=last.error)
