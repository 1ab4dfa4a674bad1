"""Rows of ``sql/queries/throttles.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Attempts(Row, frozen=True):
    """The attempts counted under one limit for one subject; the two moments are in milliseconds."""

    attempts: int
    blocked_until: int
    forget_at: int


class Throttles(Statements):
    get: Select[Attempts]
    put: Command
    delete: Command
    delete_expired: Command
