"""Rows of ``sql/queries/limits.sql``: the limits of subscriptions, users and access tokens.

``usage_limit`` is in tokens, ``cost_limit`` in millionths of money, both for a calendar month;
``storage_limit`` is in bytes.
"""

from typing import Any, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType, structs

from chathub.database.statements import Command, Row, Select, Statements


class OwnLimits(Row, frozen=True):
    """The limits that are stored with a user, an access token or a subscription. None: no limit of its own
    (a user then has that of its subscription)."""

    usage_limit: int | None
    cost_limit: int | None
    requests_per_minute: int | None
    replies_at_once: int | None


class AccountLimits(OwnLimits, frozen=True):
    """The limits that are stored with a user or a subscription. An access token has no limit of storage: what
    it stores is its user's."""

    storage_limit: int | None


class SubscriptionLimits(AccountLimits, frozen=True):
    """What a subscription allows users who have no limits of their own."""

    usage_limit: int
    name: str


class TokenLimits(OwnLimits, frozen=True):
    token_id: int


# of a user or an access token that has none of its own
NO_LIMITS = OwnLimits(usage_limit=None, cost_limit=None, requests_per_minute=None, replies_at_once=None)
NO_ACCOUNT_LIMITS = AccountLimits(**structs.asdict(NO_LIMITS), storage_limit=None)


class AppliedLimits(Row, frozen=True):
    """The limits that apply to a user: its own, else those of its subscription, which do not bound an
    administrator. ``usage_limit`` is what is shown, for an administrator as well. ``storage_used``: the bytes
    that it stores."""

    usage_limit: int
    most_cost: int | None
    requests_per_minute: int | None
    replies_at_once: int | None
    storage_limit: int | None
    storage_used: int
    user_id: int

    @property
    def cost_limit(self) -> int | None:
        return self.most_cost


class CostLimitFound(Row, frozen=True):
    found: int


class LimitsWithUsage(Row, frozen=True):
    """What a user or an access token may use in a month, has used and has reserved. Costs in millionths; a
    limit that is None bounds nothing. ``running`` counts the replies being generated. The storage is the
    user's."""

    owner: Literal["user", "token"]
    most_tokens: int | None
    most_cost: int | None
    requests_per_minute: int | None
    replies_at_once: int | None
    storage_limit: int | None
    storage_used: int
    is_active: bool
    used_tokens: int
    used_cost: int
    reserved_tokens: int
    reserved_cost: int
    running: int


L = TypeVar("L", bound=OwnLimits)


class LimitChanges(Struct, frozen=True, kw_only=True):
    """Limits to store, in the units of the rows; UNSET: the limit stays as it is."""

    usage_limit: int | None | UnsetType = UNSET
    cost_limit: int | None | UnsetType = UNSET
    requests_per_minute: int | None | UnsetType = UNSET
    replies_at_once: int | None | UnsetType = UNSET
    storage_limit: int | None | UnsetType = UNSET

    def applied_to(self, old: L) -> L:
        """The limits after these changes."""
        new: dict[str, Any] = {n: limit for n, limit in structs.asdict(self).items() if limit is not UNSET}
        return structs.replace(old, **new)


class Limits(Statements):
    list_of_subscriptions: Select[SubscriptionLimits]
    get_of_subscription: Select[SubscriptionLimits]
    update_of_subscription: Command
    get_of_user: Select[AppliedLimits]
    list_of_users: Select[AppliedLimits]
    get_own_of_user: Select[AccountLimits]
    update_of_user: Command
    list_of_tokens: Select[TokenLimits]
    update_of_token: Command
    find_cost_limit: Select[CostLimitFound]
    list_with_usage: Select[LimitsWithUsage]
