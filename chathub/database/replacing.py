"""Another file in the database's place, so that a crash at any point leaves the one or the other.

A new file that is whole waits beside the database as ``chathub.db.incoming-<label>``. Taking that name is
the moment of decision: from there on the new one counts, and whoever opens the database next finishes what
was begun. The old file is kept as ``chathub.db.<label>``. A write-ahead log never stands beside a file that
it does not belong to: SQLite would write it into that.
"""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path

from chathub.database import clean_end
from chathub.database.errors import DatabaseError, DatabaseUnavailable, translated
from chathub.database.upgrades import upgrading
from chathub.disk import flush
from chathub.errors import StartError

log = logging.getLogger("chathub.database")

_INCOMING = ".incoming-"
# what SQLite would play into another file: the write-ahead log, and what takes back a transaction
_LOGS = ("-wal", "-journal")
# with which every database begins (https://www.sqlite.org/fileformat.html, section 1.3)
_HEAD = b"SQLite format 3\0"


def waiting(database: Path) -> Path | None:
    """The new file of a replacement that was cut off."""
    try:
        paths = list(database.parent.iterdir())
    except OSError:
        # who opens the database says what is wrong with its folder
        return None
    return min((path for path in paths if path.name.startswith(database.name + _INCOMING)), default=None)


def replace(database: Path, new: Path, label: str) -> Path:
    """Put a whole file that nobody has open in the database's place, under the database's lock; gives the
    name of the old one. ``label`` says what happened, such as ``before-restore-20240131-120000``.

    Raises:
        StartError: the file system refuses.
    """
    try:
        _settle(database)
        while any(_kept(database, label, ending).exists() for ending in (*_LOGS, "")):
            label += "-"
        upgrading(database).unlink(missing_ok=True)
        os.replace(new, database.with_name(database.name + _INCOMING + label))
        flush(database.parent)
    except OSError as error:
        raise StartError(f"{database} cannot be replaced: {error}") from error
    kept = finish(database)
    assert kept is not None
    return kept


def finish(database: Path) -> Path | None:
    """End a replacement that was begun; gives the name of the old file, None if there was nothing to do.

    Raises:
        StartError: the file system refuses.
    """
    new = waiting(database)
    if new is None:
        return None
    label = new.name.removeprefix(database.name + _INCOMING)
    # what was before has gone there already where a file was put in its place by hand meanwhile
    while database.exists() and _kept(database, label).exists():
        label += "-"
    kept = _kept(database, label)
    log.info("%s takes the place of %s, which becomes %s", new, database, kept)
    try:
        # the logs go with their file: until all have gone, the new one is not there
        for ending in (*_LOGS, ""):
            old = database.with_name(database.name + ending)
            if old.exists():
                os.replace(old, kept.with_name(kept.name + ending))
        database.with_name(database.name + "-shm").unlink(missing_ok=True)
        flush(database.parent)
        os.replace(new, database)
        clean_end.forget_file(database)
        flush(database.parent)
    except OSError as error:
        raise StartError(f"{database} cannot be replaced: {error}") from error
    return kept


def sweep(database: Path) -> None:
    """Remove what a crash left of files that were to become the database or a copy of it, under the lock.

    Raises:
        StartError: the folder cannot be read or written.
    """
    try:
        for path in database.parent.iterdir():
            if path.name.startswith(f".{database.name}.") and ".unfinished-" in path.name and path.is_file():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"the folder of the database {database} cannot be used: {error}") from error


def _settle(database: Path) -> None:
    """Make the present file whole without its log, where it can be read; its log stays with it otherwise,
    for SQLite writes a log into whatever lies beside it."""
    if not database.exists():
        return
    with database.open("rb") as file:
        if file.read(len(_HEAD)) != _HEAD:
            return
    uri = f"{database.resolve().as_uri()}?mode=rw"
    try:
        with translated(), contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except DatabaseError as error:
        busy = isinstance(error, DatabaseUnavailable) and error.trouble == "locked"
    if busy:
        raise StartError(f"{database} is in use by another program: stop that first")


def _kept(database: Path, label: str, ending: str = "") -> Path:
    return database.with_name(f"{database.name}.{label}{ending}")
