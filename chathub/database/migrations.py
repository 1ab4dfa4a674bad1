"""Migrations: ``sql/migrations/0001_….sql`` and on, each in one transaction, make the newest version.

The version is stored in ``PRAGMA user_version``. Shipped migrations are never changed.
"""

import contextlib
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from chathub.database.row_counts import count_rows
from chathub.errors import StartError

_NAME = re.compile(r"^(\d{4})_\w+\.sql$")
# the first line of a migration that rebuilds a table: with foreign keys on, SQLite refuses to drop a table
# that others reference, or deletes the rows that reference it (https://www.sqlite.org/lang_altertable.html,
# section 7)
_REBUILDS = "-- foreign_keys: off"
_WHILE_REBUILDING = {
    "foreign_keys": "OFF",
    # renaming a table does not rewrite the references to its old name
    "legacy_alter_table": "ON",
    # SQLite keeps the pages of a dropped table until the drop is done: 100 MB for a million rows of the
    # ledger, which would otherwise be in memory
    "temp_store": "FILE",
}


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
    if not script.startswith(_REBUILDS):
        _transact(connection, number, script, lambda: None)
        return
    with _rebuilding(connection):
        counts, orphans = count_rows(connection), _orphans(connection)
        _transact(connection, number, script, lambda: _check_rows(connection, counts, orphans))


def _transact(connection: sqlite3.Connection, number: int, script: str, check: Callable[[], None]) -> None:
    """Run a migration as one transaction, committed if ``check`` raises nothing."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};")
        check()
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def _rebuilding(connection: sqlite3.Connection) -> Iterator[None]:
    """Set what a rebuild needs; SQLite ignores these settings inside a transaction."""
    before = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _WHILE_REBUILDING}
    try:
        for name, value in _WHILE_REBUILDING.items():
            connection.execute(f"PRAGMA {name} = {value}")
        yield
    finally:
        for name, value in before.items():
            connection.execute(f"PRAGMA {name} = {value}")


def _check_rows(connection: sqlite3.Connection, counts: dict[str, int], orphans: Counter[str]) -> None:
    """Compare with the rows that were there before the migration.

    Raises:
        IntegrityError: a table has more or fewer rows, or more rows of a table point to nothing.
    """
    for table, lost in (_orphans(connection) - orphans).items():
        raise sqlite3.IntegrityError(f"{lost} rows would point to nothing, in {table}")
    found = count_rows(connection)
    for table, count in counts.items():
        if found.get(table, count) != count:
            raise sqlite3.IntegrityError(f"{table} has {count} rows and would have {found[table]}")


def _orphans(connection: sqlite3.Connection) -> Counter[str]:
    """How many rows of each table point to nothing: none, unless somebody changed the file by hand."""
    return Counter(row[0] for row in connection.execute("PRAGMA foreign_key_check"))
