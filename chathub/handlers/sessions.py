"""Section 4 of the API document: the logins of the caller."""

from typing import Any

from aiohttp import web

from chathub.accounts.sessions import Caller
from chathub.app_keys import CALLER, LAST_USES, SESSIONS
from chathub.clock import iso
from chathub.database.connection import Row
from chathub.errors import Forbidden
from chathub.handlers.http import actor, answer, client_info, done, row_id


async def refresh(request: web.Request) -> web.Response:
    token = await request.app[SESSIONS].refresh(_signed_in(request), client_info(request))
    return done("令牌已更新", token=token)


async def end_all(request: web.Request) -> web.Response:
    ended = await request.app[SESSIONS].end_all(_signed_in(request), actor(request))
    return done(f"已退出全部 {ended} 个登录", ended=ended)


async def list_own(request: web.Request) -> web.Response:
    rows = await request.app[SESSIONS].list_own(_signed_in(request))
    last_uses = request.app[LAST_USES]
    seen = {row["id"]: last_uses.of_login(row["id"], row["last_seen_at"]) for row in rows}
    rows.sort(key=lambda row: (seen[row["id"]], row["id"]), reverse=True)
    return answer([_shape(row, seen[row["id"]]) for row in rows])


async def end_one(request: web.Request) -> web.Response:
    caller = _signed_in(request)
    await request.app[SESSIONS].end_one(caller, row_id(request, "session_id"), actor(request))
    return done("该登录已退出")


def _signed_in(request: web.Request) -> Caller:
    """The caller, who signed in with a password.

    Raises:
        Forbidden: demo-token is no login.
    """
    caller = request[CALLER]
    if not caller.jti:
        raise Forbidden("demo-token 不是登录会话，请先登录")
    return caller


def _shape(row: Row, last_seen_at: int) -> dict[str, Any]:
    return {
        "id": row["id"],
        "created_at": iso(row["started_at"]),
        "last_seen_at": iso(last_seen_at),
        "expires_at": iso(row["ends_at"]),
        "address": row["address"],
        "client": row["client"],
        "current": bool(row["is_current"]),
    }
