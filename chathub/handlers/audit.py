"""Section 12 of the API document: the audit log, which administrators read."""

from aiohttp import web

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.database.queries import Queries
from chathub.database.rows import audit as rows
from chathub.database.statements import Select
from chathub.errors import BadRequest
from chathub.handlers.http import json_response, query
from chathub.schemas.audit import AuditEntry, AuditFilter, AuditPage
from chathub.schemas.problems import field_name

# above every id
_NEWEST = 2**63 - 1


async def search(request: web.Request) -> web.Response:
    filters, db = query(request, AuditFilter), request.app[DB]
    found = await db.fetch_background(
        request[CALLER].id,
        _statement(db.q, filters),
        **_bounds(filters.event),
        actor_id=filters.actor_id,
        since=_moment(request, "since", filters.since),
        until=_moment(request, "until", filters.until, end=True),
        before=_NEWEST if filters.before is None else filters.before,
        limit=filters.limit,
    )
    next_before = found[-1].id if len(found) == filters.limit else None
    return json_response(AuditPage(data=[AuditEntry.of(row) for row in found], next_before=next_before))


def _statement(q: Queries, filters: AuditFilter) -> Select[rows.AuditEntry]:
    """The statement that finds the entries by an index."""
    if filters.actor_id is not None:
        return q.audit.list_page_of_actor
    return q.audit.list_page if filters.event is None else q.audit.list_page_of_events


def _bounds(event: str | None) -> dict[str, str | None]:
    """The first and the last event to show: one event, or all that begin so (``user.``)."""
    if event is None or not event.endswith("."):
        return {"first": event, "last": event}
    return {"first": event, "last": event[:-1] + "/"}


def _moment(request: web.Request, name: str, text: str | None, *, end: bool = False) -> int | None:
    try:
        return None if text is None else request.app[CLOCK].moment(text, end=end)
    except ValueError:
        raise BadRequest("date_invalid", where=field_name(name, "parameter")) from None
