"""What SQLite's errors tell of the database's condition."""

import sqlite3
from typing import Literal

# "failed": a read or write failed for a reason that its code does not tell
Trouble = Literal["read-only", "full", "locked", "damaged", "failed"]

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
# the medium gave back something else than what was written, or nothing
_UNREADABLE = {
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    # SQLITE_IOERR_DATA and SQLITE_IOERR_CORRUPTFS; with an older SQLite Python has no names for them
    sqlite3.SQLITE_IOERR | (32 << 8),
    sqlite3.SQLITE_IOERR | (33 << 8),
}


def trouble_of(error: BaseException) -> Trouble | None:
    """What an error says of the file or what lies below it; None for all that is not its fault."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    return "damaged" if code in _UNREADABLE else _TROUBLES.get(code & 0xFF)
