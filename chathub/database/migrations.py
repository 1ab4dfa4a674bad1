"""Brings the database to the newest version: ``sql/migrations/0001_….sql`` and on, each in one transaction.

The version lies in ``PRAGMA user_version``. Migrations are only ever added.
"""

import re
import sqlite3
from pathlib import Path

from chathub.errors import StartError

_NAME = re.compile(r"^(\d{4})_\w+\.sql$")


def migrations_in(folder: Path) -> list[tuple[int, Path]]:
    """The migrations in order.

    Raises:
        StartError: a name is odd, or the numbers have a gap.
    """
    found: list[tuple[int, Path]] = []
    for path in sorted(folder.glob("*.sql")):
        name = _NAME.match(path.name)
        if name is None or int(name[1]) != len(found) + 1:
            raise StartError(f"the migration {path.name} is out of order")
        found.append((int(name[1]), path))
    return found


def migrate(connection: sqlite3.Connection, folder: Path) -> int:
    """Run what is missing; gives the number of migrations run.

    Raises:
        StartError: the database was made by a newer ChatHub, or a migration failed (it leaves no trace).
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    migrations = migrations_in(folder)
    if version > len(migrations):
        raise StartError(
            f"the database has version {version}, this ChatHub knows {len(migrations)}: "
            "it was used by a newer ChatHub, start that one"
        )
    for number, path in migrations[version:]:
        script = path.read_text("utf-8")
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StartError(f"the migration {path.name} failed: {error}") from error
    return len(migrations) - version
