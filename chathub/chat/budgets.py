"""What a user may still use: reserved before a request goes upstream, settled when it has ended.

Four pots may be bounded: tokens and money of a calendar month, of the user and of the personal token it
asks with. Everything here runs inside the transaction that begins or ends a turn, so
that requests side by side cannot both take the last of a pot.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from chathub.chat import ledger
from chathub.chat.context import ANSWER_ROOM
from chathub.chat.plan import Plan
from chathub.clock import Month, iso
from chathub.database.connection import Row, Transaction
from chathub.errors import TooManyRequests, Unauthorized

# from this share of a pot on its user is warned
_WARNING = 0.8
# an answer whose length nobody bounded may take ANSWER_ROOM, or this part of what is left if that is more …
_SHARE = 4
# … and where that is more than an answer ever takes, in tokens, there is no need to bound it: the model's own
# limit is held for it
_ENOUGH = 65_536
Kind = Literal["tokens", "cost", "token", "token_cost"]
# what is bounded, how it is told, and in which columns it stands
_POTS: tuple[tuple[Kind, str, str], ...] = (
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


class Spender(Struct, frozen=True):
    """Who uses something, and when."""

    user_id: int
    token_id: int | None
    month: Month


class Wanted(Struct, frozen=True, kw_only=True):
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
    def of(cls, plan: Plan, prompt: int, answer: int | None, choices: int = 1) -> "Wanted":
        """For answers by any model of the plan: as long as the longest may be (who knows no limit takes
        any that is asked for), at the prices of the dearest."""
        limits = [route.model.max_tokens for route in plan.routes]
        longest = max(limit or ANSWER_ROOM for limit in limits)
        asked = longest if answer is None else answer
        return cls(
            prompt=prompt,
            answer=min(asked, longest) if all(limits) else asked,
            choices=choices,
            open_ended=answer is None,
            input_price=max(route.model.input_price for route in plan.routes),
            output_price=max(route.model.output_price for route in plan.routes),
        )


class State(NamedTuple):
    """What a user and its personal token may use and have used in a month, all of it in one row."""

    row: Row
    month: Month


class Share(Struct, frozen=True):
    """What a request got: tokens and money to hold for it, and the length that its answers must keep to
    (each; None: nothing needs to bound them)."""

    tokens: int
    cost: int
    answer: int | None = None


class Pot(Struct, frozen=True):
    """One bounded quantity of a month: tokens, or millionths where it is money."""

    kind: Kind
    limit: int
    used: int
    held: int

    @property
    def is_money(self) -> bool:
        return self.kind.endswith("cost")

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used - self.held)

    @property
    def share_used(self) -> float:
        return self.used / self.limit if self.limit else 1.0

    def told(self, month: Month) -> dict[str, Any]:
        """As the API shows it; money as a number."""
        unit = 1_000_000 if self.is_money else 1
        amounts = {"limit": self.limit, "used": self.used, "reserved": self.held, "left": self.left}
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


def admit(tx: Transaction, spender: Spender, ended: Sequence[int]) -> State:
    """Count a request of the user's, and of the personal token it was made with; gives what is left to
    both, for ``share`` in the same transaction. ``ended`` are reservations of answers that have ended, and
    hold their share until that can be stored.

    Raises:
        Unauthorized: the user was disabled since its token was looked at.
        TooManyRequests: too many in this minute, or too many answers are being written; nothing is to be
            stored of it.
    """
    state = _state(tx, spender, ended)
    if not state.row["is_active"]:
        raise Unauthorized("登录已失效，请重新登录")
    for prefix, whose, token_id in (("", "", 0), ("token_", "该访问令牌", spender.token_id)):
        most = state.row[f"{prefix}replies_at_once"]
        if most is not None and state.row[f"{prefix}running"] >= most:
            raise TooManyRequests(f"{whose}同时进行的回复不能超过 {most} 个", retry_after=1)
        most = state.row[f"{prefix}requests_per_minute"]
        if most is not None:
            minute = {"minute": spender.month.now // 60_000, "user_id": spender.user_id, "token_id": token_id}
            if tx.all(tx.q.budgets.count_request, **minute)[0]["requests"] > most:
                wait = 60 - spender.month.now / 1000 % 60
                raise TooManyRequests(f"{whose}每分钟最多 {most} 次请求，请稍后再试", retry_after=wait)
    return state


def bounds_money(state: State) -> bool:
    """Whether what the user or the personal token may spend is bounded in money."""
    return any(pot.is_money for pot in _pots(state.row))


def share(state: State, wanted: Wanted) -> Share:
    """What the request may use of what is left.

    Raises:
        TooManyRequests: a pot has no room for the prompt and the beginning of an answer; ``budget`` of
            its details tells what is left and when it renews.
    """
    asked = wanted.answer * wanted.choices
    room = min((_room(pot, wanted, state.month) for pot in _pots(state.row)), default=None)
    if room is None:
        return Share(wanted.prompt + asked, _cost(wanted, asked))
    fair = max(ANSWER_ROOM, room // _SHARE) if wanted.open_ended else room
    if wanted.open_ended and fair >= max(asked, _ENOUGH * wanted.choices):
        return Share(wanted.prompt + asked, _cost(wanted, asked))
    each = min(asked, room, fair) // wanted.choices
    return Share(wanted.prompt + each * wanted.choices, _cost(wanted, each * wanted.choices), each)


def _cost(wanted: Wanted, answer: int) -> int:
    # rounded up: what is held is never less than the bill
    return -(-(wanted.prompt * wanted.input_price + answer * wanted.output_price) // 1000)


def _room(pot: Pot, wanted: Wanted, month: Month) -> int:
    """How many tokens all answers may have, for all that this pot says."""
    if not pot.is_money:
        room = pot.left - wanted.prompt
    elif not wanted.output_price:
        room = wanted.answer * wanted.choices if pot.left >= _cost(wanted, 0) else -1
    else:
        room = (pot.left * 1000 - wanted.prompt * wanted.input_price) // wanted.output_price
    # a token for each answer at least; vectors have none
    if room < min(1, wanted.answer) * wanted.choices:
        sentence = f"{pot}不足，将于 {month.next_day} 恢复"
        raise TooManyRequests(sentence, budget=pot.told(month))
    return room


def hold(tx: Transaction, spender: Spender, share: Share, message_id: int | None = None) -> int:
    """Reserve a share until ``release``; gives its number."""
    return tx.add(
        tx.q.budgets.hold,
        user_id=spender.user_id,
        token_id=spender.token_id,
        message_id=message_id,
        tokens=share.tokens,
        cost=share.cost,
    )


def release(tx: Transaction, reservation_id: int) -> None:
    tx.run(tx.q.budgets.release, reservation_id=reservation_id)


def warning(tx: Transaction, spender: Spender) -> dict[str, Any] | None:
    """The fullest pot, once four fifths of it are used."""
    row, month = _state(tx, spender)
    pot = max(_pots(row), key=lambda pot: pot.share_used, default=None)
    if pot is None or pot.share_used < _WARNING:
        return None
    told = pot.told(month)
    return {**told, "message": f"{pot}已使用 {told['percentage']:g}%，将于 {month.next_day} 恢复"}


def standing(tx: Transaction, spender: Spender) -> list[dict[str, Any]]:
    """All bounded pots of a user."""
    row, month = _state(tx, spender)
    return [pot.told(month) for pot in _pots(row)]


def _state(tx: Transaction, spender: Spender, ended: Sequence[int] = ()) -> State:
    month = ledger.in_force(tx, spender.month)
    row = tx.one(
        tx.q.budgets.get_state,
        user_id=spender.user_id,
        token_id=spender.token_id,
        first_day=month.first_day,
        next_day=month.next_day,
        month=month.name,
        ended=json.dumps(ended),
    )
    assert row is not None
    return State(row, month)


def _pots(row: Row) -> Iterator[Pot]:
    for kind, prefix, unit in _POTS:
        if (limit := row[f"{prefix}most_{unit}"]) is not None:
            yield Pot(kind, limit, row[f"{prefix}used_{unit}"], row[f"{prefix}held_{unit}"])
