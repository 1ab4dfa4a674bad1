"""The number of rows in each table, compared after a copy and after a migration that makes tables anew."""

import sqlite3
from functools import cache

from chathub.database.queries import Queries, sql_folder


@cache
def own_queries() -> Queries:
    """The statements of ``sql/queries``, for what works without an open ``Database``."""
    return Queries(sql_folder() / "queries")


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has: other programs' tables too, but not SQLite's own."""
    q = own_queries()
    return {
        table: connection.execute(q.schema.count_rows.replace("sqlite_schema", quoted(table))).fetchone()[0]
        for (table,) in connection.execute(q.schema.list_tables).fetchall()
    }


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'
