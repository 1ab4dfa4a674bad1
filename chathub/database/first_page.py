"""The first page of a database: written for a new one."""

import contextlib
import os
import sqlite3
from pathlib import Path


def make_new(path: Path) -> None:
    """Make a new database that its owner alone can read. It gets its name when it is one: an empty file,
    as a crash would leave it, is refused by the next start."""
    new = path.with_name(path.name + ".new")
    os.close(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 0")
    os.replace(new, path)
