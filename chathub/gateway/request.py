"""A gateway request: its reservation, its meters, and its settlement."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from chathub.billing import budgets, ledger, output_rates, token_weights
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.interrupted import Asked
from chathub.billing.ledger import AttemptOwner, UsageCost
from chathub.billing.output_rates import OutputRates
from chathub.billing.token_weights import Lesson
from chathub.clock import Month
from chathub.database.rows.output_rates import OutputRate
from chathub.database.transaction import Transaction
from chathub.formats.events import Units
from chathub.formats.messages import Attempt, Endpoint
from chathub.gateway.sink import Sink
from chathub.gateway.usage_meter import UsageMeter
from chathub.limits.reply_memory import MemoryLease
from chathub.providers import key_pool
from chathub.providers.candidates import Candidates
from chathub.providers.chat_model import ChatModel

T = TypeVar("T")


class Reserved(NamedTuple):
    """The reservation with the length of the reply in it, the cap on that (None: no cap; both in tokens), and
    whether the caller has a cost budget."""

    reservation_id: int
    reply_tokens: int
    reply_cap: int | None
    has_cost_budget: bool


class ModelUse(NamedTuple):
    """The usage of one model; ``key_id`` is the API key of a successful reply, ``prompt_estimate`` and
    ``units`` are for failed attempts."""

    attempts: list[Attempt]
    usage_cost: UsageCost
    prompt_estimate: int
    first_at: float | None
    end_reason: str
    key_id: int | None
    units: Units | None = None


class GatewaySettlement(NamedTuple):
    """What is stored of a request at its end, and nothing more: it may wait in memory. ``models`` are the
    models of its candidates, by name; ``lessons`` and ``rates`` are what its reported usage has taught."""

    reservation_id: int
    attempt_owner: AttemptOwner
    month: Month
    models: dict[str, ChatModel]
    uses: list[ModelUse]
    lessons: list[Lesson] = []
    rates: list[OutputRate | None] = []


class GatewayRequest:
    """A request of a program and its usage: a ``Run``.

    ``memory`` is the memory of a response that arrives whole, ``reply_cap`` the cap on the reply's length in
    tokens (None: no cap), ``excluded_keys`` are API keys that were removed since the request was resolved.
    ``is_limited``: its caller is limited to some models or to a cost budget. ``settle`` settles it, once.
    """

    settle: Callable[[], Awaitable[None]]

    def __init__(
        self, attempt_owner: AttemptOwner, candidates: Candidates, memory: MemoryLease, *, is_limited: bool
    ) -> None:
        self.attempt_owner = attempt_owner
        self.memory = memory
        self.candidates = candidates
        self.is_limited = is_limited
        self.reply_cap: int | None = None
        self.excluded_keys: set[int] = set()
        self.is_settled = False
        # set when the client has left: what still comes is read for its usage only
        self.left = asyncio.Event()
        # what is cancelled to end it
        self.task: asyncio.Future[Any] | None = asyncio.current_task()
        # one meter for each model that was tried
        self.meters: list[UsageMeter] = []

    @property
    def user_id(self) -> int:
        return self.attempt_owner.user_id

    def add_meter(self, meter: UsageMeter, model: ChatModel, before: UsageMeter | None = None) -> None:
        """Add the meter of a model's attempts, as the last one or ``before`` another: it is settled with the
        request."""
        self.meters.insert(len(self.meters) if before is None else self.meters.index(before), meter)
        meter.model, meter.excluded_keys, meter.left = model, self.excluded_keys, self.left

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint of the latest attempt."""
        return self.meters[-1].endpoint if self.meters else None

    def takes_extras(self, model: ChatModel) -> bool:
        """Whether the body may choose another model than this one, or a more expensive service."""
        return model.allow_extras or not self.is_limited

    def settlement(
        self, reserved: Reserved, month: Month, lessons: list[Lesson], rates: OutputRates
    ) -> GatewaySettlement:
        """The settlement of the request, after its end; ``rates`` learn from it."""
        uses, learned = [], []
        for meter in self.meters:
            if meter.model is None:
                continue
            usage_cost = meter.usage_cost(meter.model, rates, reserved.reply_tokens)
            learned.append(rates.learn(meter.lesson(meter.model, usage_cost)))
            uses.append(
                ModelUse(
                    meter.attempts,
                    usage_cost,
                    meter.prompt_estimate,
                    meter.first_at,
                    meter.end_reason,
                    meter.successful_key_id,
                    meter.units_sent,
                )
            )
        models = self.candidates.models
        return GatewaySettlement(
            reserved.reservation_id, self.attempt_owner, month, models, uses, lessons, learned
        )

    def exclude_key(self, key_id: int) -> None:
        self.excluded_keys.add(key_id)

    @property
    def has_left(self) -> bool:
        return self.left.is_set()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def attend(self, work: Coroutine[Any, Any, T], sink: Sink, usage_seconds: float) -> T:
        """The result of the request's work. If its client leaves meanwhile, the work goes on for at most so
        many seconds, to learn the usage of what was sent; nothing is sent to the client any more."""
        task = self.task = asyncio.get_running_loop().create_task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                sink.lose()
                await self._read_on(task, usage_seconds)
            raise
        finally:
            # it has the body, which may be large: nothing that refers to itself may keep it
            self.task = None

    async def _read_on(self, task: asyncio.Task[Any], seconds: float) -> None:
        self.left.set()
        # an error of the work is for nobody, and asyncio would log it
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            if self.meters and self.meters[-1].may_tell_usage:
                await asyncio.wait([task], timeout=seconds)
        finally:
            task.cancel()
            await asyncio.wait([task])


def reserve(
    tx: Transaction, owner: BudgetOwner, bound: UsageBound, asked: Asked, ended: Sequence[int]
) -> Reserved:
    """Reserve the most that a request may use; ``ended`` as for ``budgets.check_rate_limits``.

    Raises:
        TooManyRequests: too many in this minute or at once, or the budget is used up.
    """
    state = budgets.check_rate_limits(tx, owner, ended)
    reservation = budgets.size_reservation(state, bound)
    reservation_id = budgets.reserve(tx, owner, reservation, asked)
    tokens = reservation.tokens - bound.prompt
    return Reserved(reservation_id, tokens, reservation.cap, state.has_cost_budget)


def settle(tx: Transaction, settlement: GatewaySettlement) -> None:
    """Record every attempt in the ledger, and release the reservation."""
    budgets.release(tx, settlement.reservation_id)
    output_rates.store(tx, settlement.rates, settlement.month.now)
    for lesson in settlement.lessons:
        token_weights.store(tx, lesson, settlement.month.now)
    for use in settlement.uses:
        ledger.record_attempts(
            tx,
            settlement.attempt_owner,
            use.attempts,
            settlement.models,
            use.usage_cost,
            prompt_estimate=use.prompt_estimate,
            units=use.units,
            first_at=use.first_at,
            end_reason=use.end_reason,
            month=settlement.month,
        )
        if use.key_id is not None:
            key_pool.record_success(tx, use.key_id, use.attempts[-1].model, settlement.month.now)
