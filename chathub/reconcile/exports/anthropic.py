"""Anthropic's exports.

- Usage: ``GET /v1/organizations/usage_report/messages``, buckets with results; as CSV from the Console's
  usage page. platform.claude.com/docs/en/api/admin/usage_report
- Cost: ``GET /v1/organizations/cost_report``, where ``amount`` is in cents; as CSV from the Console's cost
  page in dollars (``cost_usd``), with the models' display names.
  platform.claude.com/docs/en/api/admin/cost_report

Input tokens are told in parts: neither read nor written, read from the cache, written to it for five minutes
and for an hour. Days are UTC days. The API gives ids of API keys, the CSV files their names.
"""

from collections.abc import Iterable, Iterator

from chathub.reconcile.charges import Charge, Shape, Spending, end_of, key_names, total
from chathub.reconcile.rows import Row

_API_PARTS = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    ("cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"),
    "output_tokens",
)
_CSV_PARTS = (
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_read",
    # the first one is of before there were writes for an hour
    (
        "usage_input_tokens_cache_write",
        "usage_input_tokens_cache_write_5m",
        "usage_input_tokens_cache_write_1h",
    ),
    "usage_output_tokens",
)


def read_usage(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        end = row.moment("ending_at") if row.text("ending_at") else None
        key = key_names(row, "api_key_id")
        yield Charge(row, _usage(row, *_API_PARTS), row.moment("starting_at"), end, key, row.text("model"))


def read_usage_csv(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        usage = _usage(row, *_CSV_PARTS)
        key = key_names(row, "api_key", "api_key_id")
        begin = row.moment("usage_date_utc")
        yield Charge(row, usage, begin, end_of(row, "usage_date_utc"), key, row.text("model_version"))


def _usage(row: Row, fresh: str, read: str, written: tuple[str, ...], output: str) -> Spending:
    if not row.text(fresh):
        return Spending()
    cached, writes = row.count(read) or 0, total(*map(row.count, written)) or 0
    prompt = (row.count(fresh) or 0) + cached + writes
    return Spending(prompt, cached, writes, row.count(output) or 0)


def read_cost(rows: Iterable[Row]) -> Iterator[Charge]:
    """Cost by description, in cents. Not grouped by it, it is that of all models."""
    for row in rows:
        cents = row.amount("amount")
        yield Charge(
            row,
            Spending(cost=None if cents is None else cents / 100),
            row.moment("starting_at"),
            row.moment("ending_at") if row.text("ending_at") else None,
            (),
            row.text("model") or row.text("description"),
            row.text("currency").upper() or "USD",
        )


def read_cost_csv(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        usage = Spending(cost=row.amount("cost_usd"))
        key = key_names(row, "api_key_id", "api_key")
        begin, end = row.moment("usage_date_utc"), end_of(row, "usage_date_utc")
        yield Charge(row, usage, begin, end, key, row.text("model"), "USD")


SHAPES = (
    Shape("Anthropic usage", "anthropic", frozenset({"starting_at", "uncached_input_tokens"}), read_usage),
    Shape("Anthropic usage", "anthropic", frozenset({"usage_date_utc", _CSV_PARTS[0]}), read_usage_csv),
    Shape(
        "Anthropic cost",
        "anthropic",
        frozenset({"starting_at", "amount", "currency"}),
        read_cost,
        is_bill=True,
    ),
    Shape(
        "Anthropic cost",
        "anthropic",
        frozenset({"usage_date_utc", "token_type", "cost_usd"}),
        read_cost_csv,
        is_bill=True,
    ),
)
