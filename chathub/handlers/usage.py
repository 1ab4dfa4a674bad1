"""What was used, attempt by attempt, out of the ledger."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import web

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.billing import reports
from chathub.clock import iso
from chathub.database.transaction import Row, Transaction
from chathub.errors import Forbidden
from chathub.handlers.http import actor, query, raw
from chathub.handlers.response_writer import large, send_pieces
from chathub.schemas import responses
from chathub.schemas.requests import UsageFilter
from chathub.security.audit import record

# rows of a download that are in memory at once
_PAGE = 1_000
_CSV = {
    "Content-Type": "text/csv; charset=utf-8",
    "Content-Disposition": 'attachment; filename="chathub-usage.csv"',
}
_SUMS = ("requests", "attempts", "prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
_ATTEMPT = (
    "id",
    "at",
    "day",
    "kind",
    "user_id",
    "username",
    "token_id",
    "key_id",
    "provider",
    "model",
    "conversation_id",
    "message_id",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "usage_source",
    "input_price_per_1k",
    "output_price_per_1k",
    "cost",
    "first_token_ms",
    "duration_ms",
    "end_reason",
    "http_status",
)
# what a cell begins with that a spreadsheet would run
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")


@large
async def show(request: web.Request) -> web.StreamResponse:
    """Single attempts, newest first, or sums; others' and everybody's for administrators only."""
    wanted, caller = query(request, UsageFilter), request[CALLER]
    if not caller.administrates and wanted.user_id not in (None, caller.id):
        raise Forbidden("不能查看其他用户的用量")
    if not caller.administrates:
        wanted.user_id = caller.id
    if wanted.format == "csv":
        return await _download(request, wanted)
    return raw(await request.app[DB].read_background(caller.id, _page, wanted))


async def _download(request: web.Request, wanted: UsageFilter) -> web.StreamResponse:
    """The same as a CSV file, page by page; that it was taken is in the audit."""
    now = request.app[CLOCK].now()
    filters = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    await request.app[DB].write(record, actor(request), "usage.exported", now, **filters)
    return await send_pieces(request, _table(request, wanted), _CSV)


async def _table(request: web.Request, wanted: UsageFilter) -> AsyncIterator[bytes]:
    db, caller = request.app[DB], request[CALLER]
    names = ("name", *_SUMS, "total_tokens", "cost") if wanted.group_by else _ATTEMPT
    # the mark that spreadsheets look for
    yield b"\xef\xbb\xbf%b\r\n" % ",".join(names).encode()
    while True:
        lines, wanted.before = await db.read_background(caller.id, _csv_page, names, wanted)
        yield lines
        if wanted.before is None:
            return


def _page(tx: Transaction, wanted: UsageFilter) -> bytes:
    """What was asked for, as JSON."""
    rows = _rows(tx, wanted, wanted.limit)
    shown = [_shape(row, wanted) for row in rows]
    before = _next_before(rows, wanted, wanted.limit)
    return msgspec.json.encode({"success": True, "data": shown, "next_before": before})


def _csv_page(tx: Transaction, names: tuple[str, ...], wanted: UsageFilter) -> tuple[bytes, int | None]:
    """Some lines of a download, and ``before`` of those that follow."""
    rows = _rows(tx, wanted, _PAGE)
    return _csv(names, [_shape(row, wanted) for row in rows]), _next_before(rows, wanted, _PAGE)


def _next_before(rows: list[Row], wanted: UsageFilter, limit: int) -> int | None:
    return rows[-1]["id"] if not wanted.group_by and len(rows) == limit else None


def _shape(row: Row, wanted: UsageFilter) -> dict[str, Any]:
    return _sum(row) if wanted.group_by else _attempt(row)


def _rows(tx: Transaction, wanted: UsageFilter, limit: int) -> list[Row]:
    return reports.sums(tx, wanted) if wanted.group_by else reports.attempts(tx, wanted, limit)


def _sum(row: Row) -> dict[str, Any]:
    total = row["prompt_tokens"] + row["completion_tokens"]
    return {
        "name": row["name"],
        **{name: row[name] for name in _SUMS},
        "total_tokens": total,
        "cost": responses.money(row["cost"]),
    }


def _attempt(row: Row) -> dict[str, Any]:
    told = {
        "at": iso(row["at"]),
        "input_price_per_1k": responses.money(row["input_price"]),
        "output_price_per_1k": responses.money(row["output_price"]),
        "cost": responses.money(row["cost"]),
    }
    return {name: told[name] if name in told else row[name] for name in _ATTEMPT}


def _csv(names: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(row[name]) for name in names] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
