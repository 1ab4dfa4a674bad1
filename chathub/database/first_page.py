"""The first page of a database: written for a new file, and rewritten to test whether writing works."""

import contextlib
import os
import sqlite3
from pathlib import Path

from chathub.disk import unfinished


def create_file(path: Path) -> None:
    """Create a new database file that only its owner can read.

    The file gets its name when it is a complete database: the next start would refuse an empty file, which a
    crash would leave.
    """
    new = unfinished(path, "new")
    os.close(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        # so that unused pages can go back to the disk; must be set before the first page is written
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA user_version = 0")
    os.replace(new, path)


def rewrite_first_page(connection: sqlite3.Connection) -> None:
    """Write the first page again unchanged, to test whether writing works; does not wait for a lock."""
    wait = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    finally:
        connection.rollback()
        connection.execute(f"PRAGMA busy_timeout = {wait}")
