"""A bill beside the ledger: lines by day, API key and model, and how far they differ."""

from collections.abc import Iterable
from datetime import date, tzinfo
from decimal import Decimal

from msgspec import Struct, field

from chathub.reconcile.bill import Bill, Place
from chathub.reconcile.booked import Booked, BookedAt, Books
from chathub.reconcile.charges import Spending
from chathub.reconcile.names import ModelGroups, group_models, match_keys, shown_name


class Line(Struct):
    """What the provider charged for a day, API key and model, and what the ledger says; None: nothing at all.

    ``key`` and ``model`` are empty where the bill does not tell them apart.
    """

    day: date | None
    key: str
    model: str
    charged: Spending | None = None
    booked: Booked | None = None

    @property
    def found_in(self) -> str:
        if self.charged is None:
            return "ledger"
        return "file" if self.booked is None else "both"

    def compared(self, is_of_cost: bool) -> list[tuple[Decimal, Decimal]]:
        """What is compared, the provider's and the ledger's: the cost, or the tokens. Those of the cache are
        compared for themselves where the bill tells them."""
        mine, theirs = self.charged or Spending(), self.booked.usage if self.booked else Spending()
        if is_of_cost:
            return [(mine.cost or Decimal(0), theirs.cost or Decimal(0))]
        kinds = [kind for kind in ("cached", "written") if getattr(mine, kind) is not None]
        return list(zip(_tokens(mine, kinds), _tokens(theirs, kinds), strict=True))

    def charge(self, usage: Spending) -> None:
        if self.charged is None:
            self.charged = Spending()
        self.charged.add(usage)

    def book(self, booked: Booked) -> None:
        if self.booked is None:
            self.booked = Booked(Spending())
        self.booked.add(booked)


def _tokens(usage: Spending, kinds: Iterable[str]) -> list[Decimal]:
    """The tokens of some kinds of the cache, the other ones of the prompt, and those of the completion."""
    cache = [Decimal(getattr(usage, kind) or 0) for kind in kinds]
    return [*cache, (usage.prompt or 0) - sum(cache, Decimal(0)), Decimal(usage.completion or 0)]


class Comparison(Struct):
    """All lines. ``deviation`` is the sum of the differences of each API key and model over all days, without
    regard to their signs, in parts of what was charged. It is of the cost, or of the tokens where the bill
    tells no cost."""

    zone: tzinfo
    first: date
    last: date
    lines: list[Line]
    total: Line
    deviation: Decimal
    by_key: bool
    by_model: bool
    is_of_cost: bool
    notes: list[str] = field(default_factory=list)

    def difference(self, line: Line) -> Decimal:
        """What the provider charged more than the ledger says, in cost or in tokens."""
        return sum((mine - theirs for mine, theirs in line.compared(self.is_of_cost)), Decimal(0))

    def part(self, line: Line) -> Decimal | None:
        """The difference in parts of what was charged; None: nothing was."""
        charged = sum((mine for mine, _ in line.compared(self.is_of_cost)), Decimal(0))
        return self.difference(line) / abs(charged) if charged else None


def compare(bill: Bill, books: Books, first: date, last: date, zone: tzinfo) -> Comparison:
    """Put a bill beside the ledger."""
    charges = bill.kept(first, last)
    keys = match_keys({place.key for place in charges if place.key}, books.keys)
    by_key, by_model = bool(keys), bill.has_models
    groups = group_models(
        {place.model for place in charges if place.model}, {at.model for at in books.sums}, books.called
    )
    names = _Names(groups, keys, {key.id: key.label for key in books.keys}, by_key, by_model)
    lines: dict[tuple[date, str, int], Line] = {}
    for place, usage in sorted(charges.items()):
        found = (place.day, names.key_of_bill(place), names.group_of_bill(place))
        lines.setdefault(found, Line(place.day, found[1], names.model(found[2]))).charge(usage)
    for at, booked in books.sums.items():
        found = (at.day, names.key_of_ledger(at), names.group_of_ledger(at))
        lines.setdefault(found, Line(at.day, found[1], names.model(found[2]))).book(booked)
    ordered = [
        lines[found] for found in sorted(lines, key=lambda found: (found[0], found[1], lines[found].model))
    ]
    return Comparison(
        zone,
        first,
        last,
        ordered,
        _total(ordered),
        _deviation(ordered, bill.has_cost),
        by_key,
        by_model,
        bill.has_cost,
        _notes(bill, ordered, names, {place.key for place in charges}, {at.key_id for at in books.sums}),
    )


