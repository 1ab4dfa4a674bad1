"""Rows of the database as bodies that go out."""

from typing import Any, TypeVar

from msgspec import Struct

from chathub.database.statements import Row

S = TypeVar("S", bound=Struct)


def from_row(kind: type[S], row: Row, **values: Any) -> S:
    """A body of type ``kind``: ``values``, and for its other fields the row's fields of the same names."""
    fields = kind.__struct_fields__
    return kind(**{name: values[name] if name in values else getattr(row, name) for name in fields})
