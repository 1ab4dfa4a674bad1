"""The number of rows in each table, compared after a copy and after a migration that makes tables anew."""

import sqlite3
from functools import cache

from chathub.database.queries import Queries, sql_folder
from chathub.database.rows.schema import RowCount
from chathub.database.statements import Select
from chathub.database.transaction import Transaction


@cache
def own_queries() -> Queries:
    """The statements of ``sql/queries``, for what works without an open ``Database``."""
    return Queries(sql_folder() / "queries")


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has: other programs' tables too, but not SQLite's own."""
    q = own_queries()
    tx, text = Transaction(connection, q), q.schema.count_rows.sql
    counts = {}
    for table in tx.all(q.schema.list_tables):
        statement = Select(text.replace("sqlite_schema", quoted(table.name)), RowCount)
        counts[table.name] = tx.all(statement)[0].count
    return counts


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'
