"""OpenRouter's exports, in US dollars and UTC days.

- Activity by day and endpoint: ``GET /api/v1/activity``, and as CSV from openrouter.ai/activity with the
  columns ``Date``, ``Slug``, ``Usage`` and so on.
  openrouter.ai/docs/api/api-reference/analytics/get-user-activity
- Activity by request: the CSV with a ``generation_id`` in each row.
  openrouter.ai/docs/guides/guides/activity-export

Reasoning is part of the completion tokens. What a key of one's own cost at the provider behind OpenRouter
(``byok_usage_inference``) is not charged by OpenRouter, and does not count.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from chathub.reconcile.charges import Charge, Shape, Spending, key_names
from chathub.reconcile.rows import Row

_DAY = timedelta(days=1)


def read_activity(rows: Iterable[Row]) -> Iterator[Charge]:
    """Rows of days: the names of the JSON have ``_`` where those of the CSV have a blank."""
    for row in rows:
        space = "_" if "prompt_tokens" in row.fields else " "
        begin = row.moment("date")
        yield Charge(
            row,
            Spending(
                prompt=row.count(f"prompt{space}tokens"),
                completion=row.count(f"completion{space}tokens"),
                cost=row.amount("usage"),
                requests=row.count("requests"),
            ),
            begin,
            begin + _DAY,
            (),
            row.text("model") or row.text("slug"),
            "USD",
        )


def read_generations(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        usage = Spending(
            prompt=row.count("tokens_prompt"),
            cached=row.count("tokens_cached"),
            completion=row.count("tokens_completion"),
            cost=row.amount("cost_total"),
            requests=1,
        )
        variant = row.text("variant")
        model = row.text("model_permaslug") + (f":{variant}" if variant not in ("", "standard") else "")
        yield Charge(row, usage, row.moment("created_at"), None, key_names(row, "api_key_name"), model, "USD")


SHAPES = (
    Shape(
        "OpenRouter activity",
        "openrouter",
        frozenset({"date", "model", "usage", "prompt_tokens"}),
        read_activity,
    ),
    Shape("OpenRouter activity", "openrouter", frozenset({"date", "slug", "usage"}), read_activity),
    Shape(
        "OpenRouter requests",
        "openrouter",
        frozenset({"generation_id", "created_at", "cost_total"}),
        read_generations,
    ),
)
