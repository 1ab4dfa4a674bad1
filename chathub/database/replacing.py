"""Replacing the database file: a crash at any point leaves the old file or the new one.

A complete new file waits beside the database as ``chathub.db.incoming-<label>``. Once it has that name the
replacement is decided: the next process that opens the database finishes it. The old file is kept as
``chathub.db.<label>``. A write-ahead log never lies beside a file to which it does not belong: SQLite would
write it into that file.
"""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path

from chathub.database import clean_shutdown
from chathub.database.errors import DatabaseError, DatabaseUnavailable, translated
from chathub.database.upgrades import upgrade_marker
from chathub.disk import flush
from chathub.errors import StartError

log = logging.getLogger("chathub.database")

_INCOMING = ".incoming-"
# what SQLite would write into another file: the write-ahead log and the rollback journal
_LOGS = ("-wal", "-journal")
# the first bytes of every database (https://www.sqlite.org/fileformat.html, section 1.3)
_HEAD = b"SQLite format 3\0"


def pending_replacement(database: Path) -> Path | None:
    """The new file of a replacement that was begun and not finished; None: there is none."""
    try:
        paths = list(database.parent.iterdir())
    except OSError:
        # opening the database reports what is wrong with its folder
        return None
    return min((path for path in paths if path.name.startswith(database.name + _INCOMING)), default=None)


def replace(database: Path, new: Path, label: str, *, origin: Path) -> Path:
    """Put a complete file, which no process has open, in the database's place, under the database's lock;
    gives the path of the old file. ``label`` says what happened, such as ``before-restore-20240131-120000``.
    ``origin`` is what the new file was made from: its time says until when the server ran whose state it is.

    Raises:
        StartError: the file system refuses.
    """
    try:
        _checkpoint(database)
        while any(_kept(database, label, ending).exists() for ending in (*_LOGS, "")):
            label += "-"
        upgrade_marker(database).unlink(missing_ok=True)
        made_at = origin.stat().st_mtime
        os.utime(new, (made_at, made_at))
        os.replace(new, database.with_name(database.name + _INCOMING + label))
        flush(database.parent)
    except OSError as error:
        raise StartError(f"{database} cannot be replaced: {error}") from error
    kept = finish_replacement(database)
    assert kept is not None
    return kept


def finish_replacement(database: Path) -> Path | None:
    """Finish a replacement that was begun; gives the path of the old file, None if there was nothing to do.

    Raises:
        StartError: the file system refuses.
    """
    new = pending_replacement(database)
    if new is None:
        return None
    label = new.name.removeprefix(database.name + _INCOMING)
    # the old file has that name already if another file was put in its place by hand meanwhile
    while database.exists() and _kept(database, label).exists():
        label += "-"
    kept = _kept(database, label)
    log.info("%s takes the place of %s, which becomes %s", new, database, kept)
    try:
        # the logs move with their file; the new file takes the name only after all of them have moved
        for ending in (*_LOGS, ""):
            old = database.with_name(database.name + ending)
            if old.exists():
                os.replace(old, kept.with_name(kept.name + ending))
        database.with_name(database.name + "-shm").unlink(missing_ok=True)
        flush(database.parent)
        os.replace(new, database)
        clean_shutdown.forget_file(database)
        clean_shutdown.mark_alive(database, database.stat().st_mtime)
        flush(database.parent)
    except OSError as error:
        raise StartError(f"{database} cannot be replaced: {error}") from error
    return kept


def delete_unfinished(database: Path) -> None:
    """Delete unfinished files that a crash left, of a database or a copy of it, under the lock.

    Raises:
        StartError: the folder cannot be read or written.
    """
    try:
        for path in database.parent.iterdir():
            if path.name.startswith(f".{database.name}.") and ".unfinished-" in path.name and path.is_file():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(f"the folder of the database {database} cannot be used: {error}") from error


def _checkpoint(database: Path) -> None:
    """Checkpoint the present file, so that it is complete without its log. If it cannot be read, its log is
    kept together with it."""
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
