"""OpenAI's exports.

- Usage: ``GET /v1/organization/usage/completions`` (and ``/embeddings``), buckets with results; the same as
  CSV from platform.openai.com/usage, which writes counts as ``12.0`` and has a row without values for a day
  without use. platform.openai.com/docs/api-reference/usage
- Costs: ``GET /v1/organization/costs``, ``amount: {value, currency}`` and ``line_item``; the same as CSV with
  ``amount_value`` and ``amount_currency``. platform.openai.com/docs/api-reference/usage/costs

Days are UTC days. API keys have their ids (``key_…``).
"""

from collections.abc import Iterable, Iterator

from chathub.reconcile.charges import Charge, Shape, Spending, key_names, total
from chathub.reconcile.rows import Row


def read_usage(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        is_empty = not row.text("input_tokens")
        yield Charge(
            row,
            Spending()
            if is_empty
            else Spending(
                prompt=row.count("input_tokens"),
                cached=row.count("input_cached_tokens"),
                written=total(
                    row.count("input_cache_write_tokens"), row.count("input_cache_write_12h_tokens")
                ),
                completion=row.count("output_tokens") or 0,
                requests=row.count("num_model_requests"),
            ),
            row.moment("start_time"),
            row.moment("end_time") if row.text("end_time") else None,
            key_names(row, "api_key_id", "api_key_name"),
            row.text("model"),
        )


def read_costs(rows: Iterable[Row]) -> Iterator[Charge]:
    """Costs by line item: ``gpt-4o-2024-08-06, input``. Not grouped by it, they are those of all models."""
    for row in rows:
        name = "amount.value" if "amount.value" in row.fields else "amount_value"
        yield Charge(
            row,
            Spending(cost=row.amount(name)),
            row.moment("start_time"),
            row.moment("end_time") if row.text("end_time") else None,
            key_names(row, "api_key_id"),
            row.text("line_item").partition(", ")[0],
            (row.text("amount.currency") or row.text("amount_currency")).upper(),
        )


SHAPES = (
    Shape(
        "OpenAI usage", "openai", frozenset({"start_time", "input_tokens", "num_model_requests"}), read_usage
    ),
    Shape("OpenAI costs", "openai", frozenset({"start_time", "amount.value"}), read_costs, is_bill=True),
    Shape("OpenAI costs", "openai", frozenset({"start_time", "amount_value"}), read_costs, is_bill=True),
)
