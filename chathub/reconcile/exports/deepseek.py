"""DeepSeek's export: a ZIP archive of two CSV files from platform.deepseek.com/usage.

- ``amount-….csv``: for each API key and model a row of each kind of token, with its price and its number.
- ``cost-….csv``: the money that was taken from the wallets, by model.

Older files have UTC days (``utc_date``), those since August 2026 days or hours with the offset of the time
zone that was chosen on the page (``start_time_iso``). API keys have a name and a masked part.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from chathub.reconcile.charges import Charge, Shape, Spending, key_names
from chathub.reconcile.rows import Row

# the types that are part of what was sent
_PROMPT = {"input_tokens", "prompt_tokens", "input_cache_miss_tokens", "input_cache_hit_tokens"}


def read_amounts(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        kind, amount, price = row.text("type"), row.amount("amount"), row.amount("price")
        cost = amount * price if amount is not None and price is not None else None
        usage = Spending(prompt=0, cached=0, completion=0, cost=cost, requests=0)
        if kind in _PROMPT:
            usage.prompt = row.count("amount")
        if kind == "input_cache_hit_tokens":
            usage.cached = row.count("amount")
        elif kind == "output_tokens":
            usage.completion = row.count("amount")
        elif kind == "request_count":
            usage.requests = row.count("amount")
        begin, end = _bounds(row)
        yield Charge(row, usage, begin, end, key_names(row, "api_key_name", "api_key"), row.text("model"))


def read_costs(rows: Iterable[Row]) -> Iterator[Charge]:
    for row in rows:
        usage = Spending(cost=row.amount("cost"))
        begin, end = _bounds(row)
        yield Charge(row, usage, begin, end, (), row.text("model"), row.text("currency").upper())


def _bounds(row: Row) -> tuple[datetime, datetime]:
    if "utc_date" in row.fields:
        begin = row.moment("utc_date")
        return begin, begin + timedelta(days=1)
    begin = row.moment("start_time_iso")
    return begin, row.moment("end_time_iso") if row.text("end_time_iso") else begin + timedelta(days=1)


SHAPES = tuple(
    Shape(
        f"DeepSeek {title}", "deepseek", frozenset({day, "model", *fields}), read, is_bill=read is read_costs
    )
    for day in ("utc_date", "start_time_iso")
    for title, fields, read in (
        ("amounts", ("type", "amount"), read_amounts),
        ("costs", ("cost", "currency"), read_costs),
    )
)
