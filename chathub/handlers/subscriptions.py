"""What each subscription allows to users who have no limits of their own."""

from aiohttp import web
from msgspec import structs

from chathub.app_keys import CLOCK, DB
from chathub.database.rows.limits import LimitChanges, SubscriptionLimits
from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.handlers.http import actor, body, json_response, said
from chathub.schemas.subscriptions import (
    Subscription,
    SubscriptionChange,
    SubscriptionList,
    SubscriptionSaved,
)
from chathub.security import audit
from chathub.security.audit import Actor


async def list_all(request: web.Request) -> web.Response:
    db = request.app[DB]
    found = await db.fetch_all(db.q.limits.list_of_subscriptions)
    return json_response(SubscriptionList(data=[Subscription.of(row) for row in found]))


async def update(request: web.Request) -> web.Response:
    changes = (await body(request, SubscriptionChange)).limit_changes()
    name, now = request.match_info["name"], request.app[CLOCK].now()
    row = await request.app[DB].write(_update, actor(request), name, changes, now)
    return json_response(
        SubscriptionSaved(message=said(request, "subscription_updated"), data=Subscription.of(row))
    )


def _update(tx: Transaction, acting: Actor, name: str, changes: LimitChanges, now: int) -> SubscriptionLimits:
    old = tx.one(tx.q.limits.get_of_subscription, name=name)
    if old is None:
        raise NotFound("subscription_not_found")
    new = changes.applied_to(old)
    tx.run(tx.q.limits.update_of_subscription, **structs.asdict(new))
    if details := audit.differences(old, new, SubscriptionLimits.__struct_fields__):
        audit.record(tx, acting, "subscription.updated", now, f"subscription {name}", **details)
    return new
