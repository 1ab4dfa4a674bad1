"""How long a write waits for another program's lock: as configured, but not past the end of the server."""

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

# milliseconds that SQLite waits at a time: between two of them it is asked whether the server ends
_SLICE = 100

T = TypeVar("T")
# when to give up waiting for a lock (``time.monotonic``), out of the seconds that are configured
GiveUp = Callable[[float], float]


def waiting(connection: sqlite3.Connection, give_up: GiveUp, step: Callable[[], T]) -> T:
    """Run a step that takes the lock of writers. Where another program has it this waits as long as the
    connection's ``busy_timeout`` says, but in slices: a wait of SQLite's own cannot be cut short."""
    (configured,) = connection.execute("PRAGMA busy_timeout").fetchone()
    try:
        while True:
            left = give_up(configured / 1000) - time.monotonic()
            connection.execute(f"PRAGMA busy_timeout = {max(0, min(_SLICE, round(left * 1000)))}")
            try:
                return step()
            except sqlite3.OperationalError as error:
                if not is_locked(error) or left <= _SLICE / 1000:
                    raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {configured}")


def is_locked(error: Exception) -> bool:
    """Whether another program had the lock, so that nothing else could have been written either."""
    return (
        isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    )
