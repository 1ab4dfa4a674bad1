"""Bodies of ``/api/tokens``."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from chathub.clock import iso
from chathub.database.rows import personal_tokens as rows
from chathub.schemas.decode import Request
from chathub.schemas.fields import Name
from chathub.schemas.limits import CountLimit, MoneyLimit, TokenLimit, shown_limit
from chathub.schemas.money import money
from chathub.schemas.success import Success


class NewToken(Request):
    """POST /api/tokens; ``monthly_limit`` is tokens, ``cost_limit`` money in a calendar month."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    opens_api: bool | None = None
    allowed_models: Annotated[list[Name], Meta(max_length=200)] | None = None
    allowed_networks: Annotated[list[Name], Meta(max_length=50)] | None = None
    monthly_limit: TokenLimit | None = None
    cost_limit: MoneyLimit | None = None
    requests_per_minute: CountLimit | None = None
    replies_at_once: CountLimit | None = None


class AccessToken(Struct):
    """An access token without its secret: ``hint`` is its beginning and end. ``monthly_usage`` (tokens) and
    ``monthly_cost`` are of the current month; an empty list allows all."""

    id: int
    name: str
    hint: str
    opens_api: bool
    allowed_models: list[str]
    allowed_networks: list[str]
    monthly_limit: int | None
    monthly_usage: int
    cost_limit: float | None
    monthly_cost: float
    requests_per_minute: int | None
    replies_at_once: int | None
    expires_at: str | None
    last_used_at: str | None
    created_at: str

    @classmethod
    def of(cls, row: rows.AccessToken, last_used_at: int | None) -> "AccessToken":
        return cls(
            id=row.id,
            name=row.name,
            hint=row.hint,
            opens_api=row.opens_api,
            allowed_models=msgspec.json.decode(row.allowed_models, type=list[str]),
            allowed_networks=msgspec.json.decode(row.allowed_networks, type=list[str]),
            monthly_limit=row.monthly_limit,
            monthly_usage=row.used,
            cost_limit=shown_limit(row.cost_limit),
            monthly_cost=money(row.cost),
            requests_per_minute=row.requests_per_minute,
            replies_at_once=row.replies_at_once,
            expires_at=iso(row.expires_at) if row.expires_at else None,
            last_used_at=iso(last_used_at) if last_used_at else None,
            created_at=iso(row.created_at),
        )


class TokenCreated(Success, kw_only=True):
    """``token`` is the secret, which is shown this once."""

    token: str
    data: AccessToken
