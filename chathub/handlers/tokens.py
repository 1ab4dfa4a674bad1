"""Access tokens of the caller: shown once when they are made, then only as a hint."""

from aiohttp import web

from chathub.accounts import access_tokens
from chathub.app_keys import CALLER, CLOCK, DB, LAST_USES, SESSIONS
from chathub.billing import reports
from chathub.handlers.http import actor, body, done, json_response, row_id, said
from chathub.schemas.tokens import AccessToken, NewToken, TokenCreated


async def list_own(request: web.Request) -> web.Response:
    found = await request.app[DB].read(reports.own_tokens, request[CALLER].id, request.app[CLOCK].month())
    last_uses = request.app[LAST_USES]
    return json_response(
        [AccessToken.of(row, limits, last_uses.of_token(row.id, row.last_used_at)) for row, limits in found]
    )


async def create(request: web.Request) -> web.Response:
    new, now = await body(request, NewToken), request.app[CLOCK].now()
    fields, token = access_tokens.fields_of(new, now), access_tokens.new_token()
    row, limits = await request.app[DB].write(
        access_tokens.insert, request[CALLER].id, token, fields, actor(request), now
    )
    message = said(request, "access_token_created")
    return json_response(TokenCreated(message=message, token=token, data=AccessToken.of(row, limits, None)))


async def delete(request: web.Request) -> web.Response:
    caller, token_id, now = request[CALLER], row_id(request, "token_id"), request.app[CLOCK].now()
    work = request.app[DB].write(access_tokens.delete, token_id, caller.id, actor(request), now)
    await request.app[SESSIONS].ending(caller.id, work)
    return done(request, "access_token_deleted")
