"""What each subscription allows to users who have no limits of their own."""

from typing import Any

from aiohttp import web
from msgspec import structs

from chathub.accounts.users import LIMITS
from chathub.app_keys import CLOCK, DB
from chathub.database.connection import Transaction
from chathub.database.rows.subscriptions import Subscription
from chathub.errors import NotFound
from chathub.handlers.http import actor, answer, body, done
from chathub.schemas import responses
from chathub.schemas.decode import given
from chathub.schemas.requests import SubscriptionChange
from chathub.security import audit
from chathub.security.audit import Actor


async def list_all(request: web.Request) -> web.Response:
    db = request.app[DB]
    rows = await db.fetch_all(db.q.subscriptions.list_all)
    return answer({"success": True, "data": [_shape(row) for row in rows]})


async def update(request: web.Request) -> web.Response:
    changes = given(await body(request, SubscriptionChange))
    if changes.get("cost_limit") is not None:
        changes["cost_limit"] = responses.millionths(changes["cost_limit"])
    now = request.app[CLOCK].now()
    row = await request.app[DB].write(_update, actor(request), request.match_info["name"], changes, now)
    return done("订阅更新成功", data=_shape(row))


def _shape(row: Subscription) -> dict[str, Any]:
    cost = row.cost_limit
    return {**structs.asdict(row), "cost_limit": None if cost is None else responses.money(cost)}


def _update(tx: Transaction, who: Actor, name: str, changes: dict[str, Any], now: int) -> Subscription:
    old = tx.one(tx.q.subscriptions.get, name=name)
    if old is None:
        raise NotFound("订阅类型不存在")
    tx.run(tx.q.subscriptions.update, **{**structs.asdict(old), **changes})
    new = tx.all(tx.q.subscriptions.get, name=name)[0]
    if details := audit.differences(old, new, LIMITS):
        audit.record(tx, who, "subscription.updated", now, f"subscription {name}", **details)
    return new
