"""Section 9 of the API document: all data of the caller in one file."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.helpers import content_disposition_header

from chathub.app_keys import CALLER, CLOCK, DB, RESPONSE_MEMORY
from chathub.archive.archive import Archive
from chathub.archive.owner import Owner
from chathub.database.errors import DatabaseUnavailable
from chathub.handlers.http import actor, language_of
from chathub.handlers.response_writer import send_pieces
from chathub.limits.response_memory import MOST
from chathub.security import audit

# more than half of what a user's responses may take: one at a time, beside lists
_ROOM = MOST * 5 // 8


async def export(request: web.Request) -> web.StreamResponse:
    caller, clock, db = request[CALLER], request.app[CLOCK], request.app[DB]
    month, behind = clock.month(), clock.behind()
    owner = Owner(
        user_id=caller.id,
        jti=caller.jti,
        language=language_of(request),
        month=month,
        behind_since=behind.since if behind else None,
    )
    async with request.app[RESPONSE_MEMORY].room(caller.id, _ROOM):
        # without the entry if the database cannot be written: a full disk must not refuse the download
        with contextlib.suppress(DatabaseUnavailable):
            await db.write(audit.record, actor(request), "user.exported", month.now, f"user {caller.id}")
        headers = {
            "Content-Type": "application/zip",
            "Cache-Control": "no-store",
            "Content-Disposition": content_disposition_header(
                "attachment", filename=f"chathub-{month.today}.zip"
            ),
        }
        with contextlib.closing(Archive(owner)) as archive:
            return await send_pieces(request, _pieces(request, archive), headers)


async def _pieces(request: web.Request, archive: Archive) -> AsyncIterator[bytes]:
    db, user_id = request.app[DB], request[CALLER].id
    while (piece := await db.read_background(user_id, archive.step)) is not None:
        yield piece
