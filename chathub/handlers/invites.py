"""Section 4 of the API document: invite codes, which administrators make, list and delete."""

from aiohttp import web

from chathub.accounts import invites
from chathub.app_keys import CLOCK, DB
from chathub.handlers.http import actor, body, done, json_response, row_id, said
from chathub.schemas.invites import Invite, InviteCreated, NewInvite


async def list_all(request: web.Request) -> web.Response:
    db = request.app[DB]
    return json_response([Invite.of(row) for row in await db.fetch_all(db.q.invites.list_all)])


async def create(request: web.Request) -> web.Response:
    new, clock = await body(request, NewInvite), request.app[CLOCK]
    now = clock.now()
    invite, code = invites.fields_of(new, now), invites.new_code()
    row = await request.app[DB].write(invites.insert, code, invite, actor(request), now, clock.certain())
    return json_response(
        InviteCreated(message=said(request, "invite_created"), code=code, data=Invite.of(row))
    )


async def delete(request: web.Request) -> web.Response:
    invite_id, now = row_id(request, "invite_id"), request.app[CLOCK].now()
    await request.app[DB].write(invites.delete, invite_id, actor(request), now)
    return done(request, "invite_deleted")
