"""What one request of a program's reserves, and what is booked for it when it has ended."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from chathub.billing import budgets, ledger
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.ledger import AttemptOwner, UsageCost
from chathub.clock import Month
from chathub.database.transaction import Transaction
from chathub.formats.messages import Attempt, Endpoint
from chathub.gateway.usage_meter import UsageMeter
from chathub.limits.reply_memory import MemoryLease
from chathub.providers import key_pool
from chathub.providers.catalog import ChatModel
from chathub.providers.resolver import Candidates


class Reserved(NamedTuple):
    """What was reserved, the length that the answer is cut to, and whether money bounds its caller."""

    reservation_id: int
    answer_limit: int | None
    is_money_bound: bool


class ModelUse(NamedTuple):
    """What the answer of one model used; ``key_id`` is the key that answered well."""

    attempts: list[Attempt]
    usage_cost: UsageCost
    first_at: float | None
    end_reason: str
    key_id: int | None


class GatewaySettlement(NamedTuple):
    """All that is booked for a request at its end, and nothing else of it: it may have to be kept.
    ``models`` are those that were tried, by name."""

    reservation_id: int
    attempt_owner: AttemptOwner
    month: Month
    models: dict[str, ChatModel]
    uses: list[ModelUse]


class GatewayRequest:
    """One request of a program's, and what its answers turned out to use: a ``Run``.

    ``memory`` is the memory of a response that arrives whole, ``answer_limit`` the cap on the reply's length
    in tokens (None: no cap), ``excluded_keys`` are API keys that were removed since the request was resolved.
    ``is_bound``: its caller is limited to some models or to a cost budget.
    """

    def __init__(
        self, attempt_owner: AttemptOwner, candidates: Candidates, memory: MemoryLease, *, is_bound: bool
    ) -> None:
        self.attempt_owner = attempt_owner
        self.memory = memory
        self.candidates = candidates
        self.is_bound = is_bound
        self.answer_limit: int | None = None
        self.excluded_keys: set[int] = set()
        self.task = asyncio.current_task()
        # one for each model that was tried
        self.meters: list[UsageMeter] = []

    @property
    def user_id(self) -> int:
        return self.attempt_owner.user_id

    def count(self, meter: UsageMeter, model: ChatModel) -> None:
        """Settle with the request what a model's reply will have used."""
        self.meters.append(meter)
        meter.model, meter.excluded_keys = model, self.excluded_keys

    @property
    def endpoint(self) -> Endpoint | None:
        """The one that was asked last."""
        return self.meters[-1].endpoint if self.meters else None

    def takes_extras(self, model: ChatModel) -> bool:
        """Whether its body may choose another model than this, or a dearer service of it."""
        return model.allow_extras or not self.is_bound

    def settlement(self, reservation_id: int, month: Month) -> GatewaySettlement:
        """What is to be booked, now that it has ended."""
        uses = [
            ModelUse(
                meter.attempts,
                meter.usage_cost(meter.model),
                meter.first_at,
                meter.end_reason,
                meter.well_key,
            )
            for meter in self.meters
            if meter.model is not None
        ]
        return GatewaySettlement(reservation_id, self.attempt_owner, month, self.candidates.models, uses)

    def exclude_key(self, key_id: int) -> None:
        self.excluded_keys.add(key_id)

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()


def reserve(tx: Transaction, owner: BudgetOwner, bound: UsageBound, ended: Sequence[int]) -> Reserved:
    """Reserve the most that a request may use; ``ended`` as for ``budgets.check_rate_limits``.

    Raises:
        TooManyRequests: too many in this minute or at once, or the budget is used up.
    """
    state = budgets.check_rate_limits(tx, owner, ended)
    reservation = budgets.size_reservation(state, bound)
    return Reserved(budgets.reserve(tx, owner, reservation), reservation.cap, state.is_money_bound)


def settle(tx: Transaction, settlement: GatewaySettlement) -> None:
    """Book every attempt, and give back what was reserved and not used."""
    budgets.release(tx, settlement.reservation_id)
    for used in settlement.uses:
        ledger.record_attempts(
            tx,
            settlement.attempt_owner,
            used.attempts,
            settlement.models,
            used.usage_cost,
            first_at=used.first_at,
            end_reason=used.end_reason,
            month=settlement.month,
        )
        if used.key_id is not None:
            key_pool.record_success(tx, used.key_id, settlement.month.now)
