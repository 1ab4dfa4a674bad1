"""What a user may still use: reserved before a request goes upstream, settled when it has ended.

Four pots may be bounded: tokens and money of a calendar month, of the user and of the personal token it
asks with. Everything here runs inside the transaction that begins or ends a turn, so
that requests side by side cannot both take the last of a pot.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from chathub.billing import ledger
from chathub.clock import Month, iso
from chathub.database.connection import Row, Transaction
from chathub.errors import TooManyRequests, Unauthorized
from chathub.formats.estimates import ANSWER_ROOM
from chathub.providers.resolver import Candidates

# from this share of a pot on its user is warned
_WARNING = 0.8
# an answer whose length nobody bounded may take ANSWER_ROOM, or this part of what is left if that is more …
_FAIR_PART = 4
# … and where that is more than an answer ever takes, in tokens, there is no need to bound it: the model's own
# limit is held for it
_ENOUGH = 65_536
Kind = Literal["tokens", "cost", "token", "token_cost"]
# what is bounded, how it is told, and in which columns it stands
_BUDGETS: tuple[tuple[Kind, str, str], ...] = (
    ("tokens", "", "tokens"),
    ("token", "token_", "tokens"),
    ("cost", "", "cost"),
    ("token_cost", "token_", "cost"),
)
_NAMES = {
    "tokens": "本月额度",
    "token": "该访问令牌本月额度",
    "cost": "本月费用额度",
    "token_cost": "该访问令牌本月费用额度",
}


class BudgetOwner(Struct, frozen=True):
    """Who uses something, and when."""

    user_id: int
    token_id: int | None
    month: Month


class UsageBound(Struct, frozen=True, kw_only=True):
    """The most that a request may use, in tokens; prices in millionths per 1,000 tokens.

    ``answer`` is the length of one answer, ``choices`` how many were asked for; ``open_ended``: nobody said
    how long it should be.
    """

    prompt: int
    answer: int
    choices: int = 1
    open_ended: bool = False
    input_price: int
    output_price: int

    @classmethod
    def of(cls, candidates: Candidates, prompt: int, answer: int | None, choices: int = 1) -> "UsageBound":
        """For answers by any model of the plan: as long as the longest may be (who knows no limit takes
        any that is asked for), at the prices of the dearest."""
        limits = [candidate.model.max_tokens for candidate in candidates.in_order]
        longest = max(limit or ANSWER_ROOM for limit in limits)
        needed = longest if answer is None else answer
        return cls(
            prompt=prompt,
            answer=min(needed, longest) if all(limits) else needed,
            choices=choices,
            open_ended=answer is None,
            input_price=max(candidate.model.input_price for candidate in candidates.in_order),
            output_price=max(candidate.model.output_price for candidate in candidates.in_order),
        )


class BudgetState(NamedTuple):
    """What a user and its personal token may use and have used in a month, all of it in one row."""

    row: Row
    month: Month


class Reservation(Struct, frozen=True):
    """What a request got: tokens and money to hold for it, and the length that its answers must keep to
    (each; None: nothing needs to bound them)."""

    tokens: int
    cost: int
    answer: int | None = None


class Budget(Struct, frozen=True):
    """One bounded quantity of a month: tokens, or millionths where it is money."""

    kind: Kind
    limit: int
    used: int
    reserved: int

    @property
    def is_money(self) -> bool:
        return self.kind.endswith("cost")

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used - self.reserved)

    @property
    def share_used(self) -> float:
        return self.used / self.limit if self.limit else 1.0

    def shown(self, month: Month) -> dict[str, Any]:
        """As the API shows it; money as a number."""
        unit = 1_000_000 if self.is_money else 1
        amounts = {"limit": self.limit, "used": self.used, "reserved": self.reserved, "left": self.left}
        return {
            "kind": self.kind,
            **{name: amount if unit == 1 else amount / unit for name, amount in amounts.items()},
            "percentage": min(100.0, round(100 * self.share_used, 1)),
            "renews_at": iso(month.end),
        }

    def __str__(self) -> str:
        what = _NAMES[self.kind]
        if self.is_money:
            return f"{what}（已使用 {self.used / 1e6:g} / {self.limit / 1e6:g}，剩余 {self.left / 1e6:g}）"
        return f"{what}（已使用 {self.used} / {self.limit} 个 token，剩余 {self.left}）"


def check_rate_limits(tx: Transaction, owner: BudgetOwner, ended: Sequence[int]) -> BudgetState:
    """Count a request against the limits per minute and of replies at once, of the user and of the access
    token that it came with; gives the state of the budgets, for ``size_reservation`` in the same transaction.
    ``ended`` are reservations of replies that have ended and wait to be stored: they count as used, not as
    running.

    Raises:
        Unauthorized: the user was disabled since its token was looked at.
        TooManyRequests: too many in this minute, or too many answers are being written; nothing is to be
            stored of it.
    """
    state = _state(tx, owner, ended)
    if not state.row["is_active"]:
        raise Unauthorized("登录已失效，请重新登录")
    for prefix, whose, token_id in (("", "", 0), ("token_", "该访问令牌", owner.token_id)):
        most = state.row[f"{prefix}replies_at_once"]
        if most is not None and state.row[f"{prefix}running"] >= most:
            raise TooManyRequests(f"{whose}同时进行的回复不能超过 {most} 个", retry_after=1)
        most = state.row[f"{prefix}requests_per_minute"]
        if most is not None:
            minute = {"minute": owner.month.now // 60_000, "user_id": owner.user_id, "token_id": token_id}
            if tx.all(tx.q.budgets.count_request, **minute)[0]["requests"] > most:
                wait = 60 - owner.month.now / 1000 % 60
                raise TooManyRequests(f"{whose}每分钟最多 {most} 次请求，请稍后再试", retry_after=wait)
    return state


def is_money_bound(state: BudgetState) -> bool:
    """Whether what the user or the personal token may spend is bounded in money."""
    return any(budget.is_money for budget in _budgets(state.row))


def size_reservation(state: BudgetState, bound: UsageBound) -> Reservation:
    """What the request may use of what is left.

    Raises:
        TooManyRequests: a pot has no room for the prompt and the beginning of an answer; ``budget`` of
            its details tells what is left and when it renews.
    """
    needed = bound.answer * bound.choices
    room = min((_room(budget, bound, state.month) for budget in _budgets(state.row)), default=None)
    if room is None:
        return Reservation(bound.prompt + needed, _cost(bound, needed))
    fair = max(ANSWER_ROOM, room // _FAIR_PART) if bound.open_ended else room
    if bound.open_ended and fair >= max(needed, _ENOUGH * bound.choices):
        return Reservation(bound.prompt + needed, _cost(bound, needed))
    each = min(needed, room, fair) // bound.choices
    return Reservation(bound.prompt + each * bound.choices, _cost(bound, each * bound.choices), each)


def _cost(bound: UsageBound, answer: int) -> int:
    # rounded up: what is held is never less than the bill
    return -(-(bound.prompt * bound.input_price + answer * bound.output_price) // 1000)


def _room(budget: Budget, bound: UsageBound, month: Month) -> int:
    """How many tokens all answers may have, for all that this pot says."""
    if not budget.is_money:
        room = budget.left - bound.prompt
    elif not bound.output_price:
        room = bound.answer * bound.choices if budget.left >= _cost(bound, 0) else -1
    else:
        room = (budget.left * 1000 - bound.prompt * bound.input_price) // bound.output_price
    # a token for each answer at least; vectors have none
    if room < min(1, bound.answer) * bound.choices:
        sentence = f"{budget}不足，将于 {month.next_day} 恢复"
        raise TooManyRequests(sentence, budget=budget.shown(month))
    return room


def reserve(
    tx: Transaction, owner: BudgetOwner, reservation: Reservation, message_id: int | None = None
) -> int:
    """Reserve a share until ``release``; gives its number."""
    return tx.add(
        tx.q.budgets.reserve,
        user_id=owner.user_id,
        token_id=owner.token_id,
        message_id=message_id,
        tokens=reservation.tokens,
        cost=reservation.cost,
    )


def release(tx: Transaction, reservation_id: int) -> None:
    tx.run(tx.q.budgets.release, reservation_id=reservation_id)


def warning(tx: Transaction, owner: BudgetOwner) -> dict[str, Any] | None:
    """The fullest pot, once four fifths of it are used."""
    row, month = _state(tx, owner)
    budget = max(_budgets(row), key=lambda budget: budget.share_used, default=None)
    if budget is None or budget.share_used < _WARNING:
        return None
    shown = budget.shown(month)
    return {**shown, "message": f"{budget}已使用 {shown['percentage']:g}%，将于 {month.next_day} 恢复"}


def list_budgets(tx: Transaction, owner: BudgetOwner) -> list[dict[str, Any]]:
    """All bounded pots of a user."""
    row, month = _state(tx, owner)
    return [budget.shown(month) for budget in _budgets(row)]


def _state(tx: Transaction, owner: BudgetOwner, ended: Sequence[int] = ()) -> BudgetState:
    month = ledger.in_force(tx, owner.month)
    row = tx.one(
        tx.q.budgets.get_state,
        user_id=owner.user_id,
        token_id=owner.token_id,
        first_day=month.first_day,
        next_day=month.next_day,
        month=month.name,
        ended=json.dumps(ended),
    )
    assert row is not None
    return BudgetState(row, month)


def _budgets(row: Row) -> Iterator[Budget]:
    for kind, prefix, unit in _BUDGETS:
        if (limit := row[f"{prefix}most_{unit}"]) is not None:
            yield Budget(kind, limit, row[f"{prefix}used_{unit}"], row[f"{prefix}held_{unit}"])
