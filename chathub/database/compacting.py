"""A full VACUUM of the database file: all of its unused space goes back to the disk."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from chathub.database import clean_shutdown
from chathub.database.vacuum import INCREMENTAL, space
from chathub.disk import flush, unfinished
from chathub.errors import StartError

_MEBIBYTE = 1024 * 1024
# SQLite checks for Ctrl-C after so many of its instructions
_INSTRUCTIONS = 10_000


def compact_file(database: Path, free_disk: Callable[[Path], int]) -> Iterator[str]:
    """Compact a database that no server has open, under its lock; gives the lines of the report.

    VACUUM INTO writes the content to a new file, which then takes the database's name. When a crash ends the
    process, one of the two is there, and whole. A VACUUM in place would write everything three times and need
    twice the room, some of it where SQLite's temporary files lie. The new file has auto_vacuum, so that from
    then on the running server gives unused pages back. ``free_disk`` gives the free bytes of a folder.

    Raises:
        StartError: compacting failed, and nothing was changed.
    """
    copy = unfinished(database, "compact")
    try:
        yield from _replace(database, copy, free_disk)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from None
        raise StartError(f"{database} cannot be compacted, nothing was changed: {error}") from error
    except OSError as error:
        sentence = f"{database} cannot be compacted, nothing was changed: {error.strerror}"
        raise StartError(sentence) from error
    finally:
        _remove(copy)


def _replace(database: Path, copy: Path, free_disk: Callable[[Path], int]) -> Iterator[str]:
    with closing(_connect(database)) as connection:
        found = space(lambda pragma: connection.execute(f"PRAGMA {pragma}").fetchall())
        unused, used = ((pages * found.page_bytes) for pages in (found.unused, found.pages - found.unused))
        _check_room(database, used, free_disk(database.parent))
        _take_for_itself(connection, database)
        before = database.stat().st_size
        yield f"{database}: {_mib(before)} MiB, of which {_mib(unused)} are unused"
        _copy(connection, database, copy)
        after = copy.stat().st_size
        os.replace(copy, database)
        clean_shutdown.forget_file(database)
        flush(database.parent)
    yield f"now {_mib(after)} MiB: {_mib(before - after)} MiB were given back"


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 5000")
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != INCREMENTAL:
        # VACUUM INTO gives this mode to the copy
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.set_progress_handler(lambda: 0, _INSTRUCTIONS)
    return connection


def _take_for_itself(connection: sqlite3.Connection, database: Path) -> None:
    """Checkpoint and remove the write-ahead log, and lock the file until the connection is closed.

    Otherwise another program's writes could be lost with the old file, and the new file could meet the old
    file's log.
    """
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        raise StartError(f"another program has {database} open: end it first") from None


def _copy(connection: sqlite3.Connection, database: Path, copy: Path) -> None:
    """Write the content to a new file: for the database's owner only, checked, and flushed to the disk."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    owner, ours = database.stat(), copy.stat()
    if (owner.st_uid, owner.st_gid) != (ours.st_uid, ours.st_gid):
        os.chown(copy, owner.st_uid, owner.st_gid)
    connection.execute("VACUUM INTO ?", [str(copy)])
    with closing(_connect(copy)) as made:
        if made.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the new file is damaged")
        made.execute("PRAGMA journal_mode = WAL")
    flush(copy)


def _remove(copy: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        copy.with_name(copy.name + ending).unlink(missing_ok=True)


def _check_room(database: Path, needed: int, free: int) -> None:
    if free < needed:
        raise StartError(
            f"to compact {database} takes {_mib(needed)} MiB of free disk, and {database.parent} has only "
            f"{_mib(free)}: make room first"
        )


def _mib(size: int) -> str:
    return f"{size / _MEBIBYTE:.1f}"
