"""Opening the database: locked for this process, and with every migration run."""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from chathub.config import Config
from chathub.database import clean_shutdown
from chathub.database.database import Database
from chathub.database.file_check import check_content, check_file
from chathub.database.queries import Queries, sql_folder
from chathub.database.replacing import delete_unfinished, finish_replacement, pending_replacement
from chathub.database.upgrades import upgrade
from chathub.disk import identity, make_folder
from chathub.errors import StartError

log = logging.getLogger("chathub.database")

# seconds that a server waits for a command to end, and between two looks
_COMMAND = 2.0
_PAUSE = 0.1


@cache
def _queries(folder: Path) -> Queries:
    # read once in a process, also if it opens several databases
    return Queries(folder)


class DatabaseInUse(StartError):
    """Another process has locked the database."""


class LockedDatabase(NamedTuple):
    """A database that this process has locked: the real file, and the descriptor of the lock file."""

    file: Path
    lock: int


def require_database(database: Path, *, creates: bool = False) -> None:
    """Check that the database exists and can be opened; a replacement that is not finished counts as one.

    Raises:
        StartError: there is none, or it cannot be used.
    """
    # ``realpath`` also takes a loop of links, which ``resolve`` refuses
    if pending_replacement(Path(os.path.realpath(database))) is None:
        check_file(database, creates=creates)


@asynccontextmanager
async def open_database(config: Config, *, creates: bool = False) -> AsyncIterator[Database]:
    """The database, locked for this process and with every migration run; ``creates``: a missing one is made,
    and a command that has it is waited for, as a server does.

    Raises:
        StartError: it does not exist, cannot be used, is another program's, or is open already.
    """
    folder = sql_folder()
    require_database(config.database, creates=creates)
    with contextlib.ExitStack() as stack:
        locked_database = await _lock(stack, config.database, _COMMAND if creates else 0)
        async with _opened(config.database, _queries(folder / "queries"), locked_database) as db:
            migrate = partial(upgrade, database=locked_database.file, folder=folder / "migrations")
            await db.run_bare(migrate)
            yield db


async def _lock(stack: contextlib.ExitStack, database: Path, patience: float) -> LockedDatabase:
    """Lock a database until the stack closes; ``patience``: the seconds to wait for another process."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return stack.enter_context(locked(database))
        except DatabaseInUse:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def _opened(database: Path, q: Queries, locked_database: LockedDatabase) -> AsyncIterator[Database]:
    """The database with its connections; the lock file says at the end whether the shutdown was clean."""
    file, lock = locked_database
    try:
        if foreign_log := clean_shutdown.set_aside_foreign_log(lock, file):
            log.warning("%s was replaced under the last server, whose log is now %s", file, foreign_log)
        check_content(database, q)
        is_clean, alive_until = clean_shutdown.was_clean(lock, database), clean_shutdown.alive_until(lock)
        db = Database(database, q, unchecked=not is_clean, alive_until=alive_until)
        clean_shutdown.mark_open(lock)
        await db.open()
    except OSError as error:
        raise StartError(f"the database {database} cannot be opened: {error.strerror}") from error
    opened = identity(file)
    clean_shutdown.record_file(lock, file)
    try:
        yield db
    finally:
        await db.close()
        if not db.condition.is_suspect and identity(file) == opened:
            clean_shutdown.mark_closed(lock)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[LockedDatabase]:
    """Lock a database for this process, and finish a replacement that was begun.

    The lock is on a file beside it: opening and closing the database file itself would drop SQLite's own
    locks.

    Raises:
        DatabaseInUse: another process has it.
        StartError: the folder cannot be used.
    """
    try:
        make_folder(database.parent)
        # two names of one file are one database
        database = database.resolve()
        lock = os.open(clean_shutdown.lock_file(database), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"the folder of the database {database} cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatabaseInUse(f"another ChatHub is running on the database {database}") from None
        finish_replacement(database)
        delete_unfinished(database)
        yield LockedDatabase(database, lock)
    finally:
        os.close(lock)
