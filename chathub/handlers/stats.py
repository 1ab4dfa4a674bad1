"""Section 8 of the API document: what the caller used."""

from typing import Any

from aiohttp import web

from chathub.app_keys import CALLER, CLOCK, DB
from chathub.billing import budgets, ledger
from chathub.billing.budgets import BudgetOwner
from chathub.clock import Month, iso
from chathub.database.transaction import Row, Transaction
from chathub.errors import NotFound
from chathub.handlers.http import answer
from chathub.schemas import responses

# after every day
_NEVER = "a"


async def show(request: web.Request) -> web.Response:
    month = request.app[CLOCK].month()
    user_id = request[CALLER].id
    stats = await request.app[DB].read_background(user_id, _collect, user_id, month)
    return answer(stats)


def _collect(tx: Transaction, user_id: int, month: Month) -> dict[str, Any]:
    user = tx.one(tx.q.users.get_by_id, user_id=user_id)
    if user is None:
        raise NotFound("用户不存在")
    counts = tx.all(tx.q.conversations.count_for_user, user_id=user_id)[0]
    now = ledger.in_force(tx, month)
    ever, so_far = (
        tx.all(tx.q.usage.totals_of_months, user_id=user_id, first=first, last=last)[0]
        for first, last in (("", _NEVER), (now.name, now.name))
    )
    day = tx.all(tx.q.usage.totals_of_day, user_id=user_id, day=now.today)[0]
    days = tx.all(tx.q.usage.count_days, user_id=user_id)[0]["days"]
    hint = tx.one(tx.q.personal_tokens.find_newest_hint, user_id=user_id)
    limit, used = user.usage_limit, _tokens(so_far)
    owner = BudgetOwner(user_id, None, month)
    return {
        "total_conversations": counts.conversations,
        "total_messages": counts.messages,
        "tokens_used": _tokens(ever),
        "total_cost": responses.money(ever["cost"]),
        "days_active": days,
        "monthly_usage": used,
        "quota_limit": limit,
        "usage_percentage": min(100.0, round(100 * used / limit, 1)) if limit else 100.0,
        "budgets": budgets.list_budgets(tx, owner),
        "budget_warning": budgets.warning(tx, owner),
        "today": _period(day),
        "this_month": _period(so_far),
        "by_model": [
            {"model": row["model"], **_period(row)} for row in tx.all(tx.q.usage.by_model, user_id=user_id)
        ],
        "user": {
            "username": user.username,
            "email": user.email,
            "subscription_type": user.subscription_type,
            "created_at": iso(user.created_at),
            "api_key": hint.hint if hint else "未创建",
        },
    }


def _tokens(row: Row) -> int:
    total: int = row["prompt_tokens"] + row["completion_tokens"]
    return total


def _period(row: Row) -> dict[str, Any]:
    return {
        "requests": row["requests"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "total_tokens": _tokens(row),
        "cost": responses.money(row["cost"]),
    }
