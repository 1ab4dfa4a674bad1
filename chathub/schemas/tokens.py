"""Bodies of ``/api/tokens``."""

from typing import Annotated

import msgspec
from msgspec import Meta, structs

from chathub.clock import iso
from chathub.database.rows import personal_tokens as rows
from chathub.database.rows.limits import OwnLimits
from chathub.schemas.fields import Name
from chathub.schemas.limits import ShownTokenLimits, TokenLimitFields, shown_token_limits
from chathub.schemas.success import Success


class NewToken(TokenLimitFields, kw_only=True):
    """POST /api/tokens."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    opens_api: bool | None = None
    allowed_models: Annotated[list[Name], Meta(max_length=200)] | None = None
    allowed_networks: Annotated[list[Name], Meta(max_length=50)] | None = None


class _TokenStart(ShownTokenLimits):
    """The fields of ``AccessToken`` before its limits."""

    id: int
    name: str
    hint: str
    opens_api: bool
    allowed_models: list[str]
    allowed_networks: list[str]


class AccessToken(_TokenStart, kw_only=True):
    """An access token without its secret: ``hint`` is its beginning and end. An empty list allows all."""

    expires_at: str | None
    last_used_at: str | None
    created_at: str

    @classmethod
    def of(cls, row: rows.AccessToken, limits: OwnLimits, last_used_at: int | None) -> "AccessToken":
        return cls(
            id=row.id,
            name=row.name,
            hint=row.hint,
            opens_api=row.opens_api,
            allowed_models=msgspec.json.decode(row.allowed_models, type=list[str]),
            allowed_networks=msgspec.json.decode(row.allowed_networks, type=list[str]),
            **structs.asdict(shown_token_limits(limits, row.used, row.cost)),
            expires_at=iso(row.expires_at) if row.expires_at else None,
            last_used_at=iso(last_used_at) if last_used_at else None,
            created_at=iso(row.created_at),
        )


class TokenCreated(Success, kw_only=True):
    """``token`` is the secret, which is shown this once."""

    token: str
    data: AccessToken
