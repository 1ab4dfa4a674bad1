"""Section 4 of the API document: the sessions of the caller."""

from aiohttp import web

from chathub.accounts.caller import Caller
from chathub.app_keys import CALLER, LAST_USES, SESSIONS
from chathub.errors import Forbidden
from chathub.handlers.http import actor, client_info, done, json_response, row_id, said
from chathub.schemas.sessions import Session, SessionsEnded, TokenRenewed


async def refresh(request: web.Request) -> web.Response:
    token = await request.app[SESSIONS].refresh(_with_session(request), client_info(request))
    return json_response(TokenRenewed(message=said(request, "token_renewed"), token=token))


async def end_all(request: web.Request) -> web.Response:
    ended = await request.app[SESSIONS].end_all(_with_session(request), actor(request))
    return json_response(SessionsEnded(message=said(request, "sessions_closed", count=ended), ended=ended))


async def list_own(request: web.Request) -> web.Response:
    sessions = await request.app[SESSIONS].list_own(_with_session(request))
    last_uses = request.app[LAST_USES]
    seen = {session.id: last_uses.of_session(session.id, session.last_seen_at) for session in sessions}
    sessions.sort(key=lambda session: (seen[session.id], session.id), reverse=True)
    return json_response([Session.of(session, seen[session.id]) for session in sessions])


async def end_one(request: web.Request) -> web.Response:
    caller = _with_session(request)
    await request.app[SESSIONS].end_one(caller, row_id(request, "session_id"), actor(request))
    return done(request, "session_closed")


def _with_session(request: web.Request) -> Caller:
    """The caller, if the request is made with a session.

    Raises:
        Forbidden: it is made with the demo token, which has no session.
    """
    caller = request[CALLER]
    if not caller.jti:
        raise Forbidden("session_required")
    return caller
