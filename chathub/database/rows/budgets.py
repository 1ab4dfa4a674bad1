"""Rows of ``sql/queries/budgets.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements


class ReservationId(Row, frozen=True):
    id: int


class LeftReservation(Row, frozen=True):
    """A reservation that the last process left. ``kind`` is None where an older version made it; ``at`` is in
    milliseconds; prices are None for a model that is not in the table."""

    id: int
    user_id: int
    token_id: int | None
    message_id: int | None
    tokens: int
    kind: Literal["chat", "completion", "embedding"] | None
    provider: str
    model: str
    requested_model: str
    key_id: int | None
    prompt_tokens: int
    at: int
    input_price: int | None
    cached_price: int | None
    cache_write_price: int | None
    cache_write_1h_price: int | None
    output_price: int | None


class RequestCount(Row, frozen=True):
    requests: int


class Budgets(Statements):
    reserve: Select[ReservationId]
    release: Command
    list_left: Select[LeftReservation]
    release_all: Command
    count_request: Select[RequestCount]
