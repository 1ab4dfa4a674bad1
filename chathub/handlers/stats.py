"""Section 8 of the API document: what the caller used."""

from aiohttp import web
from msgspec import structs

from chathub.accounts import users
from chathub.app_keys import CALLER, CLOCK, CONFIG, DB
from chathub.billing import budgets, ledger
from chathub.billing.budgets import BudgetOwner
from chathub.clock import Month, iso
from chathub.database.rows.usage import Totals
from chathub.database.rows.users import User
from chathub.database.transaction import Transaction
from chathub.handlers.http import json_response, language_of
from chathub.schemas import stats
from chathub.schemas.limits import shown_storage
from chathub.schemas.money import money
from chathub.sentences import Language, sentence

# after every month's name
_NEVER = "a"


async def show(request: web.Request) -> web.Response:
    month, user_id = request.app[CLOCK].month(), request[CALLER].id
    weight = request.app[CONFIG].cached_weight
    return json_response(
        await request.app[DB].read_background(user_id, _collect, user_id, month, language_of(request), weight)
    )


def _collect(
    tx: Transaction, user_id: int, month: Month, language: Language, cached_weight: float
) -> stats.Stats:
    user, limits = users.get_own(tx, user_id)
    counts = tx.all(tx.q.conversations.count_for_user, user_id=user_id)[0]
    now = ledger.in_force(tx, month)
    ever, this_month = _totals(tx, user_id, "", _NEVER), _totals(tx, user_id, now.name, now.name)
    limit, owner = limits.usage_limit, BudgetOwner(user_id, None, month)
    return stats.Stats(
        total_conversations=counts.conversations,
        total_messages=counts.messages,
        tokens_used=ever.total_tokens,
        total_cost=money(ever.cost),
        cached_savings=money(ever.savings),
        days_active=tx.all(tx.q.usage.count_days, user_id=user_id)[0].days,
        monthly_usage=this_month.counted_tokens,
        quota_limit=limit,
        usage_percentage=min(100.0, round(100 * this_month.counted_tokens / limit, 1)) if limit else 100.0,
        cached_weight=cached_weight,
        budgets=budgets.list_budgets(tx, owner),
        budget_warning=warning.said(language) if (warning := budgets.warning(tx, owner)) else None,
        today=stats.PeriodUsage.of(tx.all(tx.q.usage.totals_of_day, user_id=user_id, day=now.today)[0]),
        this_month=stats.PeriodUsage.of(this_month),
        by_model=[stats.ModelUsage.of(row) for row in tx.all(tx.q.usage.by_model, user_id=user_id)],
        user=_user(tx, user, language),
        **structs.asdict(shown_storage(limits)),
    )


def _totals(tx: Transaction, user_id: int, first_month: str, last_month: str) -> Totals:
    return tx.all(tx.q.usage.totals_of_months, user_id=user_id, first=first_month, last=last_month)[0]


def _user(tx: Transaction, user: User, language: Language) -> stats.StatsUser:
    token = tx.one(tx.q.personal_tokens.find_newest_hint, user_id=user.id)
    return stats.StatsUser(
        username=user.username,
        email=user.email,
        subscription_type=user.subscription_type,
        created_at=iso(user.created_at),
        api_key=token.hint if token else sentence("token_not_created", language, {}),
    )
