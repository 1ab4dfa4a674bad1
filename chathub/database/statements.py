"""Named statements: their SQL, and the structs of their rows."""

from typing import Any, Generic, NewType, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

# a statement that gives no rows
Command = NewType("Command", str)


class QueryError(Exception):
    """A query file is malformed, or does not agree with its file of rows."""


class Row(Struct, frozen=True, array_like=True):
    """A row of one statement. The fields stand in the order of the statement's columns, with their names."""


R = TypeVar("R", bound=Row)


class Select(Generic[R]):
    """A statement that gives rows: a SELECT, or one with a RETURNING clause."""

    __slots__ = ("_rows", "kind", "sql")

    def __init__(self, sql: str, kind: type[R]) -> None:
        self.sql = sql
        self.kind = kind
        self._rows: Any = list[kind]  # type: ignore[valid-type]

    def rows(self, tuples: list[tuple[Any, ...]]) -> list[R]:
        """Rows of SQLite as structs. SQLite has no booleans: 0 and 1 become ``False`` and ``True``.

        Raises:
            msgspec.ValidationError: a column does not fit its field.
        """
        rows: list[R] = msgspec.convert(tuples, self._rows, strict=False)
        return rows


class Statements:
    """The statements of one file, as attributes that a subclass declares: ``get: Select[Setting]`` gives
    rows, ``delete: Command`` none.

    Raises:
        QueryError: the file and the subclass do not name the same statements.
    """

    def __init__(self, file: str, texts: dict[str, str]) -> None:
        declared: dict[str, Any] = type(self).__annotations__
        if missing := set(declared) ^ set(texts):
            names = ", ".join(sorted(missing))
            raise QueryError(f"sql/queries/{file}.sql and its rows do not both name {names}")
        for name, kind in declared.items():
            is_select = get_origin(kind) is Select
            setattr(self, name, Select(texts[name], *get_args(kind)) if is_select else Command(texts[name]))
