"""What a provider charged: the charges of an export, their sums, and the shapes that exports have."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from chathub.reconcile.rows import Row


class Spending(Struct):
    """Tokens and money. None: the source does not tell it.

    ``prompt`` counts all that was sent, with the tokens read from the cache (``cached``) and those written to
    it (``written``).
    """

    prompt: int | None = None
    cached: int | None = None
    written: int | None = None
    completion: int | None = None
    cost: Decimal | None = None
    requests: int | None = None

    def add(self, other: "Spending") -> None:
        self.prompt = _sum(self.prompt, other.prompt)
        self.cached = _sum(self.cached, other.cached)
        self.written = _sum(self.written, other.written)
        self.completion = _sum(self.completion, other.completion)
        self.requests = _sum(self.requests, other.requests)
        if other.cost is not None:
            self.cost = other.cost if self.cost is None else self.cost + other.cost


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


class Charge(Struct, frozen=True):
    """What one row of an export charges from ``begin`` on; ``end`` is None for a moment. A row of a time
    without use has an empty ``usage``.

    ``key`` are the names that the export gives the API key: its id, its name, or a masked part of it.
    """

    row: Row
    usage: Spending
    begin: datetime
    end: datetime | None = None
    key: tuple[str, ...] = ()
    model: str = ""
    currency: str = ""


class Shape(Struct, frozen=True):
    """One kind of export: a table that has all of ``fields`` is one. ``is_bill``: it tells money alone, which
    counts before what a table of usage says of it."""

    title: str
    provider: str
    fields: frozenset[str]
    read: Callable[[Iterable[Row]], Iterator[Charge]]
    is_bill: bool = False


def key_names(row: Row, *names: str) -> tuple[str, ...]:
    """The texts of the fields that name an API key, without the empty ones."""
    return tuple(dict.fromkeys(text for name in names if (text := row.text(name))))


def end_of(row: Row, name: str) -> datetime | None:
    """The end of a row's time: of the whole day where the field has a day alone; None: it is a moment."""
    return row.moment(name) + timedelta(days=1) if len(row.text(name)) <= 10 else None


def total(*counts: int | None) -> int | None:
    """The sum of what is told; None: nothing is."""
    told = [count for count in counts if count is not None]
    return sum(told) if told else None
