"""The tables whose old rows go to a file: what is old, and how it is read and deleted."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import NamedTuple

from chathub.database.rows.old_rows import Moment, OldAuditEntry, OldLedgerEntry
from chathub.database.transaction import Transaction

# rows that one read and one write takes, and those of one file
_ROWS, _DELETED, _FILE = 1000, 200, 50_000

OldRow = OldAuditEntry | OldLedgerEntry


class Span(NamedTuple):
    """The ids of rows that go to one file together, and the moment of the last one (milliseconds)."""

    first: int
    last: int
    at: int


class Table(NamedTuple):
    """``moments`` and ``rows`` give at most so many rows behind an id, in the order of ids; ``delete``
    deletes some rows that were exported."""

    name: str
    moments: Callable[[Transaction, int, int], Sequence[Moment]]
    rows: Callable[[Transaction, int, int, int], Sequence[OldRow]]
    delete: Callable[[Transaction, int], int]


AUDIT = Table(
    "audit",
    lambda tx, after, most: tx.all(tx.q.old_rows.list_audit_moments, after=after, most=most),
    lambda tx, after, last, most: tx.all(tx.q.old_rows.list_audit, after=after, last=last, most=most),
    lambda tx, most: tx.run(tx.q.old_rows.delete_audit, most=most),
)
LEDGER = Table(
    "ledger",
    lambda tx, after, most: tx.all(tx.q.old_rows.list_ledger_moments, after=after, most=most),
    lambda tx, after, last, most: tx.all(tx.q.old_rows.list_ledger, after=after, last=last, most=most),
    lambda tx, most: tx.run(tx.q.old_rows.delete_ledger, most=most),
)


def month_begin(milliseconds: int, zone: tzinfo) -> int:
    """The beginning of the month of a moment: rows go month by month, so that there are few files."""
    moment = datetime.fromtimestamp(milliseconds / 1000, zone)
    return int(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)


def find_old(tx: Transaction, table: Table, before: int, certain: int) -> Span | None:
    """The oldest rows, up to the last one from before a moment. The newest row of all stays.

    The order is that of the ids. A row stamped after ``certain`` (``Clock.certain``) is from when the clock
    ran ahead: it goes with the old rows behind it.
    """
    first, count = 0, 0
    found: Moment | None = None
    for row, _ in pairwise(_moments(tx, table)):
        if before <= row.at <= certain or count == _FILE:
            break
        first, count = first or row.id, count + 1
        if row.at < before:
            found = row
    return Span(first, found.id, found.at) if found else None


def _moments(tx: Transaction, table: Table) -> Iterator[Moment]:
    after = 0
    while rows := table.moments(tx, after, _ROWS):
        yield from rows
        after = rows[-1].id


def list_rows(tx: Transaction, table: Table, after: int, last: int) -> Sequence[OldRow]:
    """Some rows behind an id, up to another one."""
    return table.rows(tx, after, last, _ROWS)


def mark_exported(tx: Transaction, table: Table, last: int) -> None:
    """Let rows be deleted up to an id: they are on the disk in a file."""
    tx.run(tx.q.old_rows.mark_exported, name=table.name, last_id=last)


def delete_exported(tx: Transaction, table: Table) -> int:
    """Delete some of the rows that may be deleted; gives how many."""
    return table.delete(tx, _DELETED)
