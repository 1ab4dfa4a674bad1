"""What the database of a version consists of, so that a file made otherwise is noticed before it is used."""

import re
import sqlite3
from functools import cache
from pathlib import Path

from chathub.database.migrations import migrate
from chathub.database.row_counts import own_queries
from chathub.errors import StartError

# comments, and what SQLite itself writes in more than one way: blanks and quotes around names
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_BLANKS = re.compile(r"\s+")
_AROUND = re.compile(r" ?([(),=<>+*/|-]) ?")


def differences(connection: sqlite3.Connection, folder: Path, version: int) -> list[str]:
    """What is missing or other than the migrations in ``folder`` up to ``version`` make it: names such as
    ``table users``. What others have added (Litestream has two tables of its own) does not count."""
    here = {(kind, name): sql for kind, name, sql in _objects(connection)}
    expected = _made_by(folder, version)
    return [" ".join(key) for key, sql in expected.items() if key not in here or not _same(here[key], sql)]


def check_schema(connection: sqlite3.Connection, folder: Path, version: int) -> None:
    """Raises:
    StartError: the file was made by a state of ChatHub that was never released.
    """
    if other := differences(connection, folder, version):
        shown = ", ".join(other[:5]) + ("" if len(other) <= 5 else f" and {len(other) - 5} more")
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
        return {(kind, name): sql for kind, name, sql in _objects(connection)}
    finally:
        connection.close()


def _objects(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    q = own_queries()
    return [tuple(row) for row in connection.execute(q.schema.list_objects)]


def _same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and _plain(one) == _plain(other))


def _plain(sql: str) -> str:
    """A definition without what means nothing."""
    text = _BLANKS.sub(" ", _COMMENT.sub(" ", sql)).replace('"', "").replace("`", "")
    return _AROUND.sub(r"\1", text).strip()
