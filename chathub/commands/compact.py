"""``chathub compact``: a full VACUUM, which gives all unused space of the file back to the disk."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from chathub.config import Config
from chathub.database import clean_end
from chathub.database.file_check import check_content
from chathub.database.opening import locked, require
from chathub.database.queries import Queries, sql_folder
from chathub.database.vacuum import INCREMENTAL, space
from chathub.disk import flush, free_bytes, unfinished
from chathub.errors import StartError

_MEBIBYTE = 1024 * 1024
# instructions of SQLite's between two moments at which Ctrl-C is noticed
_NOTICED = 10_000


def compact(config: Config, free_disk: Callable[[Path], int] = free_bytes) -> Iterator[str]:
    """Compact the database of a stopped server; gives what there is to say, line by line.

    VACUUM INTO writes the content to a new file, which then takes the database's name: whatever ends the
    process, one of the two is there, and whole. A VACUUM in place would write everything three times and take
    twice the room, some of it where SQLite's temporary files lie. The new file has auto_vacuum, so that from
    then on the running server gives pages back. ``free_disk`` tells the bytes that are free in a folder.

    Raises:
        StartError: it cannot be done, and nothing was changed.
    """
    require(config.database)
    with locked(config.database) as held:
        database = held.file
        copy = unfinished(database, "compact")
        check_content(database, Queries(sql_folder() / "queries"))
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
        _close_to_others(connection, database)
        before = database.stat().st_size
        yield f"{database}: {_mib(before)} MiB, of which {_mib(unused)} are unused"
        _copy(connection, database, copy)
        after = copy.stat().st_size
        os.replace(copy, database)
        clean_end.forget_file(database)
        flush(database.parent)
    yield f"now {_mib(after)} MiB: {_mib(before - after)} MiB were given back"


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 5000")
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != INCREMENTAL:
        # what a copy of it gets
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.set_progress_handler(lambda: 0, _NOTICED)
    return connection


def _close_to_others(connection: sqlite3.Connection, database: Path) -> None:
    """Bring the log into the file and remove it, and lock the file until the connection is closed: nothing
    that another program writes is lost with the old file, and the new one finds no log but its own."""
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
    """Write the content to a file that is the database's owner's only, sound and on the disk."""
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
