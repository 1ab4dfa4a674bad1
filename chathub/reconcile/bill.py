"""A provider's bill: the charges of one or more exports, summed by day, API key and model."""

from collections.abc import Iterable
from contextlib import closing
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, field

from chathub.errors import StartError
from chathub.reconcile.charges import Charge, Shape, Spending
from chathub.reconcile.files import Table, digest_of, reading_errors, tables_in
from chathub.reconcile.shapes import shape_of

# money below a millionth is rounding
_NOTHING = Decimal("0.000001")
_UNUSED = Spending()


class Place(Struct, frozen=True, order=True):
    """What is summed: a day, an API key by its names in the export, and a model; both are empty where
    they are not told."""

    day: date
    key: tuple[str, ...] = ()
    model: str = ""


class Bill(Struct):
    """Sums of charges. ``zone`` is that of the days; ``currency`` is empty where no file tells it."""

    zone: tzinfo | None = None
    currency: str = ""
    providers: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    sums: dict[Place, Spending] = field(default_factory=dict)
    # also those without any charge
    days: set[date] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def has_cost(self) -> bool:
        return any(usage.cost is not None for usage in self.sums.values())

    @property
    def has_keys(self) -> bool:
        return any(place.key for place in self.sums)

    @property
    def has_models(self) -> bool:
        return any(place.model for place in self.sums)

    def add(self, place: Place, usage: Spending) -> None:
        self.sums.setdefault(place, Spending()).add(usage)

    def kept(self, first: date, last: date) -> dict[Place, Spending]:
        """The sums of a time."""
        return {place: usage for place, usage in self.sums.items() if first <= place.day <= last}


def read_bill(paths: Iterable[Path], zone: tzinfo | None) -> Bill:
    """The bill in some files; ``zone`` is that of the days, None: the one that the files have.

    Raises:
        StartError: a file is no known export or given twice, or two do not go together.
    """
    usages, bills = Bill(zone), Bill(zone)
    shapes: list[Shape] = []
    digests: dict[bytes, str] = {}
    for path in paths:
        digest = digest_of(path)
        if digest in digests:
            raise StartError(f"{digests[digest]} and {path.name} are the same file: give one of them")
        digests[digest] = path.name
        with closing(tables_in(path)) as tables:
            for table in tables:
                shape = shape_of(table)
                _check_fit(shapes, shape)
                shapes.append(shape)
                into, other = (bills, usages) if shape.is_bill else (usages, bills)
                _read_table(into, table, shape)
                other.zone = into.zone
    whole = _combined(usages, bills)
    whole.providers = list(dict.fromkeys(shape.provider for shape in shapes))
    whole.titles = list(dict.fromkeys(shape.title for shape in shapes))
    if not whole.sums:
        raise StartError("there is no charge in the file")
    return whole


def _check_fit(before: list[Shape], shape: Shape) -> None:
    for other in before:
        if other.provider != shape.provider:
            raise StartError(f"{other.title} and {shape.title} are of two providers: compare them one by one")
        if other.title != shape.title and other.is_bill == shape.is_bill:
            raise StartError(f"{other.title} and {shape.title} tell the same twice: give one of them")


def _read_table(bill: Bill, table: Table, shape: Shape) -> None:
    last: Charge | None = None
    with reading_errors(table.name):
        for charge in shape.read(table.rows):
            bill.zone = bill.zone or charge.begin.tzinfo
            day = _day(charge, bill.zone)
            bill.days.add(day)
            if charge.usage != _UNUSED:
                bill.add(Place(day, charge.key, charge.model), charge.usage)
            if charge.currency and charge.currency != bill.currency:
                if bill.currency:
                    currencies = f"{bill.currency} and {charge.currency}"
                    raise StartError(f"{charge.row.place}: costs in {currencies} cannot be compared at once")
                bill.currency = charge.currency
            last = charge
    if last is not None and last.row.fields.get("has_more") is True:
        bill.notes.append(f"{table.name} is one page of an answer that has more (has_more)")


def _day(charge: Charge, zone: tzinfo | None) -> date:
    """The day of a charge. A bucket of a whole day must be a day of the zone."""
    begin, length = charge.begin.astimezone(zone), (charge.end or charge.begin) - charge.begin
    # days on which clocks are changed have 23 or 25 hours
    if length > timedelta(hours=25):
        raise StartError(f"{charge.row.place} is of more than a day: export it by day")
    if length >= timedelta(hours=23) and (begin.hour or begin.minute):
        raise StartError(
            f"{charge.row.place} is no day of the time zone {zone}: name its own with --timezone"
        )
    return begin.date()


def _combined(usages: Bill, bills: Bill) -> Bill:
    """One bill of both. What tables of money charge beyond the cost in tables of usage is added, without an
    API key: so the sums are always those of the money."""
    if not usages.sums:
        return bills
    told: dict[Place, Decimal] = {}
    for place, usage in usages.sums.items():
        rough = Place(place.day, (), place.model)
        told[rough] = told.get(rough, Decimal(0)) + (usage.cost or 0)
    has_cost = usages.has_cost
    if bills.sums and not has_cost:
        # money without API keys beside tokens by API key: neither would be comparable
        usages.sums = _without_keys(usages.sums)
    for place, usage in bills.sums.items():
        rough = Place(place.day, (), place.model)
        rest = (usage.cost or Decimal(0)) - told.get(rough, Decimal(0))
        told[rough] = Decimal(0)
        if abs(rest) >= _NOTHING or not has_cost:
            usages.add(rough, Spending(cost=rest))
    usages.currency = bills.currency or usages.currency
    usages.days |= bills.days
    usages.notes += bills.notes
    return usages


def _without_keys(sums: dict[Place, Spending]) -> dict[Place, Spending]:
    bill = Bill()
    for place, usage in sums.items():
        bill.add(Place(place.day, (), place.model), usage)
    return bill.sums
