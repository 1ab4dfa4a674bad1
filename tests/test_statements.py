"""Rows as structs: what the columns of a statement become, and what is found out at the start."""

import sqlite3

import msgspec
import pytest

from chathub.database.migrations import migrate
from chathub.database.queries import sql_folder
from chathub.database.rows.models import Model
from chathub.database.statements import Command, QueryError, Row, Select, Statements


class Thing(Row, frozen=True):
    id: int
    name: str
    is_active: bool
    secret: bytes
    note: str | None
    price: float | None


class Things(Statements):
    get: Select[Thing]
    delete: Command


STATEMENT = "SELECT * FROM (VALUES (:id, :name, :is_active, :secret, :note, :price))"


def rows_of(**values: object) -> list[Thing]:
    """A row of SQLite's with these values, as a struct."""
    defaults = {"id": 1, "name": "n", "is_active": 1, "secret": b"", "note": None, "price": None}
    connection = sqlite3.connect(":memory:")
    try:
        return Select(STATEMENT, Thing).rows(connection.execute(STATEMENT, defaults | values).fetchall())
    finally:
        connection.close()


def test_integers_of_boolean_columns_become_booleans() -> None:
    assert rows_of(is_active=1)[0].is_active is True
    assert rows_of(is_active=0)[0].is_active is False


def test_null_becomes_none_and_texts_stay_as_they_are() -> None:
    assert rows_of()[0] == Thing(1, "n", True, b"", None, None)
    # these are the words that a lax conversion could take for something else
    for text in ("null", "true", "false", "0", "1", "1e3", ""):
        (row,) = rows_of(name=text, note=text)
        assert (row.name, row.note) == (text, text)


def test_bytes_stay_bytes() -> None:
    assert rows_of(secret=b"\x00\xff")[0].secret == b"\x00\xff"


@pytest.mark.parametrize(
    "wrong",
    [{"id": None}, {"name": None}, {"name": 5}, {"is_active": 2}, {"is_active": None}, {"note": 1}],
    ids=str,
)
def test_a_column_that_does_not_fit_its_field_raises(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        rows_of(**wrong)


def test_statements_have_the_type_that_their_file_of_rows_declares() -> None:
    things = Things("things", {"get": STATEMENT, "delete": "DELETE FROM things"})
    assert things.get.sql == STATEMENT and things.get.kind is Thing
    assert things.delete == "DELETE FROM things"


@pytest.mark.parametrize("texts", [{"get": STATEMENT}, {"get": STATEMENT, "delete": "-", "insert": "-"}])
def test_a_statement_that_only_one_side_names_is_refused(texts: dict[str, str]) -> None:
    with pytest.raises(QueryError, match="delete" if len(texts) == 1 else "insert"):
        Things("things", texts)


def test_defaults_of_a_model_are_those_of_its_columns() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, sql_folder() / "migrations")
    columns = connection.execute("SELECT name, dflt_value FROM pragma_table_info('models')")
    stored = {name: (default or "NULL").strip("'") for name, default in columns}
    connection.close()
    for field in msgspec.structs.fields(Model):
        if not field.required:
            value = int(field.default) if isinstance(field.default, bool) else field.default
            assert stored.pop(field.name) == ("NULL" if value is None else str(value)), field.name
    # no other column has a default
    assert set(stored.values()) == {"NULL"}
