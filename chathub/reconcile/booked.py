"""What the ledger says of a provider, by day of any time zone, API key and model."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal

from msgspec import Struct

from chathub.database.rows.api_keys import KeyName
from chathub.database.rows.ledger import QuarterHourSum
from chathub.database.transaction import Transaction
from chathub.errors import StartError
from chathub.reconcile.charges import Spending

_DAY = timedelta(days=1)
_QUARTER_SECONDS = 900


class Booked(Struct):
    """The ledger's sums for one day, API key and model. ``estimates`` are the requests whose usage the
    provider did not report or not whole, ``failures`` the attempts that used nothing."""

    usage: Spending
    estimates: int = 0
    estimated_cost: Decimal = Decimal(0)
    failures: int = 0

    def add(self, other: "Booked") -> None:
        self.usage.add(other.usage)
        self.estimates += other.estimates
        self.estimated_cost += other.estimated_cost
        self.failures += other.failures


class BookedAt(Struct, frozen=True, order=True):
    day: date
    key_id: int | None
    model: str


class Books(Struct, frozen=True):
    """What the ledger holds of some providers, the names of their API keys, and by model what its provider
    calls it, where that is another name."""

    sums: dict[BookedAt, Booked]
    keys: list[KeyName]
    called: dict[str, str]


def read_books(tx: Transaction, providers: Iterable[str], first: date, last: date, zone: tzinfo) -> Books:
    """The ledger from one day to another.

    Raises:
        StartError: there is no provider of such a name, or rows of this time are not in the ledger any more.
    """
    known = [row.slug for row in tx.all(tx.q.providers.list_all)]
    called = {row.model_name: row.upstream_name for row in tx.all(tx.q.models.list_all) if row.upstream_name}
    books = Books({}, [], called)
    for provider in providers:
        if provider not in known:
            raise StartError(
                f"there is no provider {provider!r} here: name the one that the file is of with --provider; "
                f"there are {', '.join(known)}"
            )
        books.keys.extend(tx.all(tx.q.api_keys.list_names, provider=provider))
        for row in _sums(tx, provider, first, last, zone):
            day = datetime.fromtimestamp(row.quarter * _QUARTER_SECONDS, UTC).astimezone(zone).date()
            place = BookedAt(day, row.key_id, row.model)
            if (before := books.sums.get(place)) is None:
                books.sums[place] = _booked(row)
            else:
                before.add(_booked(row))
    return books


def _sums(tx: Transaction, provider: str, first: date, last: date, zone: tzinfo) -> Iterator[QuarterHourSum]:
    # the sums have days of the configured time zone, which is a day off at most
    days = {"since": (first - _DAY).isoformat(), "until": (last + _DAY).isoformat()}
    (span,) = tx.all(tx.q.usage.get_span_of_provider, provider=provider, **days)
    _check_kept(tx, provider, first, last)
    times = {"since": _begin(first, zone), "until": _begin(last + _DAY, zone)}
    yield from tx.all(
        tx.q.ledger.sum_by_quarter_hour, provider=provider, first=span.first, last=span.last, **times
    )


def _check_kept(tx: Transaction, provider: str, first: date, last: date) -> None:
    days = {"since": first.isoformat(), "until": last.isoformat()}
    (span,) = tx.all(tx.q.usage.get_span_of_provider, provider=provider, **days)
    exported = tx.one(tx.q.old_rows.get_exported, name="ledger")
    if exported is not None and 0 < span.first <= exported.last_id:
        raise StartError(
            "rows of the ledger of these days went to a file (CHATHUB_LEDGER_DAYS): compare later days with "
            "--since"
        )


def _begin(day: date, zone: tzinfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp()) * 1000


def _booked(row: QuarterHourSum) -> Booked:
    usage = Spending(
        prompt=row.prompt_tokens,
        cached=row.cached_tokens,
        written=row.cache_write_tokens,
        completion=row.completion_tokens,
        cost=Decimal(row.cost) / 1_000_000,
        requests=row.requests,
    )
    return Booked(usage, row.estimates, Decimal(row.estimated_cost) / 1_000_000, row.attempts - row.requests)
