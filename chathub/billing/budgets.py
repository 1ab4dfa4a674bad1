"""Budgets: what a user may still use, reserved before a request goes upstream, settled when it has ended.

Tokens and cost of a calendar month may be limited, for the user and for the access token of the request.
Everything here runs inside the transaction that begins or ends a turn, so that concurrent requests cannot
both take the last of a budget.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import asdict, replace

from chathub.billing import ledger
from chathub.billing.budget import Budget
from chathub.billing.caps import DEFAULT_REPLY_TOKENS, longest_reply
from chathub.billing.interrupted import Asked
from chathub.clock import Month
from chathub.database.rows.limits import AppliedLimits, LimitsWithUsage
from chathub.database.transaction import Transaction
from chathub.errors import BudgetSpent, StorageFull, TooManyRequests, Unauthorized
from chathub.formats.events import Units
from chathub.providers.candidates import Candidates
from chathub.providers.prices import MILLION, Prices
from chathub.schemas import budgets as schemas
from chathub.schemas.budgets import BudgetKind
from chathub.sentences import Reason

# from this part of a budget on its user is warned
_WARNING = 0.8
# a reply without a length limit may take DEFAULT_REPLY_TOKENS, or this part of what is left if that is more …
_FAIR_PART = 4
# … and where that is more tokens than a reply ever takes, no cap is sent: the model's own limit is reserved
_ENOUGH = 65_536


class BudgetOwner(Struct, frozen=True):
    """Whose budgets a request counts for: the user, its access token (None: a session), in which month."""

    user_id: int
    token_id: int | None
    month: Month


class UsageBound(Struct, frozen=True, kw_only=True):
    """The most that a request may use, in tokens, and the highest prices of the models that may reply.

    ``reply`` is the length of one reply, ``choices`` how many were requested; ``is_open_ended``: the client
    set no length; ``is_fixed``: it cannot be capped, as that of an image. ``units_cost`` is the most that
    units cost, in millionths, where they are paid instead of tokens.
    """

    prompt: int
    reply: int
    choices: int = 1
    is_open_ended: bool = False
    is_fixed: bool = False
    prices: Prices
    units_cost: int = 0

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        prompt: int,
        requested: int | None,
        choices: int = 1,
        units: Units | None = None,
        *,
        is_fixed: bool = False,
    ) -> "UsageBound":
        """The bound over all candidates: the longest reply of any, at the highest prices."""
        models = [candidate.model for candidate in candidates.in_order]
        return cls(
            prompt=prompt,
            # a model's own limit is one of texts
            reply=longest_reply(requested, [None if is_fixed else model.max_tokens for model in models]),
            choices=choices,
            is_open_ended=requested is None,
            is_fixed=is_fixed,
            prices=Prices.highest([model.prices for model in models]),
            units_cost=max(model.units.most(units) for model in models) if units else 0,
        )

    def cost(self, reply: int) -> int:
        """The most that so many tokens of replies with the prompt cost, in millionths: a reservation is never
        less than the cost."""
        return max(self.prices.most(self.prompt, reply), self.units_cost)


class BudgetState(NamedTuple):
    """The limits of a user and of its access token, with what was used of them in a month."""

    limits: list[LimitsWithUsage]
    month: Month

    @property
    def of_user(self) -> LimitsWithUsage:
        """The user's own: they come first."""
        return self.limits[0]

    @property
    def has_cost_budget(self) -> bool:
        return any(limits.most_cost is not None for limits in self.limits)


class Reservation(Struct, frozen=True):
    """What a request may use: tokens, cost in millionths, and the cap on the length of each of its replies
    (None: no budget bounds it)."""

    tokens: int
    cost: int
    cap: int | None = None


def check_rate_limits(tx: Transaction, owner: BudgetOwner, ended: Sequence[int]) -> BudgetState:
    """Count a request against the limits per minute and of replies at once, of the user and of the access
    token that it came with; gives the state of the budgets, for ``size_reservation`` in the same transaction.
    ``ended`` are reservations of replies that have ended and wait to be stored: they count as used, not as
    running.

    Raises:
        Unauthorized: the user was disabled since its session or token was verified.
        TooManyRequests: too many requests in this minute, or too many replies being generated; nothing is
            to be stored of the request.
    """
    state = _state(tx, owner, ended)
    for limits in state.limits:
        if not limits.is_active:
            raise Unauthorized("session_ended")
        _check_rates(tx, owner, limits)
    return state


def _check_rates(tx: Transaction, owner: BudgetOwner, limits: LimitsWithUsage) -> None:
    is_users = limits.owner == "user"
    if limits.replies_at_once is not None and limits.running >= limits.replies_at_once:
        code = "too_many_replies" if is_users else "too_many_replies_of_token"
        raise TooManyRequests(code, most=limits.replies_at_once, retry_after=1)
    most = limits.requests_per_minute
    if most is None:
        return
    now = owner.month.now
    minute = {
        "minute": now // 60_000,
        "user_id": owner.user_id,
        "token_id": 0 if is_users else owner.token_id,
    }
    if tx.all(tx.q.budgets.count_request, **minute)[0].requests > most:
        wait = 60 - now / 1000 % 60
        code = "too_many_requests_per_minute" if is_users else "too_many_requests_per_minute_of_token"
        raise TooManyRequests(code, most=most, wait=wait, retry_after=wait)