class _Names(Struct, frozen=True):
    """How lines name API keys and models; both are left out where the bill has none that match."""

    groups: ModelGroups
    keys: dict[int, tuple[str, ...]]
    labels: dict[int, str]
    by_key: bool
    by_model: bool

    def key_of_bill(self, place: Place) -> str:
        return self._key(place.key) if self.by_key else ""

    def key_of_ledger(self, at: BookedAt) -> str:
        if not self.by_key:
            return ""
        if at.key_id is None:
            return "-"
        if names := self.keys.get(at.key_id):
            return self._key(names)
        return self.label(at.key_id)

    def label(self, key_id: int) -> str:
        return self.labels.get(key_id) or f"#{key_id}"

    def _key(self, names: tuple[str, ...]) -> str:
        if not names:
            return "-"
        labels = sorted({self.label(key_id) for key_id, theirs in self.keys.items() if theirs == names})
        return ", ".join(labels) or shown_name(names)

    def group_of_bill(self, place: Place) -> int:
        return self.groups.of_export.get(place.model, -1) if self.by_model else -1

    def group_of_ledger(self, at: BookedAt) -> int:
        return self.groups.of_ledger[at.model] if self.by_model else -1

    def model(self, group: int) -> str:
        """The ledger's names of a group, and the provider's where they are others."""
        own = [name for name, number in self.groups.of_ledger.items() if number == group]
        theirs = [
            name for name, number in self.groups.of_export.items() if number == group and name not in own
        ]
        return " = ".join(", ".join(names) for names in (own, theirs) if names)


def _total(lines: Iterable[Line]) -> Line:
    total = Line(None, "", "")
    for line in lines:
        if line.charged is not None:
            total.charge(line.charged)
        if line.booked is not None:
            total.book(line.booked)
    return total


def _deviation(lines: Iterable[Line], is_of_cost: bool) -> Decimal:
    over_days: dict[tuple[str, str], Line] = {}
    for line in lines:
        whole = over_days.setdefault((line.key, line.model), Line(None, line.key, line.model))
        if line.charged is not None:
            whole.charge(line.charged)
        if line.booked is not None:
            whole.book(line.booked)
    pairs = [pair for line in over_days.values() for pair in line.compared(is_of_cost)]
    apart = sum((abs(mine - theirs) for mine, theirs in pairs), Decimal(0))
    charged = sum((abs(mine) for mine, _ in pairs), Decimal(0))
    if not charged:
        return Decimal(1) if apart else Decimal(0)
    return apart / charged


def _notes(
    bill: Bill, lines: list[Line], names: _Names, charged: set[tuple[str, ...]], booked: set[int | None]
) -> list[str]:
    notes = list(bill.notes)
    if bill.has_keys and not names.by_key:
        notes.append(
            "no API key here has the label or the ends of one in the file: the sums over all are compared"
        )
    theirs = sorted(shown_name(key) for key in charged if key and key not in names.keys.values())
    own = sorted(names.label(key) for key in booked if key is not None and key not in names.keys)
    if names.by_key and theirs and own:
        notes.append(
            f"API keys of the file ({', '.join(theirs)}) and of the ledger ({', '.join(own)}) may be the "
            "same: those are matched whose label is their name at the provider"
        )
    if failures := sum(line.booked.failures for line in lines if line.booked):
        notes.append(f"attempts in the ledger that used nothing, which a provider may charge: {failures}")
    return notes
