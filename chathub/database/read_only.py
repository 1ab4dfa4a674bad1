"""A database file looked at from outside the server, whether that runs or not, without leaving a trace."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from chathub.database.errors import DatabaseError, translated
from chathub.database.queries import Queries, sql_folder
from chathub.errors import StartError


@contextlib.contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """The database to be read only; a closed one as if it lay on a medium that cannot be written, or SQLite
    would leave an empty log beside it.

    Raises:
        DatabaseError: it cannot be opened, or a statement in the block failed.
    """
    real = database.resolve()
    closed = not real.with_name(real.name + "-wal").exists()
    uri = real.as_uri() + ("?immutable=1" if closed else "?mode=ro")
    with translated():
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        with contextlib.closing(connection):
            connection.row_factory = sqlite3.Row
            yield connection


def read_setting(database: Path, name: str) -> str | None:
    """The value of a setting; None where there is none, or none can be.

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
    return None if row is None else row["value"]
