"""Bodies of ``/api/usage``. Costs are money, prices money per 1,000 tokens.

``counted_tokens`` count against budgets of tokens; ``cached_savings`` is the cost without any cache, less the
cost.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from chathub.clock import iso
from chathub.database.rows.ledger import LedgerEntry
from chathub.database.rows.usage import UsageSum
from chathub.errors import BadRequest
from chathub.schemas.decode import Request
from chathub.schemas.fields import RowId
from chathub.schemas.from_row import from_row
from chathub.schemas.models import ModelName
from chathub.schemas.money import money, money_per_1k, money_per_unit
from chathub.schemas.problems import field_name

Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]


class UsageFilter(Request):
    """The query of GET /api/usage; days are ``2024-01-31`` in the configured zone, both included."""

    since: Day | None = None
    until: Day | None = None
    model: ModelName | None = None
    provider: ModelName | None = None
    user_id: RowId | None = None
    token_id: RowId | None = None
    group_by: Literal["day", "model", "user"] | None = None
    format: Literal["json", "csv"] = "json"
    before: RowId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        for name, day in (("since", self.since), ("until", self.until)):
            try:
                date.fromisoformat(day or "2000-01-01")
            except ValueError:
                raise BadRequest("date_invalid", where=field_name(name, "parameter")) from None


class UsageTotal(Struct):
    """Attempts in a sum; ``name`` is the day, the model or the user that ``group_by`` names."""

    name: str
    requests: int
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    total_tokens: int
    counted_tokens: int
    cost: float
    cached_savings: float

    @classmethod
    def of(cls, row: UsageSum) -> "UsageTotal":
        total = row.prompt_tokens + row.completion_tokens
        return from_row(cls, row, total_tokens=total, cost=money(row.cost), cached_savings=money(row.savings))


class UsageEntry(Struct):
    """An attempt. ``conversation_id`` is the public one; ``http_status`` is 0 where nothing failed;
    ``requested_model`` is empty where it is the model's own name, ``unit`` where it was paid by tokens."""

    id: int
    at: str
    day: str
    kind: str
    user_id: int
    username: str
    token_id: int | None
    key_id: int | None
    provider: str
    model: str
    conversation_id: str | None
    message_id: int | None
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    counted_tokens: int
    usage_source: str
    input_price_per_1k: float
    cached_price_per_1k: float
    cache_write_price_per_1k: float
    cache_write_1h_price_per_1k: float
    output_price_per_1k: float
    cost: float
    cached_savings: float
    first_token_ms: int | None
    duration_ms: int
    end_reason: str
    http_status: int
    requested_model: str
    unit: str
    units: int
    price_per_unit: float

    @classmethod
    def of(cls, row: LedgerEntry) -> "UsageEntry":
        return from_row(
            cls,
            row,
            at=iso(row.at),
            input_price_per_1k=money_per_1k(row.input_price),
            cached_price_per_1k=money_per_1k(row.cached_price),
            cache_write_price_per_1k=money_per_1k(row.cache_write_price),
            cache_write_1h_price_per_1k=money_per_1k(row.cache_write_1h_price),
            output_price_per_1k=money_per_1k(row.output_price),
            price_per_unit=money_per_unit(row.unit_price),
            cost=money(row.cost),
            cached_savings=money(row.savings),
        )


class UsagePage(Struct, kw_only=True):
    """GET /api/usage: attempts, the newest first, or sums. ``next_before`` is the ``before`` of the next
    page of attempts, or null."""

    success: Literal[True] = True
    data: list[UsageEntry] | list[UsageTotal]
    next_before: int | None
