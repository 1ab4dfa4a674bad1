"""Bodies of ``/api/subscriptions``, and the limits that users and access tokens have as well."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.database.rows import subscriptions as rows
from chathub.schemas.decode import Request
from chathub.schemas.money import millionths, money
from chathub.schemas.success import Success

SubscriptionName = Literal["free", "pro", "premium", "enterprise"]
TokenLimit = Annotated[int, Meta(ge=0, le=10**15)]
MoneyLimit = Annotated[float, Meta(ge=0, le=10**9)]
CountLimit = Annotated[int, Meta(ge=1, le=10**6)]


class SubscriptionChange(Request):
    """PUT /api/subscriptions/{name}: what its users may use unless they have limits of their own; null
    means no limit."""

    usage_limit: TokenLimit | UnsetType = UNSET
    cost_limit: MoneyLimit | None | UnsetType = UNSET
    requests_per_minute: CountLimit | None | UnsetType = UNSET
    replies_at_once: CountLimit | None | UnsetType = UNSET


class Subscription(Struct):
    """``usage_limit`` is tokens, ``cost_limit`` money in a calendar month."""

    name: str
    usage_limit: int
    cost_limit: float | None
    requests_per_minute: int | None
    replies_at_once: int | None

    @classmethod
    def of(cls, row: rows.Subscription) -> "Subscription":
        return cls(
            name=row.name,
            usage_limit=row.usage_limit,
            cost_limit=shown_limit(row.cost_limit),
            requests_per_minute=row.requests_per_minute,
            replies_at_once=row.replies_at_once,
        )


class SubscriptionList(Struct, kw_only=True):
    """GET /api/subscriptions."""

    success: Literal[True] = True
    data: list[Subscription]


class SubscriptionSaved(Success, kw_only=True):
    """What PUT /api/subscriptions/{name} gives."""

    data: Subscription


def stored_limit(limit: float | None) -> int | None:
    """A limit of money in millionths, as it is stored; None is no limit."""
    return None if limit is None else millionths(limit)


def shown_limit(limit: int | None) -> float | None:
    """A stored limit of money as the API shows it."""
    return None if limit is None else money(limit)
