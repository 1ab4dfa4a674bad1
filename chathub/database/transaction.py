"""Statements inside one transaction: a plain function ``fn(tx, …)`` runs whole in its connection's thread.

No other coroutine's statements can come in between, and a cancelled caller cannot leave it half done.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

from chathub.database.lock_wait import Deadline, wait_for_lock
from chathub.database.queries import Queries
from chathub.database.statements import R, Select

T = TypeVar("T")
Row = sqlite3.Row


class Transaction:
    """An open transaction, or several reads of one state; used in the connection's own thread only."""

    __slots__ = ("_connection", "q")

    def __init__(self, connection: sqlite3.Connection, q: Queries) -> None:
        self._connection = connection
        self.q = q

    @overload
    def one(self, statement: Select[R], **values: Any) -> R | None: ...
    @overload
    def one(self, statement: str, **values: Any) -> Row | None: ...
    def one(self, statement: Select[Any] | str, **values: Any) -> Any:
        """The first row, or None."""
        return next(iter(self.all(statement, **values)), None)

    @overload
    def all(self, statement: Select[R], **values: Any) -> list[R]: ...
    @overload
    def all(self, statement: str, **values: Any) -> list[Row]: ...
    def all(self, statement: Select[Any] | str, **values: Any) -> list[Any]:
        return fetch_rows(self._connection, statement, values)

    def run(self, sql: str, **values: Any) -> int:
        """Run a statement that returns no rows; gives the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def add(self, sql: str, **values: Any) -> int:
        """Insert one row; gives its id."""
        row_id = self._connection.execute(sql, values).lastrowid
        assert row_id is not None
        return row_id

    def many(self, sql: str, values: list[dict[str, Any]]) -> None:
        self._connection.executemany(sql, values)


def fetch_rows(
    connection: sqlite3.Connection, statement: Select[Any] | str, values: dict[str, Any]
) -> list[Any]:
    """The rows of one statement."""
    if isinstance(statement, str):
        return connection.execute(statement, values).fetchall()
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
