"""The audit, for administrators to read; nothing else can be done with it."""

from typing import Any

import msgspec
from aiohttp import web

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.clock import iso
from chathub.database.queries import Queries
from chathub.database.rows.audit import AuditEntry
from chathub.database.statements import Select
from chathub.errors import BadRequest
from chathub.handlers.http import answer, query
from chathub.schemas.requests import AuditFilter

# above every id
_NEWEST = 2**63 - 1


async def search(request: web.Request) -> web.Response:
    wanted, db = query(request, AuditFilter), request.app[DB]
    rows = await db.fetch_background(
        request[CALLER].id,
        _statement(db.q, wanted),
        **_bounds(wanted.event),
        actor_id=wanted.actor_id,
        since=_moment(request, "since", wanted.since),
        until=_moment(request, "until", wanted.until, end=True),
        before=_NEWEST if wanted.before is None else wanted.before,
        limit=wanted.limit,
    )
    further = rows[-1].id if len(rows) == wanted.limit else None
    return answer({"success": True, "data": [_shape(row) for row in rows], "next_before": further})


def _statement(q: Queries, wanted: AuditFilter) -> Select[AuditEntry]:
    """The one that finds its rows by an index for what is wanted."""
    if wanted.actor_id is not None:
        return q.audit.list_page_of_actor
    return q.audit.list_page if wanted.event is None else q.audit.list_page_of_events


def _bounds(event: str | None) -> dict[str, str | None]:
    """First and last of the events that are wanted: one, or all that begin so (``user.``)."""
    if event is None or not event.endswith("."):
        return {"first": event, "last": event}
    return {"first": event, "last": event[:-1] + "/"}


def _moment(request: web.Request, name: str, text: str | None, *, end: bool = False) -> int | None:
    try:
        return None if text is None else request.app[CLOCK].moment(text, end=end)
    except ValueError:
        raise BadRequest(f"参数 {name} 不是有效的日期或时间") from None


def _shape(row: AuditEntry) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": iso(row.at),
        "event": row.event,
        "actor": {"id": row.actor_id, "username": row.actor},
        "target": row.target,
        "address": row.address,
        "request_id": row.request_id,
        "details": msgspec.Raw(row.details.encode()),
    }
