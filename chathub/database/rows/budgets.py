"""Rows of ``sql/queries/budgets.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements


class Limits(Row, frozen=True):
    """The budgets of a user or an access token in a month: limits (None: no limit), usage and reservations.
    Costs are millionths. ``running`` is the number of replies that are being generated."""

    owner: Literal["user", "token"]
    most_tokens: int | None
    most_cost: int | None
    requests_per_minute: int | None
    replies_at_once: int | None
    is_active: bool
    used_tokens: int
    used_cost: int
    reserved_tokens: int
    reserved_cost: int
    running: int


class ReservationId(Row, frozen=True):
    id: int


class RequestCount(Row, frozen=True):
    requests: int


class Budgets(Statements):
    list_limits: Select[Limits]
    reserve: Select[ReservationId]
    release: Command
    release_all: Command
    count_request: Select[RequestCount]
