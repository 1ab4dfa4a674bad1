"""The database of one process: nobody else has it open, and it has every migration."""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache, partial
from pathlib import Path

from chathub.config import Config
from chathub.database.connection import Database
from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder
from chathub.errors import StartError


@cache
def _queries(folder: Path) -> Queries:
    # they are read once in a process, of whatever databases it opens
    return Queries(folder)


@asynccontextmanager
async def open_database(config: Config) -> AsyncIterator[Database]:
    """The database, locked for this process and migrated."""
    folder = sql_folder()
    with locked(config.database):
        db = Database(config.database, _queries(folder / "queries"))
        await db.open()
        try:
            await db.script(partial(migrate, folder=folder / "migrations"))
            yield db
        finally:
            await db.close()


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """One process for a database. The lock is on a file beside it: opening and closing the database
    file itself would drop SQLite's own locks."""
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        # another name of the same file is the same database
        database = database.resolve()
        path = database.with_name(database.name + ".lock")
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(f"the folder of the database cannot be used: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"another ChatHub is running on the database {database}") from None
        yield
    finally:
        os.close(lock)
