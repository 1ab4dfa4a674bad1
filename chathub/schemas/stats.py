"""Bodies of ``/api/stats``: what the caller used. Costs are money; ``cached_savings`` is the cost without any
cache, less the cost."""

from msgspec import Struct

from chathub.database.rows.usage import ModelTotals, Totals
from chathub.schemas.budgets import Budget
from chathub.schemas.from_row import from_row
from chathub.schemas.limits import ShownStorage
from chathub.schemas.money import money


class PeriodUsage(Struct):
    """What was used in a period."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    counted_tokens: int
    cost: float
    cached_savings: float

    @classmethod
    def of(cls, row: Totals) -> "PeriodUsage":
        return from_row(cls, row, cost=money(row.cost), cached_savings=money(row.savings))


class ModelUsage(Struct):
    """What was used of a model since the account was made."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    counted_tokens: int
    cost: float
    cached_savings: float

    @classmethod
    def of(cls, row: ModelTotals) -> "ModelUsage":
        return from_row(cls, row, cost=money(row.cost), cached_savings=money(row.savings))


class StatsUser(Struct):
    """``api_key`` is the hint of the newest access token, or says that there is none."""

    username: str
    email: str
    subscription_type: str
    created_at: str
    api_key: str


class Stats(ShownStorage):
    """GET /api/stats. ``tokens_used``, ``total_cost`` and ``cached_savings`` are those of all time,
    ``monthly_usage`` and ``quota_limit`` the tokens of this month as budgets count them: one that was read
    from a provider's cache as ``cached_weight``. ``budget_warning`` is null while enough is left."""

    total_conversations: int
    total_messages: int
    tokens_used: int
    total_cost: float
    cached_savings: float
    days_active: int
    monthly_usage: int
    quota_limit: int
    usage_percentage: float
    cached_weight: float
    budgets: list[Budget]
    budget_warning: Budget | None
    today: PeriodUsage
    this_month: PeriodUsage
    by_model: list[ModelUsage]
    user: StatsUser
