"""What was used, attempt by attempt or in sums, out of the ledger."""

from collections.abc import AsyncIterator

import msgspec
from aiohttp import web
from msgspec import structs

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.billing import usage_table
from chathub.database.transaction import Transaction
from chathub.errors import Forbidden
from chathub.handlers.http import actor, query, raw
from chathub.handlers.response_writer import large, send_pieces
from chathub.schemas.usage import UsageFilter
from chathub.security.audit import record

_CSV = {
    "Content-Type": "text/csv; charset=utf-8",
    "Content-Disposition": 'attachment; filename="chathub-usage.csv"',
}


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
    yield usage_table.csv_head(filters)
    while True:
        lines, filters.before = await db.read_background(caller.id, usage_table.csv_page, filters)
        yield lines
        if filters.before is None:
            return


def _json(tx: Transaction, filters: UsageFilter) -> bytes:
    return msgspec.json.encode(usage_table.page(tx, filters, filters.limit))
