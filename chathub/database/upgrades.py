"""Upgrades: a copy from before each upgrade is kept beside the database, so that it can be undone."""

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
    """Run the missing migrations on an open database; a copy of a database with content is kept first.

    Raises:
        StartError: a newer or unfinished version made it, there is no room for the copy, or a migration
        failed.
    """
    missing, version = pending(connection, folder), version_of(connection)
    check_schema(connection, folder, version)
    if not missing:
        return
    if version and not upgrade_marker(database).exists():
        kept = database.with_name(f"{database.name}.before-{missing[0][0]:04}")
        log.info(
            "the database is copied to %s, then brought from version %d to %d", kept, version, missing[-1][0]
        )
        copy_database(database, kept, alone=True)
        for _, old in list_copies(database)[:-_KEPT]:
            if old != kept:
                old.unlink(missing_ok=True)
        # an upgrade that is cut off and resumed by the next start counts as one
        upgrade_marker(database).touch(0o600)
        flush(database.parent)
    migrate(connection, folder)
    upgrade_marker(database).unlink(missing_ok=True)


def upgrade_marker(database: Path) -> Path:
    """A file that exists while an upgrade runs whose copy is kept already."""
    return database.with_name(database.name + ".upgrading")


def list_copies(database: Path) -> list[tuple[int, Path]]:
    """The copies from before upgrades: the number of the first migration that followed, and the file; the
    newest comes last. After a restore a copy with a higher number may be older."""
    name = re.compile(re.escape(database.name) + r"\.before-(\d{4,})")
    found = [(name.fullmatch(path.name), path) for path in database.parent.iterdir()]
    return sorted(
        ((int(match[1]), path) for match, path in found if match), key=lambda each: each[1].stat().st_mtime_ns
    )
