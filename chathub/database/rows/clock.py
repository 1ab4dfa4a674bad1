"""Rows of ``sql/queries/clock.sql``."""

from chathub.database.statements import Row, Select, Statements


class Newest(Row, frozen=True):
    """A moment in Unix milliseconds; 0 in an empty database."""

    newest: int


class Clock(Statements):
    newest: Select[Newest]
