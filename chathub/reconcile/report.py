"""The report of a comparison: a table for people, or JSON for programs."""

import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from chathub.reconcile.charges import Spending
from chathub.reconcile.comparison import Comparison, Line

# the parts of a usage that are shown, by the name that the table gives them
_TOKENS = {"in": "prompt", "cached": "cached", "written": "written", "out": "completion"}


class Heading(Struct, frozen=True):
    """What the report says of the file before the table."""

    file: str
    title: str
    providers: list[str]
    currency: str
    rate: Decimal
    tolerance: Decimal

    def is_within(self, comparison: Comparison) -> bool:
        return comparison.deviation <= self.tolerance / 100


def report_lines(heading: Heading, comparison: Comparison) -> Iterator[str]:
    """The report line by line."""
    currency = f"in {heading.currency or 'a currency that it does not name'}"
    told = currency if comparison.is_of_cost else "tokens without cost"
    yield f"{heading.file}: {heading.title}, {told}, beside the ledger of {', '.join(heading.providers)}"
    rate = "" if heading.rate == 1 else f"; costs of the file are multiplied by {_plain(heading.rate)}"
    yield f"{comparison.first} to {comparison.last}, days of {comparison.zone}{rate}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield from _sides(comparison)
    yield from (f"note: {note}" for note in comparison.notes)
    judged = "within" if heading.is_within(comparison) else "more than"
    kind = "cost" if comparison.is_of_cost else "tokens"
    tolerance = f"the tolerance of {_plain(heading.tolerance)} %"
    yield f"{_percent(comparison.deviation)} apart in {kind}, {judged} {tolerance}"


def _sides(comparison: Comparison) -> Iterator[str]:
    """What stands on one side only, and what of the ledger is estimated."""
    for side in ("file", "ledger"):
        alone = [line for line in comparison.lines if line.found_in == side]
        if alone:
            apart = sum((comparison.difference(line) for line in alone), Decimal(0))
            lines = "1 line" if len(alone) == 1 else f"{len(alone)} lines"
            yield f"only in the {side}: {lines}, difference {_difference(apart, comparison)}"
    booked = comparison.total.booked
    if booked is not None and booked.estimates:
        requests = "1 request" if booked.estimates == 1 else f"{booked.estimates} requests"
        yield f"estimated in the ledger: {requests}, {_money(booked.estimated_cost)}"


def _table(comparison: Comparison) -> Iterator[str]:
    """The lines and their total; above the columns of each side stands whose they are."""
    names = ["day", *(["key"] if comparison.by_key else []), *(["model"] if comparison.by_model else [])]
    sides = [_columns(comparison, is_ledger=is_ledger) for is_ledger in (False, True)]
    columns = [*names, *sides[0], *sides[1], "difference", "%", ""]
    above = [""] * len(columns)
    for side, name in zip(sides, ("provider", "ledger"), strict=True):
        if side:
            above[len(names) if name == "provider" else len(names) + len(sides[0])] = name
    rows = [above, columns]
    rows += [_cells(line, names, sides, comparison) for line in [*comparison.lines, comparison.total]]
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    left = {*range(len(names)), len(columns) - 1}
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            _pad(cell, width, is_left=number in left) for number, (cell, width) in enumerate(cells)
        ).rstrip()


def _columns(comparison: Comparison, *, is_ledger: bool) -> list[str]:
    """The columns of one side: those that it tells, and kinds of tokens that are not all zero."""
    total = comparison.total
    both = [total.charged or Spending(), total.booked.usage if total.booked else Spending()]
    columns = [
        name
        for name, kind in _TOKENS.items()
        if any(getattr(usage, kind) for usage in both) and getattr(both[is_ledger], kind) is not None
    ]
    return [*columns, "cost"] if is_ledger or comparison.is_of_cost else columns


def _cells(
    line: Line, names: Sequence[str], sides: Sequence[Sequence[str]], comparison: Comparison
) -> list[str]:
    named = {"day": str(line.day) if line.day else "total", "key": line.key, "model": line.model}
    cells = [_printable(named[name]) for name in names]
    usages = (line.charged, line.booked.usage if line.booked else None)
    for columns, usage in zip(sides, usages, strict=True):
        cells += [_cell(usage or Spending(), column) for column in columns]
    cells += [_difference(comparison.difference(line), comparison), _percent(comparison.part(line))]
    return [*cells, "" if line.found_in == "both" else f"only in the {line.found_in}"]


def _cell(usage: Spending, column: str) -> str:
    if column == "cost":
        return _money(usage.cost)
    count: int | None = getattr(usage, _TOKENS[column])
    return "-" if count is None else f"{count:,}"


def _difference(amount: Decimal, comparison: Comparison) -> str:
    return _money(amount) if comparison.is_of_cost else f"{int(amount):,}"


def _money(amount: Decimal | None) -> str:
    return "-" if amount is None else f"{amount:,.6f}"


def _percent(part: Decimal | None) -> str:
    return "-" if part is None else f"{part * 100:.2f} %"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _printable(text: str) -> str:
    """A text of the file for a terminal: without characters that steer it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, is_left: bool) -> str:
    blanks = " " * (width - _width(text))
    return text + blanks if is_left else blanks + text


def report_json(heading: Heading, comparison: Comparison) -> dict[str, Any]:
    """The same as JSON; costs are numbers in the currency of ChatHub's prices."""
    booked = comparison.total.booked
    return {
        "file": heading.file,
        "export": heading.title,
        "providers": heading.providers,
        "currency": heading.currency or None,
        "rate": float(heading.rate),
        "timezone": str(comparison.zone),
        "since": str(comparison.first),
        "until": str(comparison.last),
        "compared": "cost" if comparison.is_of_cost else "tokens",
        "rows": [_json_line(line, comparison) for line in comparison.lines],
        "total": _json_line(comparison.total, comparison),
        "estimated": {
            "requests": booked.estimates if booked else 0,
            "cost": _number(booked.estimated_cost) if booked else 0,
        },
        "deviation_percent": float(round(comparison.deviation * 100, 4)),
        "tolerance_percent": float(heading.tolerance),
        "is_within_tolerance": heading.is_within(comparison),
        "notes": comparison.notes,
    }


def _json_line(line: Line, comparison: Comparison) -> dict[str, Any]:
    part = comparison.part(line)
    return {
        "day": str(line.day) if line.day else None,
        "key": line.key or None,
        "model": line.model or None,
        "provider": _json_usage(line.charged),
        "ledger": _json_usage(line.booked.usage if line.booked else None),
        "difference": _number(comparison.difference(line)),
        "difference_percent": None if part is None else float(round(part * 100, 4)),
        "found_in": line.found_in,
    }


def _json_usage(usage: Spending | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.written,
        "completion_tokens": usage.completion,
        "cost": _number(usage.cost),
        "requests": usage.requests,
    }


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(round(amount, 6))
