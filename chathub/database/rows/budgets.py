"""Rows of ``sql/queries/budgets.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class ReservationId(Row, frozen=True):
    id: int


class RequestCount(Row, frozen=True):
    requests: int


class Budgets(Statements):
    reserve: Select[ReservationId]
    release: Command
    release_all: Command
    count_request: Select[RequestCount]
