"""Section 1 of the API document: whether the server is healthy."""

from aiohttp import web
from msgspec import UNSET

from chathub.app_keys import BACKUPS, DB, DISK
from chathub.clock import iso
from chathub.database.condition import State
from chathub.handlers.http import json_response, said
from chathub.schemas import health

# what lasts; a request that fails because of it gets another sentence (``database/condition.py``)
_CODES: dict[State, str] = {
    "read-only": "health_read_only",
    "full": "health_disk_full",
    "locked": "health_locked",
    "damaged": "health_damaged",
    "missing": "health_missing",
}


async def check(request: web.Request) -> web.Response:
    """200 for as long as the server responds: a restart would not free a disk."""
    state = request.app[DB].condition.state
    if request.app[DISK].is_full and state in ("ok", "checking"):
        state = "full"
    code, last = _CODES.get(state), request.app[BACKUPS].last
    return json_response(
        health.Health(
            status="degraded" if code else "healthy",
            message=said(request, code or "health_ok"),
            database=state,
            last_backup=health.LastBackup(iso(last.at), last.ok) if last else UNSET,
        )
    )
