"""Database errors: SQLite's exceptions become these where statements run; no other package sees them.

Each error has a sentence for the person whose request met it, and the HTTP status that goes with it. Without
a sentence the error is a mistake of ours: the log shows where it came from.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

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
_SENTENCES: dict[Trouble, str] = {
    "locked": "数据库正被其他程序占用，请稍后再试",
    "full": "磁盘空间不足，数据库暂时无法写入",
    "read-only": "数据库暂时无法写入，只能读取",
    "damaged": "数据库的这一部分已损坏，无法完成请求，请联系管理员",
    "failed": "数据库暂时不可用，请稍后再试",
}
# column whose value another row has already → the sentence
_DUPLICATES = {
    "users.username_key": "用户名已存在",
    "users.email_key": "邮箱已被使用",
    "providers.provider_key": "提供商标识已存在",
    "models.model_name": "模型名称已存在",
}


class DatabaseError(Exception):
    """A statement failed."""

    sentence: str | None = None
    status = 500


class ConstraintViolated(DatabaseError):
    """A row breaks a rule of the schema; with a sentence where a changed request would not."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # several columns are separated by commas
        column = message.removeprefix("UNIQUE constraint failed: ").partition(",")[0]
        self.sentence = _DUPLICATES.get(column)


class DatabaseUnavailable(DatabaseError):
    """The file or what lies below it cannot be used now: ``trouble`` says why.

    ``is_no_database``: the file is not one of SQLite's.
    """

    sentence: str
    status = 503

    def __init__(self, message: str, trouble: Trouble, *, is_no_database: bool = False) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.is_no_database = is_no_database
        self.sentence = _SENTENCES[trouble]


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
