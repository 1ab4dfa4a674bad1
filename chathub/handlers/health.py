"""Section 1 of the API document: whether the server is healthy, and whether it takes requests."""

from aiohttp import web
from msgspec import UNSET

from chathub.app_keys import BACKUPS, DB, DISK, RUNNING, SETTLEMENT_QUEUE
from chathub.clock import iso
from chathub.database.condition import State
from chathub.errors import Unavailable
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
# the same as an error
_UNREADY: dict[State, str] = {
    "read-only": "database_read_only",
    "full": "database_full",
    "locked": "database_locked",
    "damaged": "database_damaged",
    "missing": "database_missing",
}


async def check(request: web.Request) -> web.Response:
    """200 for as long as the server responds: a restart would not free a disk."""
    state = _state(request)
    code, last = _CODES.get(state), request.app[BACKUPS].last
    return json_response(
        health.Health(
            status="degraded" if code else "healthy",
            message=said(request, code or "health_ok"),
            database=state,
            last_backup=health.LastBackup(iso(last.at), last.ok) if last else UNSET,
        )
    )


async def ready(request: web.Request) -> web.Response:
    """200 while chats are accepted.

    Raises:
        Unavailable: the server ends, the database cannot be written, the disk is full, or too much waits to
            be stored.
    """
    request.app[RUNNING].check_open()
    if code := _UNREADY.get(_state(request)):
        raise Unavailable(code)
    request.app[SETTLEMENT_QUEUE].check()
    return json_response(health.Ready(message=said(request, "health_ready")))


def _state(request: web.Request) -> State:
    """The database's state; with too little free disk it is ``full``."""
    state = request.app[DB].condition.state
    return "full" if request.app[DISK].is_full and state in ("ok", "checking") else state
