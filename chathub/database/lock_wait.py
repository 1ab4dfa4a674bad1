"""How long a write waits for another program's lock: as configured, but not beyond the server's end."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

# milliseconds that SQLite waits at a time: between two waits the deadline is computed again
_SLICE = 100

T = TypeVar("T")
# the configured seconds → the moment (``time.monotonic``) at which waiting for the lock ends
Deadline = Callable[[float], float]


def wait_for_lock(connection: sqlite3.Connection, deadline: Deadline, step: Callable[[], T]) -> T:
    """Run a step that takes the write lock. While another program has the lock, this waits as long as the
    connection's ``busy_timeout`` says, but in slices: SQLite's own wait cannot be cut short."""
    (configured,) = connection.execute("PRAGMA busy_timeout").fetchone()
    try:
        while True:
            left = deadline(configured / 1000) - time.monotonic()
            connection.execute(f"PRAGMA busy_timeout = {max(0, min(_SLICE, round(left * 1000)))}")
            try:
                return step()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or left <= _SLICE / 1000:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {configured}")
