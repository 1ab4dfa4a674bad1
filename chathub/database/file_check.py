"""Checks whether the file at the configured path can be the database, before anything is written to it: for
the start, for the operator's commands, and for ``doctor``."""

import os
import pwd
import sqlite3
import stat
from pathlib import Path

from chathub.database.errors import DatabaseError, DatabaseUnavailable
from chathub.database.queries import Queries
from chathub.database.read_only import reading
from chathub.database.transaction import Transaction
from chathub.errors import StartError

_HINT = "name the right file with --database or CHATHUB_DATABASE"
# tables of every version
_OURS = {"users", "conversations", "messages", "settings"}
_EFFECTIVE = os.access in os.supports_effective_ids


def check_file(database: Path, *, creates: bool = False) -> None:
    """Check the file without opening it; ``creates``: it may be missing.

    Raises:
        StartError: it is missing, or this process cannot read and write it.
    """
    place = database.absolute()
    try:
        found = place.stat()
    except FileNotFoundError:
        if not creates:
            raise StartError(
                f"there is no database {place}: {_HINT}, or start the server, which makes it"
            ) from None
        _refuse_stray_log(place)
        return
    except OSError as error:
        raise StartError(
            f"the folder of the database {place} cannot be used: {error.strerror}: {_HINT}"
        ) from error
    if stat.S_ISDIR(found.st_mode):
        raise StartError(f"the database {place} is a folder: name a file in it with --database")
    if not stat.S_ISREG(found.st_mode):
        raise StartError(f"the database {place} is a pipe, socket or device: {_HINT}")
    _check_access(place)
    # SQLite takes a file of a single byte for an empty one too
    if found.st_size <= 1:
        raise StartError(
            f"the database {place} is an empty file: restore a backup, or delete the file to begin anew"
        )


def check_content(database: Path, q: Queries) -> None:
    """Check the content of a database that this process has not opened; a missing one passes.

    Raises:
        StartError: it is no SQLite database, a damaged one, or another program's.
    """
    if not database.exists():
        return
    try:
        with reading(database) as connection:
            check_owner(connection, database, q)
    except DatabaseError as error:
        raise StartError(refusal(error, database)) from error


def check_owner(connection: sqlite3.Connection, database: Path, q: Queries) -> None:
    """Check that a database is ours, or empty.

    Raises:
        StartError: the database is another program's.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    names = {table.name for table in Transaction(connection, q).all(q.schema.list_tables)}
    is_ours = names >= _OURS if version else not names
    if application or not is_ours:
        raise StartError(f"the database {database.absolute()} is another program's: {_HINT}")


def refusal(error: DatabaseError, database: Path) -> str:
    """What a database error means for a command that cannot go on; raises one that is our mistake."""
    if not isinstance(error, DatabaseUnavailable):
        raise error
    place, trouble = database.absolute(), error.trouble
    if error.is_no_database:
        return f"{place} is no SQLite database, or an encrypted or damaged one: {_HINT}, or restore a backup"
    if trouble == "damaged":
        return f"the database {place} is damaged ({error}): restore a backup; chathub doctor says more"
    if trouble == "locked":
        return f"the database {place} is locked by another program: end that one first"
    if trouble == "full":
        return f"the disk of the database {place} is full: make room first"
    return (
        f"the database {place} cannot be used ({error}): look at the permissions of the file, its log and "
        "its folder, and at their disk"
    )


def _log_of(real: Path) -> Path:
    return real.with_name(real.name + "-wal")


def _refuse_stray_log(place: Path) -> None:
    """SQLite would write the log of a missing database into the new one."""
    real = place.resolve()
    for log in (_log_of(real), real.with_name(real.name + "-journal")):
        if log.exists() and log.stat().st_size:
            raise StartError(
                f"there is no database {place}, but its log {log} is there: put the database back, or delete "
                "the log to begin anew"
            )


def _check_access(place: Path) -> None:
    real = place.resolve()
    files = [real, _log_of(real), real.with_name(real.name + "-shm")]
    for path in (file for file in files if file.exists()):
        if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
            raise StartError(f"{_named(path, real, place)} cannot be read{_why(path)}")
        if not os.access(path, os.W_OK, effective_ids=_EFFECTIVE):
            raise StartError(f"{_named(path, real, place)} cannot be written{_why(path)}")
    if not os.access(real.parent, os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
        raise StartError(
            f"the folder of the database {place}, in which its log and its lock lie, cannot be written"
            f"{_why(real.parent)}"
        )


def _named(path: Path, real: Path, place: Path) -> str:
    return f"the database {place}" if path == real else f"the file {path} of the database {place}"


def _why(path: Path) -> str:
    """Why access is refused, and how to allow it."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return ": its disk is mounted read-only, mount it to be written"
    owner = path.stat().st_uid
    if owner != os.geteuid():
        ours = _user(os.geteuid())
        return f": it belongs to {_user(owner)}, give it to {ours} (chown) or start as its owner"
    return f": chmod {'u+rwx' if path.is_dir() else 'u+rw'} {path}"


def _user(number: int) -> str:
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user {number}"
