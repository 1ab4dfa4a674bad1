"""The report of a comparison: a table for people, or JSON for programs."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from chathub.reconcile.charges import Usage
from chathub.reconcile.comparison import Comparison, Line

_KINDS = ("prompt", "cached", "written", "completion")
_SHORT = {"prompt": "in", "cached": "cached", "written": "written", "completion": "out"}


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
    currency = heading.currency or "a currency that the file does not name"
    providers = ", ".join(heading.providers)
    yield f"{heading.file}: {heading.title}, in {currency}, beside the ledger of {providers}"
    rate = "" if heading.rate == 1 else f"; costs of the file are multiplied by {_plain(heading.rate)}"
    yield f"{comparison.first} to {comparison.last}, days of {comparison.zone}{rate}"
    yield ""
    yield from _table([*comparison.lines, comparison.total], comparison)
    yield ""
    yield from _sides(comparison)
    yield from (f"note: {note}" for note in comparison.notes)
    judged = "within" if heading.is_within(comparison) else "more than"
    yield (
        f"{_percent(comparison.deviation)} apart in {'cost' if comparison.is_of_cost else 'tokens'}, "
        f"{judged} the tolerance of {_plain(heading.tolerance)} %"
    )


def _sides(comparison: Comparison) -> Iterator[str]:
    """What stands on one side only, and what of the ledger is estimated."""
    for side, words in (("file", "only in the file"), ("ledger", "only in the ledger")):
        lines = [line for line in comparison.lines if line.found_in == side]
        if lines:
            cost = sum((line.difference or Decimal(0) for line in lines), Decimal(0))
            yield f"{words}: {_lines(len(lines))}, difference {_money(cost)}"
    booked = comparison.total.booked
    if booked is not None and booked.estimates:
        yield f"estimated in the ledger: {booked.estimates} requests, {_money(booked.estimated_cost)}"


def _lines(number: int) -> str:
    return "1 line" if number == 1 else f"{number} lines"


def _table(lines: Sequence[Line], comparison: Comparison) -> Iterator[str]:
    columns = [column for column in _COLUMNS if column.is_shown(comparison)]
    rows = [[column.cell(line) for column in columns] for line in lines]
    rows = [[column.title for column in columns], *rows]
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = [
            _pad(cell, width, is_left=column.is_left)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        yield "  ".join(padded).rstrip()


class _Column(Struct, frozen=True):
    title: str
    cell: Callable[[Line], str]
    is_shown: Callable[[Comparison], bool] = lambda _: True
    is_left: bool = False


def _token_column(side: str, kind: str) -> _Column:
    def cell(line: Line) -> str:
        count: int | None = getattr(_usage(line, side), kind)
        return "-" if count is None else f"{count:,}"

    def is_shown(comparison: Comparison) -> bool:
        # a column of nothing but zeros tells nothing
        total = comparison.total
        return any(getattr(_usage(total, each), kind) for each in ("charged", "booked")) and (
            getattr(_usage(total, side), kind) is not None
        )

    return _Column(f"{'provider' if side == 'charged' else 'ledger'} {_SHORT[kind]}", cell, is_shown)


def _usage(line: Line, side: str) -> Usage:
    if side == "charged":
        return line.charged or Usage()
    return line.booked.usage if line.booked else Usage()


def _cost(side: str) -> Callable[[Line], str]:
    return lambda line: _money(_usage(line, side).cost)


_COLUMNS = (
    _Column("day", lambda line: str(line.day) if line.day else "total", is_left=True),
    _Column("key", lambda line: _printable(line.key), lambda comparison: comparison.by_key, is_left=True),
    _Column(
        "model", lambda line: _printable(line.model), lambda comparison: comparison.by_model, is_left=True
    ),
    *(_token_column("charged", kind) for kind in _KINDS),
    _Column("provider cost", _cost("charged"), lambda comparison: comparison.is_of_cost),
    *(_token_column("booked", kind) for kind in _KINDS),
    _Column("ledger cost", _cost("booked")),
    _Column("difference", lambda line: _money(line.difference), lambda comparison: comparison.is_of_cost),
    _Column("%", lambda line: _percent(_part(line)), lambda comparison: comparison.is_of_cost),
    _Column("", lambda line: "" if line.found_in == "both" else f"only in the {line.found_in}", is_left=True),
)


def _part(line: Line) -> Decimal | None:
    """The difference in parts of what was charged."""
    charged = line.charged.cost if line.charged else None
    difference = line.difference
    return difference / abs(charged) if charged and difference is not None else None


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
        "rows": [_json_line(line) for line in comparison.lines],
        "total": _json_line(comparison.total),
        "estimated": {
            "requests": booked.estimates if booked else 0,
            "cost": _number(booked.estimated_cost) if booked else 0,
        },
        "deviation_percent": float(round(comparison.deviation * 100, 4)),
        "deviation_of": "cost" if comparison.is_of_cost else "tokens",
        "tolerance_percent": float(heading.tolerance),
        "is_within_tolerance": heading.is_within(comparison),
        "notes": comparison.notes,
    }


def _json_line(line: Line) -> dict[str, Any]:
    part = _part(line)
    return {
        "day": str(line.day) if line.day else None,
        "key": line.key or None,
        "model": line.model or None,
        "provider": _json_usage(line.charged),
        "ledger": _json_usage(line.booked.usage if line.booked else None),
        "difference": _number(line.difference),
        "difference_percent": None if part is None else float(round(part * 100, 4)),
        "found_in": line.found_in,
    }


def _json_usage(usage: Usage | None) -> dict[str, Any] | None:
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
