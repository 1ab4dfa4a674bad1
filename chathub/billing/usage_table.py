"""The ledger as a table, page by page: as JSON, and as CSV for spreadsheets."""

import csv
import io
from typing import Any

from msgspec import structs

from chathub.billing import reports
from chathub.database.transaction import Transaction
from chathub.schemas import usage
from chathub.schemas.usage import UsageFilter

# rows of a download that are in memory at once
_PAGE = 1_000
# the beginnings of cells that a spreadsheet would run
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")


def page(tx: Transaction, filters: UsageFilter, limit: int) -> usage.UsagePage:
    """Attempts, the newest first, or sums."""
    if filters.group_by:
        totals = [usage.UsageTotal.of(row) for row in reports.sums(tx, filters)]
        return usage.UsagePage(data=totals, next_before=None)
    entries = [usage.UsageEntry.of(row) for row in reports.attempts(tx, filters, limit)]
    return usage.UsagePage(data=entries, next_before=entries[-1].id if len(entries) == limit else None)


def csv_head(filters: UsageFilter) -> bytes:
    """The first line, with the byte order mark that spreadsheets look for."""
    columns = (usage.UsageTotal if filters.group_by else usage.UsageEntry).__struct_fields__
    return b"\xef\xbb\xbf%b\r\n" % ",".join(columns).encode()


def csv_page(tx: Transaction, filters: UsageFilter) -> tuple[bytes, int | None]:
    """Some lines, and the ``before`` of the next ones."""
    found, out = page(tx, filters, _PAGE), io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in structs.astuple(row)] for row in found.data)
    return out.getvalue().encode(), found.next_before


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
