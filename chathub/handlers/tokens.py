"""Personal access tokens of the caller: shown once when they are made, then only as a hint."""

import json
from typing import Any

from aiohttp import web

from chathub.accounts import access_tokens
from chathub.app_keys import CALLER, CLOCK, DB, LAST_USES, SESSIONS
from chathub.billing import ledger
from chathub.clock import Month, iso
from chathub.database.connection import Transaction
from chathub.database.rows.personal_tokens import AccessToken
from chathub.errors import BadRequest
from chathub.handlers.http import actor, answer, body, done, row_id
from chathub.schemas import responses
from chathub.schemas.requests import NewToken

_DAY = 86_400_000


async def list_own(request: web.Request) -> web.Response:
    rows = await request.app[DB].read(_own, request[CALLER].id, request.app[CLOCK].month())
    last_uses = request.app[LAST_USES]
    return answer([_shape(row, last_uses.of_token(row.id, row.last_used_at)) for row in rows])


async def create(request: web.Request) -> web.Response:
    wanted, now = await body(request, NewToken), request.app[CLOCK].now()
    if not wanted.name.strip():
        raise BadRequest("字段 name 不能为空")
    fields = {
        "name": wanted.name.strip(),
        "opens_api": bool(wanted.opens_api),
        "allowed_models": json.dumps(wanted.allowed_models or [], ensure_ascii=False),
        "allowed_networks": json.dumps(access_tokens.check_networks(wanted.allowed_networks or [])),
        "monthly_limit": wanted.monthly_limit,
        "cost_limit": None if wanted.cost_limit is None else responses.millionths(wanted.cost_limit),
        "requests_per_minute": wanted.requests_per_minute,
        "replies_at_once": wanted.replies_at_once,
        "expires_at": now + wanted.expires_in_days * _DAY if wanted.expires_in_days else None,
    }
    token = access_tokens.new_token()
    row = await request.app[DB].write(
        access_tokens.insert, request[CALLER].id, token, fields, actor(request), now
    )
    return answer(
        {
            "success": True,
            "message": "请立即保存令牌，它不会再次显示",
            "token": token,
            "data": _shape(row, None),
        }
    )


async def delete(request: web.Request) -> web.Response:
    caller, token_id, now = request[CALLER], row_id(request, "token_id"), request.app[CLOCK].now()
    work = request.app[DB].write(access_tokens.delete, token_id, caller.id, actor(request), now)
    await request.app[SESSIONS].ending(caller.id, work)
    return done("访问令牌已删除")


def _own(tx: Transaction, user_id: int, month: Month) -> list[AccessToken]:
    month = ledger.in_force(tx, month)
    return tx.all(tx.q.personal_tokens.list_own, user_id=user_id, month=month.name)


def _shape(row: AccessToken, last_used_at: int | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "hint": row.hint,
        "opens_api": row.opens_api,
        "allowed_models": json.loads(row.allowed_models),
        "allowed_networks": json.loads(row.allowed_networks),
        "monthly_limit": row.monthly_limit,
        "monthly_usage": row.used,
        "cost_limit": None if row.cost_limit is None else responses.money(row.cost_limit),
        "monthly_cost": responses.money(row.cost),
        "requests_per_minute": row.requests_per_minute,
        "replies_at_once": row.replies_at_once,
        "expires_at": iso(row.expires_at) if row.expires_at else None,
        "last_used_at": iso(last_used_at) if last_used_at else None,
        "created_at": iso(row.created_at),
    }
