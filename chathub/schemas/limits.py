"""Limits as the API takes and shows them: fields of the bodies of users, subscriptions and access tokens.

``usage_limit`` (``monthly_limit`` of an access token) is tokens, ``cost_limit`` money, both in a calendar
month; ``storage_limit`` is bytes.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from chathub.database.rows import limits as rows
from chathub.schemas.decode import Request
from chathub.schemas.money import millionths, money

TokenLimit = Annotated[int, Meta(ge=0, le=10**15)]
MoneyLimit = Annotated[float, Meta(ge=0, le=10**9)]
CountLimit = Annotated[int, Meta(ge=1, le=10**6)]
StorageLimit = Annotated[int, Meta(ge=0, le=10**15)]


class _LimitFields(Request):
    """The limits that a request sets. Null: no limit of its own; absent: the limit stays as it is."""

    cost_limit: MoneyLimit | None | UnsetType = UNSET
    requests_per_minute: CountLimit | None | UnsetType = UNSET
    replies_at_once: CountLimit | None | UnsetType = UNSET

    def _changes(
        self, usage_limit: int | None | UnsetType, storage_limit: int | None | UnsetType = UNSET
    ) -> rows.LimitChanges:
        return rows.LimitChanges(
            usage_limit=usage_limit,
            storage_limit=storage_limit,
            cost_limit=_stored(self.cost_limit),
            requests_per_minute=self.requests_per_minute,
            replies_at_once=self.replies_at_once,
        )


class LimitFields(_LimitFields):
    """The limits that a request sets of a user or a subscription."""

    usage_limit: TokenLimit | None | UnsetType = UNSET
    storage_limit: StorageLimit | None | UnsetType = UNSET

    def limit_changes(self) -> rows.LimitChanges:
        """The limits as they are stored."""
        return self._changes(self.usage_limit, self.storage_limit)


class TokenLimitFields(_LimitFields):
    """The limits that a request sets of an access token."""

    monthly_limit: TokenLimit | None | UnsetType = UNSET

    def limit_changes(self) -> rows.LimitChanges:
        """The limits as they are stored."""
        return self._changes(self.monthly_limit)


class ShownLimits(Struct, kw_only=True):
    """The limits in a response; null is no limit. They follow the fields of a subclass: fields that are
    keyword-only come after those that are not, and among them those of the base class first."""

    usage_limit: int
    cost_limit: float | None
    requests_per_minute: int | None
    replies_at_once: int | None
    storage_limit: int | None


class ShownUserLimits(ShownLimits, kw_only=True):
    """The limits of a user in a response, with the bytes that it stores."""

    storage_used: int


class ShownStorage(Struct, kw_only=True):
    """The bytes that a user stores, and the limit of them (null: none)."""

    storage_used: int
    storage_limit: int | None


class MaybeStorage(Struct, kw_only=True):
    """The same in an error, where it is the reason."""

    storage_used: int | UnsetType = UNSET
    storage_limit: int | UnsetType = UNSET


def shown_limits(limits: rows.SubscriptionLimits | rows.AppliedLimits) -> ShownLimits:
    return ShownLimits(
        usage_limit=limits.usage_limit,
        cost_limit=_shown(limits.cost_limit),
        requests_per_minute=limits.requests_per_minute,
        replies_at_once=limits.replies_at_once,
        storage_limit=limits.storage_limit,
    )


def shown_user_limits(limits: rows.AppliedLimits) -> ShownUserLimits:
    return ShownUserLimits(**structs.asdict(shown_limits(limits)), storage_used=limits.storage_used)


def shown_storage(limits: rows.AppliedLimits) -> ShownStorage:
    return ShownStorage(storage_used=limits.storage_used, storage_limit=limits.storage_limit)


class ShownTokenLimits(Struct, kw_only=True):
    """The limits of an access token in a response; null is no limit but the user's. ``monthly_usage``, in
    tokens, and ``monthly_cost`` are of the current month. They follow the fields of a subclass as well."""

    monthly_limit: int | None
    monthly_usage: int
    cost_limit: float | None
    monthly_cost: float
    requests_per_minute: int | None
    replies_at_once: int | None


def shown_token_limits(limits: rows.OwnLimits, used: int, cost: int) -> ShownTokenLimits:
    """``used`` in tokens, ``cost`` in millionths: of the current month."""
    return ShownTokenLimits(
        monthly_limit=limits.usage_limit,
        monthly_usage=used,
        cost_limit=_shown(limits.cost_limit),
        monthly_cost=money(cost),
        requests_per_minute=limits.requests_per_minute,
        replies_at_once=limits.replies_at_once,
    )


def _shown(limit: int | None) -> float | None:
    """A stored limit of money as the API shows it; None is no limit."""
    return None if limit is None else money(limit)


def _stored(limit: float | None | UnsetType) -> int | None | UnsetType:
    """A limit of money in millionths, as it is stored; None is no limit."""
    return limit if limit is None or isinstance(limit, UnsetType) else millionths(limit)
