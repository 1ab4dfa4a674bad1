"""Reads the ledger, in single rows and in sums, at a cost that does not grow with it.

Sums come from the tables of sums by day and by month. Single rows are found by an index, between the rows
that those tables name for the days that hold some.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from chathub.database.transaction import Row, Transaction
from chathub.schemas.requests import UsageFilter

# before and after every day of the calendar, every month, and every id
_FIRST, _LAST = "", "9999-12-31"
_MOST = 2**63 - 1
# days that no row has
_NONE = ("1", "0")


class Parts(NamedTuple):
    """A stretch of days as the whole months in it, from ``first_month`` to before ``before_month``, and the
    days before and after them; ``("1", "0")`` where there are none."""

    first_month: str
    before_month: str
    head: tuple[str, str]
    tail: tuple[str, str]


def sums(tx: Transaction, wanted: UsageFilter) -> list[Row]:
    """Rows of the ledger in sums, by what ``group_by`` names."""
    first_user, last_user = (0, _MOST) if wanted.user_id is None else (wanted.user_id, wanted.user_id)
    if wanted.group_by == "day":
        sql = tx.q.usage.sum_by_day_of_all if wanted.user_id is None else tx.q.usage.sum_by_day
        return tx.all(sql, user_id=wanted.user_id, **_filters(wanted))
    stretch = parts(wanted.since or _FIRST, wanted.until or _LAST)
    return tx.all(
        tx.q.usage.sum_by,
        group_by=wanted.group_by,
        first_user=first_user,
        last_user=last_user,
        first_month=stretch.first_month,
        before_month=stretch.before_month,
        head=stretch.head[0],
        head_end=stretch.head[1],
        tail=stretch.tail[0],
        tail_end=stretch.tail[1],
        **_filters(wanted),
    )


def attempts(tx: Transaction, wanted: UsageFilter, limit: int) -> list[Row]:
    """Rows of the ledger, newest first, from before ``before`` on."""
    sql = tx.q.ledger.list_page_of_all if wanted.user_id is None else tx.q.ledger.list_page
    filters = {**_filters(wanted), "user_id": wanted.user_id}
    before = wanted.before or _MOST
    found: list[Row] = []
    for first, last in _spans(tx, wanted, before):
        more = limit - len(found)
        found += tx.all(sql, first=first, last=min(last, before - 1), limit=more, **filters)
        if len(found) == limit:
            break
    return found


def _spans(tx: Transaction, wanted: UsageFilter, before: int) -> Iterable[tuple[int, int]]:
    """Between which ids the wanted rows lie: without a filter anywhere."""
    names = ("since", "until", "token_id", "model", "provider")
    if all(getattr(wanted, name) is None for name in names):
        return [(1, _MOST)]
    sql = tx.q.usage.list_spans_of_all if wanted.user_id is None else tx.q.usage.list_spans
    rows = tx.all(sql, user_id=wanted.user_id, before=before, **_filters(wanted))
    return joined((row["first"], row["last"]) for row in rows)


def joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans, ordered by their ends from the last one down, with those that touch each other as one. The spans
    of two days cross where the clock was set back."""
    low, high = 0, 0
    for first, last in spans:
        if last < low - 1:
            yield low, high
            high = 0
        low, high = (min(low, first), high) if high else (first, last)
    if high:
        yield low, high


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


def _filters(wanted: UsageFilter) -> dict[str, Any]:
    return {
        "since": wanted.since or _FIRST,
        "until": wanted.until or _LAST,
        "token_id": wanted.token_id,
        "model": wanted.model,
        "provider": wanted.provider,
    }