def check_storage(limits: LimitsWithUsage | AppliedLimits) -> None:
    """Check that a user may store more. A turn checks it before it stores anything, and again when its prompt
    is stored (``get_limits``): its reply may then end above the limit, and is not cut.

    Raises:
        StorageFull: nothing is left of the limit; what the transaction has stored is to be rolled back.
    """
    used, most = limits.storage_used, limits.storage_limit
    if most is not None and used >= most:
        details = {"storage_used": used, "storage_limit": most}
        raise StorageFull("storage_full", details=details, used=used, limit=most)


def get_limits(tx: Transaction, user_id: int) -> AppliedLimits:
    """The limits of a user as they are now."""
    return tx.all(tx.q.limits.get_of_user, user_id=user_id)[0]


def size_reservation(state: BudgetState, bound: UsageBound) -> Reservation:
    """What the request may use of what is left.

    Raises:
        BudgetSpent: a budget has no room for the prompt and the beginning of a reply; ``budget`` of its
            details says what is left and when it renews.
    """
    replies = bound.reply * bound.choices
    room = min((_room(budget, bound, state.month) for budget in _budgets(state)), default=None)
    if room is None or bound.is_fixed:
        return Reservation(bound.prompt + replies, bound.cost(replies))
    fair = max(DEFAULT_REPLY_TOKENS, room // _FAIR_PART) if bound.is_open_ended else room
    if bound.is_open_ended and fair >= max(replies, _ENOUGH * bound.choices):
        return Reservation(bound.prompt + replies, bound.cost(replies))
    each = min(replies, room, fair) // bound.choices
    return Reservation(bound.prompt + each * bound.choices, bound.cost(each * bound.choices), each)


def _room(budget: Budget, bound: UsageBound, month: Month) -> int:
    """How many tokens all replies together may have by this budget."""
    if not budget.is_money:
        room = budget.left - bound.prompt
    elif budget.left < bound.units_cost:
        room = -1
    elif not bound.prices.output:
        room = bound.reply * bound.choices if budget.left >= bound.cost(0) else -1
    else:
        room = (budget.left * MILLION - bound.prompt * bound.prices.prompt) // bound.prices.output
    # a token for each reply at least; embeddings have none
    least = bound.reply if bound.is_fixed else min(1, bound.reply)
    if room < least * bound.choices:
        code = "budget_used_up" if budget.used >= budget.limit else "budget_insufficient"
        reason = Reason(code, budget.params(month))
        raise BudgetSpent.of(reason, details={"budget": budget.shown(month)})
    return room


def reserve(
    tx: Transaction,
    owner: BudgetOwner,
    reservation: Reservation,
    asked: Asked,
    message_id: int | None = None,
) -> int:
    """Store a reservation until ``release``; gives its id."""
    return tx.all(
        tx.q.budgets.reserve,
        user_id=owner.user_id,
        token_id=owner.token_id,
        message_id=message_id,
        tokens=reservation.tokens,
        cost=reservation.cost,
        at=owner.month.now,
        **asdict(asked),
    )[0].id


def release(tx: Transaction, reservation_id: int) -> None:
    tx.run(tx.q.budgets.release, reservation_id=reservation_id)


def warning(tx: Transaction, owner: BudgetOwner) -> schemas.Budget | None:
    """The fullest budget, once four fifths of it are used."""
    state = _state(tx, owner)
    budget = max(_budgets(state), key=lambda budget: budget.share_used, default=None)
    if budget is None or budget.share_used < _WARNING:
        return None
    shown = budget.shown(state.month)
    message = Reason("budget_warning", {**budget.params(state.month), "percentage": shown.percentage})
    return replace(shown, message=message)


def list_budgets(tx: Transaction, owner: BudgetOwner) -> list[schemas.Budget]:
    """All budgets of a user, and of its access token."""
    state = _state(tx, owner)
    return [budget.shown(state.month) for budget in _budgets(state)]


def _state(tx: Transaction, owner: BudgetOwner, ended: Sequence[int] = ()) -> BudgetState:
    month = ledger.in_force(tx, owner.month)
    limits = tx.all(
        tx.q.limits.list_with_usage,
        user_id=owner.user_id,
        token_id=owner.token_id,
        first_day=month.first_day,
        next_day=month.next_day,
        month=month.name,
        ended=json.dumps(ended),
    )
    return BudgetState(limits, month)


def _budgets(state: BudgetState) -> Iterator[Budget]:
    """Tokens first, then cost; the user's before the access token's."""
    for limits in state.limits:
        if limits.most_tokens is not None:
            kind: BudgetKind = "tokens" if limits.owner == "user" else "token"
            yield Budget(kind, limits.most_tokens, limits.used_tokens, limits.reserved_tokens)
    for limits in state.limits:
        if limits.most_cost is not None:
            kind = "cost" if limits.owner == "user" else "token_cost"
            yield Budget(kind, limits.most_cost, limits.used_cost, limits.reserved_cost)
