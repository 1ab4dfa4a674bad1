"""Rows of ``sql/queries/budgets.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements


class Limits(Row, frozen=True):
    """What a user or an access token may use in a month, has used and has reserved. Costs in millionths; a
    limit that is None bounds nothing. ``running`` counts the replies being generated."""

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
