"""A copy of the database from before each upgrade, beside it, so that an upgrade can be undone."""

import logging
import re
import sqlite3
from pathlib import Path

from chathub.database.copying import copy_database
from chathub.database.migrations import migrate, pending, version_of
from chathub.database.schema import check_schema
from chathub.disk import flush

log = logging.getLogger("chathub.database")

_KEPT = 2


def upgrade(connection: sqlite3.Connection, database: Path, folder: Path) -> None:
    """Bring the database that a connection has open to the newest version; where it holds anything, a copy
    of it is kept first.

    Raises:
        StartError: it is a newer or an unfinished state's, there is no room for the copy, a migration failed.
    """
    missing, version = pending(connection, folder), version_of(connection)
    check_schema(connection, folder, version)
    if not missing:
        return
    if version and not upgrading(database).exists():
        kept = database.with_name(f"{database.name}.before-{missing[0][0]:04}")
        log.info(
            "the database is copied to %s, then brought from version %d to %d", kept, version, missing[-1][0]
        )
        copy_database(database, kept, alone=True)
        for _, old in copies(database)[:-_KEPT]:
            if old != kept:
                old.unlink(missing_ok=True)
        # an upgrade that is cut off goes on with the next start, and is one
        upgrading(database).touch(0o600)
        flush(database.parent)
    migrate(connection, folder)
    upgrading(database).unlink(missing_ok=True)


def upgrading(database: Path) -> Path:
    """Is there while an upgrade goes on whose copy is kept already."""
    return database.with_name(database.name + ".upgrading")


def copies(database: Path) -> list[tuple[int, Path]]:
    """The copies from before upgrades: the number of the first migration that followed, and the file; the
    newest last. After a restore a higher number may be the older one."""
    name = re.compile(re.escape(database.name) + r"\.before-(\d{4,})")
    found = [(name.fullmatch(path.name), path) for path in database.parent.iterdir()]
    return sorted(
        ((int(match[1]), path) for match, path in found if match), key=lambda each: each[1].stat().st_mtime_ns
    )
