"""Database errors: SQLite's exceptions become these where statements run; no other package sees them.

Each error has a reason for the person whose request met it, and the HTTP status that goes with it. Without a
reason the error is a mistake of ours: the log shows where it came from.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from chathub.sentences import Reason

# what prevents writing
Obstacle = Literal["read-only", "full", "locked"]
# "failed": a read or a write failed, and SQLite's code does not say why
Trouble = Literal[Obstacle, "damaged", "failed"]

# by primary result code; all others are mistakes of ours or of the request
_TROUBLES: dict[int, Trouble] = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CANTOPEN: "failed",
    sqlite3.SQLITE_IOERR: "failed",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
# the medium returned something other than what was written, or nothing
_UNREADABLE = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    # SQLITE_IOERR_DATA and SQLITE_IOERR_CORRUPTFS; with an older SQLite Python has no names for them
    sqlite3.SQLITE_IOERR | (32 << 8),
    sqlite3.SQLITE_IOERR | (33 << 8),
}
_REASONS: dict[Trouble, Reason] = {
    "locked": Reason("database_locked"),
    "full": Reason("database_full"),
    "read-only": Reason("database_read_only"),
    "damaged": Reason("database_damaged"),
    "failed": Reason("database_failed"),
}
# column whose value another row has already → what the client reads
_DUPLICATES = {
    "users.username_key": Reason("username_taken"),
    "users.email_key": Reason("email_taken"),
    "providers.provider_key": Reason("provider_key_taken"),
    "models.model_name": Reason("model_name_taken"),
}

# what triggers say where something is to be stored for a user who has left
_LEFT = "the user has left"


class DatabaseError(Exception):
    """A statement failed."""

    reason: Reason | None = None
    status = 500


class ConstraintViolated(DatabaseError):
    """A row breaks a rule of the schema; with a reason where a changed request would not, or where the user
    has left meanwhile."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        if message == _LEFT:
            self.status, self.reason = 401, Reason("session_ended")
            return
        # several columns are separated by commas
        column = message.removeprefix("UNIQUE constraint failed: ").partition(",")[0]
        self.reason = _DUPLICATES.get(column)


class DatabaseUnavailable(DatabaseError):
    """The file or what lies below it cannot be used now: ``trouble`` says why.

    ``is_no_database``: the file is not one of SQLite's.
    """

    reason: Reason
    status = 503

    def __init__(self, message: str, trouble: Trouble, *, is_no_database: bool = False) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.is_no_database = is_no_database
        self.reason = _REASONS[trouble]


def from_sqlite(error: sqlite3.Error) -> DatabaseError:
    """The error of ours that an exception of SQLite's stands for."""
    # errors of Python's own module have no code
    code: int = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return ConstraintViolated(str(error))
    trouble = "damaged" if code in _UNREADABLE else _TROUBLES.get(primary)
    if trouble is None:
        return DatabaseError(str(error))
    return DatabaseUnavailable(str(error), trouble, is_no_database=primary == sqlite3.SQLITE_NOTADB)


@contextmanager
def translated() -> Iterator[None]:
    """Run statements: SQLite's exceptions leave this block as errors of ours.

    Raises:
        DatabaseError: a statement failed.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error) from error
