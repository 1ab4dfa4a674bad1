"""A database file read from outside the server, which may run or not, without changing anything."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from chathub.database.errors import DatabaseError, translated
from chathub.database.queries import Queries, sql_folder
from chathub.errors import StartError


@contextlib.contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection. A database that no process has open is read as immutable: SQLite would
    otherwise leave an empty log beside it.

    Raises:
        DatabaseError: it cannot be opened, or a statement in the block failed.
    """
    real = database.resolve()
    closed = not real.with_name(real.name + "-wal").exists()
    uri = real.as_uri() + ("?immutable=1" if closed else "?mode=ro")
    with translated():
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        with contextlib.closing(connection):
            yield connection


def read_setting(database: Path, name: str) -> str | None:
    """The value of a setting; None: it is not set, or the database has no table of settings yet.

    Raises:
        StartError: the database cannot be read.
    """
    q = Queries(sql_folder() / "queries")
    try:
        with reading(database) as connection:
            row = connection.execute(q.settings.get.sql, {"name": name}).fetchone()
    except DatabaseError as error:
        if "no such table" in str(error):
            return None
        raise StartError(f"the database {database} cannot be read: {error}") from error
    return None if row is None else row[0]
