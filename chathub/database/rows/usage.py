"""Rows of ``sql/queries/usage.sql``: sums of the ledger. Costs are millionths."""

from chathub.database.statements import Row, Select, Statements


class Totals(Row, frozen=True):
    """What a user used in a period. ``counted_tokens`` is what counts against budgets of tokens; ``savings``
    is the cost without any cache, less the cost."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    counted_tokens: int
    cost: int
    savings: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class ModelTotals(Totals, frozen=True):
    model: str


class UsageSum(Row, frozen=True):
    """Rows of the ledger in a sum; ``name`` is the day, the model or the user."""

    name: str
    requests: int
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    counted_tokens: int
    cost: int
    savings: int


class DayCount(Row, frozen=True):
    days: int


class LedgerSpan(Row, frozen=True):
    """The first and the last id of some rows in the ledger."""

    first: int
    last: int


class Usage(Statements):
    count_days: Select[DayCount]
    totals_of_day: Select[Totals]
    totals_of_months: Select[Totals]
    by_model: Select[ModelTotals]
    sum_by_day: Select[UsageSum]
    sum_by_day_of_all: Select[UsageSum]
    sum_by: Select[UsageSum]
    list_spans: Select[LedgerSpan]
    list_spans_of_all: Select[LedgerSpan]
    get_span_of_provider: Select[LedgerSpan]
