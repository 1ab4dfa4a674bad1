"""Rows of ``sql/queries/schema.sql``."""

from chathub.database.statements import Row, Select, Statements


class SchemaObject(Row, frozen=True):
    """A table, index, trigger or view; ``sql`` is None for the index of a constraint."""

    type: str
    name: str
    sql: str | None


class Table(Row, frozen=True):
    name: str


class RowCount(Row, frozen=True):
    count: int


class Contents(Row, frozen=True):
    """A number for each of the tables that an operator thinks of: the newest id, or a count of rows."""

    users: int
    conversations: int
    messages: int
    api_keys: int


class Schema(Statements):
    list_objects: Select[SchemaObject]
    list_tables: Select[Table]
    count_rows: Select[RowCount]
    newest_ids: Select[Contents]
    count_newer: Select[Contents]
