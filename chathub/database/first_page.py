"""The first page of a database: written for a new one, and again to see whether anything can be written."""

import contextlib
import os
import sqlite3
from pathlib import Path

from chathub.disk import unfinished


def make_new(path: Path) -> None:
    """Make a new database that its owner alone can read. It gets its name when it is one: an empty file,
    as a crash would leave it, is refused by the next start."""
    new = unfinished(path, "new")
    os.close(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        # pages that are not used any more can be given back; said before the first page is written
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA user_version = 0")
    os.replace(new, path)


def rewrite(connection: sqlite3.Connection) -> None:
    """Write it once more as it is, to see whether anything can be written; waits for no lock."""
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
