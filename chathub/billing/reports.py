"""Reports of the ledger, in single entries and in sums, at a cost that does not grow with the ledger.

Sums come from the tables of sums by day and by month. Single entries are found by their ids, which lie in the
spans that those tables name for each day.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chathub.billing import ledger
from chathub.clock import Month
from chathub.database.rows.ledger import LedgerEntry
from chathub.database.rows.limits import OwnLimits
from chathub.database.rows.personal_tokens import AccessToken
from chathub.database.rows.usage import UsageSum
from chathub.database.transaction import Transaction
from chathub.schemas.usage import UsageFilter

# before and after every day of the calendar, every month, and every id
_FIRST, _LAST = "", "9999-12-31"
_MOST = 2**63 - 1
# days that no row has
_NONE = ("1", "0")


class Parts(NamedTuple):
    """A period as the whole months in it, from ``first_month`` to before ``before_month``, and the days
    before and after them; ``("1", "0")`` where there are none."""

    first_month: str
    before_month: str
    head: tuple[str, str]
    tail: tuple[str, str]


def sums(tx: Transaction, filters: UsageFilter) -> list[UsageSum]:
    """The ledger in sums, by what ``group_by`` names."""
    first_user, last_user = (0, _MOST) if filters.user_id is None else (filters.user_id, filters.user_id)
    if filters.group_by == "day":
        statement = tx.q.usage.sum_by_day_of_all if filters.user_id is None else tx.q.usage.sum_by_day
        return tx.all(statement, user_id=filters.user_id, **_values(filters))
    period = parts(filters.since or _FIRST, filters.until or _LAST)
    return tx.all(
        tx.q.usage.sum_by,
        group_by=filters.group_by,
        first_user=first_user,
        last_user=last_user,
        first_month=period.first_month,
        before_month=period.before_month,
        head=period.head[0],
        head_end=period.head[1],
        tail=period.tail[0],
        tail_end=period.tail[1],
        **_values(filters),
    )


def attempts(tx: Transaction, filters: UsageFilter, limit: int) -> list[LedgerEntry]:
    """Entries of the ledger, the newest first, with ids below ``before``."""
    statement = tx.q.ledger.list_page_of_all if filters.user_id is None else tx.q.ledger.list_page
    values = {**_values(filters), "user_id": filters.user_id}
    before = filters.before or _MOST
    found: list[LedgerEntry] = []
    for first, last in _spans(tx, filters, before):
        more = limit - len(found)
        found += tx.all(statement, first=first, last=min(last, before - 1), limit=more, **values)
        if len(found) == limit:
            break
    return found


def _spans(tx: Transaction, filters: UsageFilter, before: int) -> Iterable[tuple[int, int]]:
    """The spans of ids in which matching entries lie; without a filter all ids."""
    names = ("since", "until", "token_id", "model", "provider")
    if all(getattr(filters, name) is None for name in names):
        return [(1, _MOST)]
    statement = tx.q.usage.list_spans_of_all if filters.user_id is None else tx.q.usage.list_spans
    rows = tx.all(statement, user_id=filters.user_id, before=before, **_values(filters))
    return joined((row.first, row.last) for row in rows)


def joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans in the order of their ends, the last one first, with adjacent and overlapping spans as one. The
    spans of two days overlap where the clock was set back."""
    low, high = 0, 0
    for first, last in spans:
        if last < low - 1:
            yield low, high
            high = 0
        low, high = (min(low, first), high) if high else (first, last)
    if high:
        yield low, high


def own_tokens(tx: Transaction, user_id: int, month: Month) -> list[tuple[AccessToken, OwnLimits]]:
    """A user's access tokens, with what they used in a month, and their limits."""
    month = ledger.in_force(tx, month)
    limits = {row.token_id: row for row in tx.all(tx.q.limits.list_of_tokens, user_id=user_id)}
    found = tx.all(tx.q.personal_tokens.list_own, user_id=user_id, month=month.name)
    return [(row, limits[row.id]) for row in found]


def parts(since: str, until: str) -> Parts:
    """The days from ``since`` to ``until``, both included. A month's name sorts before its days."""
    if since > until:
        return Parts(_LAST, _FIRST, _NONE, _NONE)
    starts_whole, ends_whole = since == _FIRST or since.endswith("-01"), _ends_month(until)
    first_month = since[:7] if starts_whole else since
    before_month = until if ends_whole else until[:7]
    if since[:7] == until[:7]:
        whole = starts_whole and ends_whole
        return Parts(first_month, before_month, _NONE if whole else (since, until), _NONE)
    head = _NONE if starts_whole else (since, f"{since[:7]}-31")
    tail = _NONE if ends_whole else (f"{until[:7]}-01", until)
    return Parts(first_month, before_month, head, tail)


def _ends_month(day: str) -> bool:
    year, month, number = map(int, day.split("-"))
    return number == monthrange(year, month)[1]


def _values(filters: UsageFilter) -> dict[str, str | int | None]:
    return {
        "since": filters.since or _FIRST,
        "until": filters.until or _LAST,
        "token_id": filters.token_id,
        "model": filters.model,
        "provider": filters.provider,
    }
