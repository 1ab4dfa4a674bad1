"""What was used, attempt by attempt or in sums, out of the ledger."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web
from msgspec import structs

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.billing import reports
from chathub.database.transaction import Transaction
from chathub.errors import Forbidden
from chathub.handlers.http import actor, query, raw
from chathub.handlers.response_writer import large, send_pieces
from chathub.schemas import usage
from chathub.schemas.usage import UsageFilter
from chathub.security.audit import record

# rows of a download that are in memory at once
_PAGE = 1_000
_CSV = {
    "Content-Type": "text/csv; charset=utf-8",
    "Content-Disposition": 'attachment; filename="chathub-usage.csv"',
}
# the beginnings of cells that a spreadsheet would run
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")


@large
async def show(request: web.Request) -> web.StreamResponse:
    """Attempts, the newest first, or sums; those of other users for administrators only."""
    filters, caller = query(request, UsageFilter), request[CALLER]
    if not caller.administrates and filters.user_id not in (None, caller.id):
        raise Forbidden("usage_of_others")
    if not caller.administrates:
        filters.user_id = caller.id
    if filters.format == "csv":
        return await _download(request, filters)
    return raw(await request.app[DB].read_background(caller.id, _json, filters))


async def _download(request: web.Request, filters: UsageFilter) -> web.StreamResponse:
    """The same as a CSV file, page by page, with an entry in the audit."""
    now = request.app[CLOCK].now()
    given = {name: value for name, value in structs.asdict(filters).items() if value is not None}
    await request.app[DB].write(record, actor(request), "usage.exported", now, **given)
    return await send_pieces(request, _table(request, filters), _CSV)


async def _table(request: web.Request, filters: UsageFilter) -> AsyncIterator[bytes]:
    db, caller = request.app[DB], request[CALLER]
    columns = (usage.UsageTotal if filters.group_by else usage.UsageEntry).__struct_fields__
    # the byte order mark that spreadsheets look for
    yield b"\xef\xbb\xbf%b\r\n" % ",".join(columns).encode()
    while True:
        lines, filters.before = await db.read_background(caller.id, _csv_page, filters)
        yield lines
        if filters.before is None:
            return


def _json(tx: Transaction, filters: UsageFilter) -> bytes:
    return msgspec.json.encode(_page(tx, filters, filters.limit))


def _csv_page(tx: Transaction, filters: UsageFilter) -> tuple[bytes, int | None]:
    """Some lines of a download, and the ``before`` of the next ones."""
    page, out = _page(tx, filters, _PAGE), io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in structs.astuple(row)] for row in page.data)
    return out.getvalue().encode(), page.next_before


def _page(tx: Transaction, filters: UsageFilter, limit: int) -> usage.UsagePage:
    if filters.group_by:
        totals = [usage.UsageTotal.of(row) for row in reports.sums(tx, filters)]
        return usage.UsagePage(data=totals, next_before=None)
    entries = [usage.UsageEntry.of(row) for row in reports.attempts(tx, filters, limit)]
    return usage.UsagePage(data=entries, next_before=entries[-1].id if len(entries) == limit else None)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
