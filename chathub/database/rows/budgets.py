"""Rows of ``sql/queries/budgets.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements

# what a request of a program is for
GatewayKind = Literal[
    "completion", "embedding", "text", "image", "speech", "transcription", "rerank", "moderation"
]


class ReservationId(Row, frozen=True):
    id: int


class LeftReservation(Row, frozen=True):
    """A reservation that the last process left. ``kind`` is None where an older version made it; ``at`` is in
    milliseconds; ``unit`` has its attributes, and is empty where tokens are paid."""

    id: int
    user_id: int
    token_id: int | None
    message_id: int | None
    tokens: int
    kind: Literal["chat"] | GatewayKind | None
    provider: str
    model: str
    requested_model: str
    key_id: int | None
    prompt_tokens: int
    at: int
    unit: str
    units: int


class RequestCount(Row, frozen=True):
    requests: int


class Budgets(Statements):
    reserve: Select[ReservationId]
    release: Command
    list_left: Select[LeftReservation]
    release_all: Command
    count_request: Select[RequestCount]
