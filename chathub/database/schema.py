"""The schema of a database, compared with the one that the migrations make: a file that was made otherwise is
noticed before it is used."""

import re
import sqlite3
from functools import cache
from pathlib import Path

from chathub.database.migrations import migrate
from chathub.database.row_counts import own_queries
from chathub.database.transaction import Transaction
from chathub.errors import StartError

# comments, and what SQLite itself writes in more than one way: blanks, and quotes around names
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BLANKS = re.compile(r"\s+")
_AROUND = re.compile(r" ?([(),=<>+*/|-]) ?")


def differences(connection: sqlite3.Connection, folder: Path, version: int) -> list[str]:
    """What is missing, or not as the migrations in ``folder`` up to ``version`` make it: names such as
    ``table users``. What other programs added (Litestream has two tables of its own) does not count."""
    present, expected = _objects(connection), _made_by(folder, version)
    return [" ".join(key) for key in expected if key not in present or not _same(present[key], expected[key])]


def check_schema(connection: sqlite3.Connection, folder: Path, version: int) -> None:
    """Check that a database has the schema of its version.

    Raises:
        StartError: the file was made by a state of ChatHub that was never released.
    """
    if names := differences(connection, folder, version):
        shown = ", ".join(names[:5]) + ("" if len(names) <= 5 else f" and {len(names) - 5} more")
        raise StartError(
            f"the database has version {version} but not the schema of that version ({shown}): it was made "
            "by an unfinished state of ChatHub, or changed by hand. Nothing was changed; start the state "
            "that made it, or restore a backup"
        )


@cache
def _made_by(folder: Path, version: int) -> dict[tuple[str, str], str | None]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, folder, version)
        return _objects(connection)
    finally:
        connection.close()


def _objects(connection: sqlite3.Connection) -> dict[tuple[str, str], str | None]:
    """The definitions of tables, indexes, triggers and views, by type and name."""
    q = own_queries()
    return {(row.type, row.name): row.sql for row in Transaction(connection, q).all(q.schema.list_objects)}


def _same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and _plain(one) == _plain(other))


def _plain(sql: str) -> str:
    """A definition without what has no meaning."""
    text = _BLANKS.sub(" ", _COMMENT.sub(" ", sql)).replace('"', "").replace("`", "")
    return _AROUND.sub(r"\1", text).strip()
