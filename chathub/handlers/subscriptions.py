"""What each subscription allows to users who have no limits of their own."""

from aiohttp import web
from msgspec import structs

from chathub.accounts.users import LIMITS
from chathub.app_keys import CLOCK, DB
from chathub.database.rows import subscriptions as rows
from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.handlers.http import actor, body, json_response
from chathub.schemas.decode import given
from chathub.schemas.subscriptions import (
    Subscription,
    SubscriptionChange,
    SubscriptionList,
    SubscriptionSaved,
    stored_limit,
)
from chathub.security import audit
from chathub.security.audit import Actor


async def list_all(request: web.Request) -> web.Response:
    db = request.app[DB]
    found = await db.fetch_all(db.q.subscriptions.list_all)
    return json_response(SubscriptionList(data=[Subscription.of(row) for row in found]))


async def update(request: web.Request) -> web.Response:
    change, now = await body(request, SubscriptionChange), request.app[CLOCK].now()
    name = request.match_info["name"]
    row = await request.app[DB].write(_update, actor(request), name, change, now)
    return json_response(SubscriptionSaved(message="订阅更新成功", data=Subscription.of(row)))


def _update(
    tx: Transaction, acting: Actor, name: str, change: SubscriptionChange, now: int
) -> rows.Subscription:
    old = tx.one(tx.q.subscriptions.get, name=name)
    if old is None:
        raise NotFound("订阅类型不存在")
    new = _changed(old, change)
    tx.run(tx.q.subscriptions.update, **structs.asdict(new))
    if details := audit.differences(old, new, LIMITS):
        audit.record(tx, acting, "subscription.updated", now, f"subscription {name}", **details)
    return new


def _changed(old: rows.Subscription, change: SubscriptionChange) -> rows.Subscription:
    changes = given(change)
    if "cost_limit" in changes:
        changes["cost_limit"] = stored_limit(changes["cost_limit"])
    return structs.replace(old, **changes)
