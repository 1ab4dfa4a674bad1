"""Invitations to register: made, listed and withdrawn by administrators."""

from typing import Any

from aiohttp import web

from chathub.accounts import invites
from chathub.app_keys import CLOCK, DB
from chathub.clock import iso
from chathub.database.rows.invites import Invite
from chathub.handlers.http import actor, answer, body, done, row_id
from chathub.schemas.requests import NewInvite

_DAY = 86_400_000


async def list_all(request: web.Request) -> web.Response:
    db = request.app[DB]
    return answer([_shape(row) for row in await db.fetch_all(db.q.invites.list_all)])


async def create(request: web.Request) -> web.Response:
    wanted, clock = await body(request, NewInvite), request.app[CLOCK]
    now = clock.now()
    fields = {
        "note": (wanted.note or "").strip(),
        "subscription_type": wanted.subscription_type or "free",
        "max_uses": wanted.max_uses or 1,
        "expires_at": now + (wanted.expires_in_days or 7) * _DAY,
    }
    code = invites.new_code()
    row = await request.app[DB].write(invites.insert, code, fields, actor(request), now, clock.certain())
    return done("请立即保存邀请码，它不会再次显示", code=code, data=_shape(row))


async def delete(request: web.Request) -> web.Response:
    invite_id, now = row_id(request, "invite_id"), request.app[CLOCK].now()
    await request.app[DB].write(invites.delete, invite_id, actor(request), now)
    return done("邀请码已删除")


def _shape(row: Invite) -> dict[str, Any]:
    return {
        "id": row.id,
        "hint": row.hint,
        "note": row.note,
        "subscription_type": row.subscription_type,
        "max_uses": row.max_uses,
        "uses": row.uses,
        "created_by": row.created_by,
        "expires_at": iso(row.expires_at),
        "created_at": iso(row.created_at),
    }
