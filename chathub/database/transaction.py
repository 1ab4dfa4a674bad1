"""Statements inside one transaction: a plain function ``fn(tx, …)`` runs whole in its connection's thread.

No other coroutine's statements can come in between, and a cancelled caller cannot leave it half done.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from chathub.database.lock_wait import Deadline, wait_for_lock
from chathub.database.queries import Queries
from chathub.database.statements import Command, R, Select

T = TypeVar("T")


class Transaction:
    """An open transaction, or several reads of one state; used in the connection's own thread only."""

    __slots__ = ("_connection", "q")

    def __init__(self, connection: sqlite3.Connection, q: Queries) -> None:
        self._connection = connection
        self.q = q

    def one(self, statement: Select[R], **values: Any) -> R | None:
        """The first row, or None."""
        return next(iter(self.all(statement, **values)), None)

    def all(self, statement: Select[R], **values: Any) -> list[R]:
        return fetch_rows(self._connection, statement, values)

    def run(self, command: Command, **values: Any) -> int:
        """Run a statement that gives no rows; gives the number of rows it changed."""
        return self._connection.execute(command, values).rowcount

    def many(self, command: Command, values: list[dict[str, Any]]) -> None:
        self._connection.executemany(command, values)

    def pragma(self, text: str) -> list[tuple[Any, ...]]:
        """Run a PRAGMA: SQLite's own figures and commands."""
        return self._connection.execute(f"PRAGMA {text}").fetchall()


def fetch_rows(connection: sqlite3.Connection, statement: Select[R], values: dict[str, Any]) -> list[R]:
    """The rows of one statement."""
    return statement.rows(connection.execute(statement.sql, values).fetchall())


def write(
    q: Queries,
    fn: Callable[..., T],
    args: Any,
    kwargs: Any,
    deadline: Deadline,
    connection: sqlite3.Connection,
) -> T:
    """Run ``fn(tx, …)`` between BEGIN IMMEDIATE and COMMIT; an exception rolls all of it back."""
    wait_for_lock(connection, deadline, partial(connection.execute, "BEGIN IMMEDIATE"))
    try:
        result = fn(Transaction(connection, q), *args, **kwargs)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    return result


def read(q: Queries, fn: Callable[..., T], args: Any, kwargs: Any, connection: sqlite3.Connection) -> T:
    """Run ``fn(tx, …)``, which only reads, on one state of the database."""
    connection.execute("BEGIN")
    try:
        return fn(Transaction(connection, q), *args, **kwargs)
    finally:
        connection.rollback()
