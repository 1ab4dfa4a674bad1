"""What one request of a program's reserves, and what is booked for it when it has ended."""

import asyncio
from typing import NamedTuple

from chathub.accounts.holdings import Holding
from chathub.catalog import ChatModel
from chathub.chat import budgets, ledger, pool
from chathub.chat.budgets import Spender, Wanted
from chathub.chat.ledger import Account
from chathub.chat.plan import Plan
from chathub.chat.tally import Tally
from chathub.clock import Month
from chathub.database.connection import Transaction
from chathub.upstream.types import Endpoint


class Held(NamedTuple):
    """What was reserved, the length that the answer is cut to, and whether money bounds its caller."""

    reservation_id: int
    answer_limit: int | None
    is_money_bound: bool


class Purchase:
    """One request of a program's, and what its answers turned out to use.

    ``holding`` is the memory of an answer that comes whole, ``answer_limit`` the length its answer is cut to,
    in tokens (None: it is not), ``barred`` are keys that are gone since it was planned; ``is_bound``: its
    caller may use some models only, or so much money.
    """

    def __init__(self, account: Account, plan: Plan, holding: Holding, *, is_bound: bool) -> None:
        self.account = account
        self.holding = holding
        self.plan = plan
        self.is_bound = is_bound
        self.answer_limit: int | None = None
        self.barred: set[int] = set()
        self.task = asyncio.current_task()
        # one for each model that was tried
        self.tallies: list[Tally] = []

    def count(self, tally: Tally) -> None:
        """Book what another model's answer will have used."""
        self.tallies.append(tally)
        tally.answer_limit, tally.barred = self.answer_limit, self.barred

    @property
    def endpoint(self) -> Endpoint | None:
        """The one that was asked last."""
        return self.tallies[-1].endpoint if self.tallies else None

    def takes_extras(self, model: ChatModel) -> bool:
        """Whether its body may choose another model than this, or a dearer service of it."""
        return model.allow_extras or not self.is_bound

    def uses(self, key_id: int) -> bool:
        """Whether its answer comes with a key just now."""
        return self.endpoint is not None and self.endpoint.key_id == key_id

    def break_off(self) -> None:
        if self.task is not None:
            self.task.cancel()


def buy(tx: Transaction, spender: Spender, wanted: Wanted) -> Held:
    """Reserve the most that a request may use.

    Raises:
        TooManyRequests: too many in this minute or at once, or the budget is used up.
    """
    state = budgets.admit(tx, spender)
    share = budgets.share(state, wanted)
    return Held(budgets.hold(tx, spender, share), share.answer, budgets.bounds_money(state))


def settle(tx: Transaction, reservation_id: int, purchase: Purchase, month: Month) -> None:
    """Book every attempt, and give back what was reserved and not used."""
    budgets.release(tx, reservation_id)
    for tally in purchase.tallies:
        if tally.model is None:
            continue
        ledger.book(
            tx,
            purchase.account,
            tally.attempts,
            purchase.plan.models,
            tally.bill(tally.model),
            first_at=tally.first_at,
            end_reason=tally.end_reason,
            month=month,
        )
        if tally.well and tally.endpoint and tally.endpoint.key_id is not None:
            pool.note_success(tx, tally.endpoint.key_id, month.now)
