"""Migrations: ``sql/migrations/0001_….sql`` and on, each in one transaction, make the newest version.

The version is stored in ``PRAGMA user_version``. Shipped migrations are never changed.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from chathub.errors import StartError

_NAME = re.compile(r"^(\d{4})_\w+\.sql$")
# the first line of a migration that rebuilds a table: with foreign keys on, SQLite refuses to drop a table
# that others reference, or deletes the rows that reference it (https://www.sqlite.org/lang_altertable.html,
# section 7)
_REBUILDS = "-- foreign_keys: off"


def migrations_in(folder: Path) -> list[tuple[int, Path]]:
    """The migrations in order.

    Raises:
        StartError: a file is misnamed, or the numbers have a gap.
    """
    found: list[tuple[int, Path]] = []
    for path in sorted(folder.glob("*.sql")):
        name = _NAME.match(path.name)
        if name is None or int(name[1]) != len(found) + 1:
            raise StartError(f"the migration {path.name} is out of order")
        found.append((int(name[1]), path))
    return found


def version_of(connection: sqlite3.Connection) -> int:
    """The number of migrations that were run on a database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def pending(connection: sqlite3.Connection, folder: Path) -> list[tuple[int, Path]]:
    """The migrations that were not yet run on a database.

    Raises:
        StartError: the database was made by a newer ChatHub.
    """
    version, migrations = version_of(connection), migrations_in(folder)
    if version > len(migrations):
        raise StartError(
            f"the database has version {version}, this ChatHub knows {len(migrations)}: "
            "it was used by a newer ChatHub, start that one"
        )
    return migrations[version:]


def migrate(connection: sqlite3.Connection, folder: Path, newest: int | None = None) -> int:
    """Run the missing migrations up to ``newest`` (None: all); gives how many were run.

    Raises:
        StartError: the database was made by a newer ChatHub, or a migration failed (it is rolled back).
    """
    missing = [each for each in pending(connection, folder) if newest is None or each[0] <= newest]
    for number, path in missing:
        try:
            _run(connection, number, path.read_text("utf-8"))
        except sqlite3.Error as error:
            raise StartError(f"the migration {path.name} failed: {error}") from error
    return len(missing)


def _run(connection: sqlite3.Connection, number: int, script: str) -> None:
    rebuilds = script.startswith(_REBUILDS)
    with _rebuilding(connection) if rebuilds else contextlib.nullcontext():
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};")
            if rebuilds and (lost := connection.execute("PRAGMA foreign_key_check").fetchall()):
                raise sqlite3.IntegrityError(f"{len(lost)} rows would point to nothing, in {lost[0][0]}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@contextlib.contextmanager
def _rebuilding(connection: sqlite3.Connection) -> Iterator[None]:
    """Foreign keys are not enforced, and renaming a table does not rewrite references to it.

    Both settings have no effect inside a transaction.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA legacy_alter_table = OFF")
        connection.execute("PRAGMA foreign_keys = ON")
