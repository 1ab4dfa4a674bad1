"""The database of one process: nobody else has it open, and it has every migration."""

import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from chathub.config import Config
from chathub.database import clean_end
from chathub.database.connection import Database
from chathub.database.file_check import check_content, check_file
from chathub.database.queries import Queries, sql_folder
from chathub.database.replacing import finish, sweep, waiting
from chathub.database.upgrades import upgrade
from chathub.disk import identity, make_folder
from chathub.errors import StartError

log = logging.getLogger("chathub.database")


@cache
def _queries(folder: Path) -> Queries:
    # they are read once in a process, of whatever databases it opens
    return Queries(folder)


class Held(NamedTuple):
    """A database under the lock of this process: the file itself, and the descriptor of the lock's."""

    file: Path
    lock: int


def require(database: Path, *, creates: bool = False) -> None:
    """See to it that there is a database to be opened; one that waits to take its place counts.

    Raises:
        StartError: there is none, or it cannot be used.
    """
    # of a loop of links too, which ``resolve`` does not take
    if waiting(Path(os.path.realpath(database))) is None:
        check_file(database, creates=creates)


@asynccontextmanager
async def open_database(config: Config, *, creates: bool = False) -> AsyncIterator[Database]:
    """The database, locked for this process and brought to the newest version; ``creates``: made if it is
    not there.

    Raises:
        StartError: it is not there, cannot be used, is another program's, or is open already.
    """
    folder = sql_folder()
    require(config.database, creates=creates)
    with locked(config.database) as held:
        async with _opened(config.database, _queries(folder / "queries"), held) as db:
            await db.script(partial(upgrade, database=held.file, folder=folder / "migrations"))
            yield db


@asynccontextmanager
async def _opened(database: Path, q: Queries, held: Held) -> AsyncIterator[Database]:
    """The database with its connections; how it ends is noted in the lock file."""
    file, lock = held
    try:
        if aside := clean_end.put_aside_strangers_log(lock, file):
            log.warning("%s was replaced under the last server, whose log is now %s", file, aside)
        check_content(database, q)
        db = Database(database, q, unchecked=not clean_end.was_clean(lock, database))
        clean_end.note_open(lock)
        await db.open()
    except OSError as error:
        raise StartError(f"the database {database} cannot be opened: {error.strerror}") from error
    opened = identity(file)
    clean_end.note_file(lock, file)
    try:
        yield db
    finally:
        await db.close()
        if not db.condition.is_suspect and identity(file) == opened:
            clean_end.note_closed(lock)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[Held]:
    """One process for a database; another file is put in its place if that was begun.

    The lock is on a file beside it: opening and closing the database file itself would drop SQLite's own
    locks.

    Raises:
        StartError: another process has it, or the folder cannot be used.
    """
    try:
        make_folder(database.parent)
        # another name of the same file is the same database
        database = database.resolve()
        lock = os.open(clean_end.lock_file(database), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"the folder of the database {database} cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"another ChatHub is running on the database {database}") from None
        finish(database)
        sweep(database)
        yield Held(database, lock)
    finally:
        os.close(lock)
