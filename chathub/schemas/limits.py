"""Limits as the API takes and shows them: fields of the bodies of users, subscriptions and access tokens.

``usage_limit`` is tokens, ``cost_limit`` money, both in a calendar month.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.database.rows import limits as rows
from chathub.schemas.decode import Request
from chathub.schemas.money import millionths, money

TokenLimit = Annotated[int, Meta(ge=0, le=10**15)]
MoneyLimit = Annotated[float, Meta(ge=0, le=10**9)]
CountLimit = Annotated[int, Meta(ge=1, le=10**6)]


class LimitFields(Request):
    """The limits that a request sets. Null: no limit of its own; absent: the limit stays as it is."""

    usage_limit: TokenLimit | None | UnsetType = UNSET
    cost_limit: MoneyLimit | None | UnsetType = UNSET
    requests_per_minute: CountLimit | None | UnsetType = UNSET
    replies_at_once: CountLimit | None | UnsetType = UNSET

    def limit_changes(self) -> rows.LimitChanges:
        """The limits as they are stored."""
        return rows.LimitChanges(
            usage_limit=self.usage_limit,
            cost_limit=UNSET if isinstance(self.cost_limit, UnsetType) else stored_limit(self.cost_limit),
            requests_per_minute=self.requests_per_minute,
            replies_at_once=self.replies_at_once,
        )


class ShownLimits(Struct, kw_only=True):
    """The limits in a response. They follow the fields that a subclass declares: fields that are keyword-only
    come after those that are not, and those of a base class before those of its subclass."""

    usage_limit: int
    cost_limit: float | None
    requests_per_minute: int | None
    replies_at_once: int | None


def shown_limits(limits: rows.SubscriptionLimits | rows.AppliedLimits) -> ShownLimits:
    return ShownLimits(
        usage_limit=limits.usage_limit,
        cost_limit=shown_limit(limits.cost_limit),
        requests_per_minute=limits.requests_per_minute,
        replies_at_once=limits.replies_at_once,
    )


def shown_limit(limit: int | None) -> float | None:
    """A stored limit of money as the API shows it; None is no limit."""
    return None if limit is None else money(limit)


def stored_limit(limit: float | None) -> int | None:
    """A limit of money in millionths, as it is stored; None is no limit."""
    return None if limit is None else millionths(limit)
