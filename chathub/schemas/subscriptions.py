"""Bodies of ``/api/subscriptions``."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, structs

from chathub.database.rows.limits import SubscriptionLimits
from chathub.schemas.limits import LimitFields, ShownLimits, TokenLimit, shown_limits
from chathub.schemas.success import Success

SubscriptionName = Literal["free", "pro", "premium", "enterprise"]


class SubscriptionChange(LimitFields):
    """PUT /api/subscriptions/{name}: what its users may use unless they have limits of their own; null
    means no limit, which the limit of tokens cannot be."""

    usage_limit: TokenLimit | UnsetType = UNSET


class Subscription(ShownLimits):
    name: str

    @classmethod
    def of(cls, row: SubscriptionLimits) -> "Subscription":
        return cls(row.name, **structs.asdict(shown_limits(row)))


class SubscriptionList(Struct, kw_only=True):
    """GET /api/subscriptions."""

    success: Literal[True] = True
    data: list[Subscription]


class SubscriptionSaved(Success, kw_only=True):
    """What PUT /api/subscriptions/{name} gives."""

    data: Subscription
