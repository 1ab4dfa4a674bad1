"""The metering of gateway requests: reserved before they begin, settled after they have ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from chathub.accounts.caller import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.interrupted import Asked
from chathub.billing.ledger import AttemptOwner
from chathub.billing.output_rates import OutputRates
from chathub.billing.settlement_queue import SettlementQueue
from chathub.billing.token_weights import Lesson, TokenWeights
from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.rows.budgets import GatewayKind
from chathub.errors import BudgetSpent, ChatHubError
from chathub.formats.events import Units
from chathub.gateway.request import GatewayRequest, GatewaySettlement, Reserved, reserve, settle
from chathub.limits.reply_memory import ReplyMemory
from chathub.metrics.metrics import ReplyCounts
from chathub.providers.candidates import Candidates
from chathub.running.admission import Admission
from chathub.running.key_reports import KeyReports
from chathub.running.registry import Registry

# seconds that the end of a response waits until its usage is stored
_LONGEST_SETTLING = 2


class Metering:
    """Reserves and settles the usage of gateway requests."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        registry: Registry,
        admission: Admission,
        reply_memory: ReplyMemory,
        settlement_queue: SettlementQueue,
        key_reports: KeyReports,
        token_weights: TokenWeights,
        rates: OutputRates,
        reply_counts: ReplyCounts,
    ) -> None:
        self._db = db
        self._clock = clock
        self._registry = registry
        self._admission = admission
        self._reply_memory = reply_memory
        self._settlement_queue = settlement_queue
        self._key_reports = key_reports
        self._token_weights = token_weights
        self._rates = rates
        self._reply_counts = reply_counts

    @asynccontextmanager
    async def metered(
        self,
        caller: Caller,
        candidates: Candidates,
        kind: GatewayKind,
        *,
        prompt: int,
        requested: int | None,
        choices: int = 1,
        units: Units | None = None,
        is_fixed: bool = False,
    ) -> AsyncIterator[GatewayRequest]:
        """Reserve what a request may use, and settle what it used at the end of the context at the latest,
        however it ended and even if the client left.

        ``prompt`` is an upper bound on the prompt, ``requested`` the reply length that the client requested
        (None: none), both in tokens; ``units`` is the most that it may use besides. ``is_fixed``: the length
        cannot be capped.

        Raises:
            Unavailable: the server is shutting down, the database's file is gone, or too much waits to be
                stored already.
            DiskLow: the disk has too little room to store the settlement.
            Unauthorized: the user was disabled meanwhile.
            TooManyRequests: too many requests in this minute or at once, or a budget is used up.
        """
        self._registry.check_open()
        self._admission.check()
        owner = BudgetOwner(caller.id, caller.token_id, self._clock.month())
        bound = UsageBound.of(candidates, prompt, requested, choices, units, is_fixed=is_fixed)
        request = self._registered(caller, candidates, kind)
        asked = Asked.of(kind, candidates, prompt, units)
        ended = self._settlement_queue.reservations
        reserving = asyncio.ensure_future(self._db.write(reserve, owner, bound, asked, ended))
        async with self._settled(request, reserving):
            yield request

    @asynccontextmanager
    async def _settled(
        self, request: GatewayRequest, reserving: asyncio.Future[Reserved]
    ) -> AsyncIterator[None]:
        """Wait for the reservation; settle the request at the end of the context at the latest."""
        request.settle = partial(self._settle_once, reserving, request)
        try:
            reserved = await self._reserved(reserving)
            request.reply_cap = reserved.reply_cap
            request.is_limited |= reserved.has_cost_budget
            yield
        finally:
            request.memory.release()
            self._registry.remove(request)
            # which refers to the request: with it all that the request has would stay in memory
            settle, request.settle = request.settle, _nothing
            await settle()

    async def _reserved(self, reserving: asyncio.Future[Reserved]) -> Reserved:
        try:
            return await asyncio.shield(reserving)
        except BudgetSpent as refusal:
            self._reply_counts.refuse(refusal.details["budget"])
            raise

    @contextmanager
    def unmetered(self, caller: Caller, candidates: Candidates) -> Iterator[GatewayRequest]:
        """A request that costs nothing: nothing is reserved, nothing settled.

        Raises:
            Unavailable: the server is shutting down, or the database's file is gone.
        """
        self._registry.check_open()
        request = self._registered(caller, candidates, "completion")
        try:
            yield request
        finally:
            request.memory.release()
            self._registry.remove(request)

    def _registered(self, caller: Caller, candidates: Candidates, kind: GatewayKind) -> GatewayRequest:
        """The request in the registry. It is there as soon as it is resolved: one of its API keys may be
        removed before it is used."""
        attempt_owner = AttemptOwner(
            kind=kind,
            user_id=caller.id,
            token_id=caller.token_id,
            requested_model=candidates.requested,
        )
        memory = self._reply_memory.of(caller.id)
        request = GatewayRequest(attempt_owner, candidates, memory, is_limited=bool(caller.models))
        self._registry.add(request)
        return request

    async def _settle_once(self, reserving: asyncio.Future[Reserved], request: GatewayRequest) -> None:
        """Settle a request that is not settled yet. A database that cannot store it holds up the response for
        a bounded time."""
        if request.is_settled:
            return
        request.is_settled = True
        settling = self._settlement_queue.begin(self._settle(reserving, request))
        done, _ = await asyncio.wait([settling], timeout=_LONGEST_SETTLING)
        for task in done:
            task.result()

    async def _settle(self, reserving: asyncio.Future[Reserved], request: GatewayRequest) -> None:
        # the reservation failed: there is nothing to settle
        with contextlib.suppress(ChatHubError):
            reserved = await reserving
            for meter in request.meters:
                if (key_id := meter.successful_key_id) is not None:
                    self._key_reports.record_success(key_id, request.user_id, meter.attempts[-1].model)
            month = self._clock.month()
            settlement = request.settlement(reserved, month, self._lessons(request), self._rates)
            self._count(settlement)
            store = partial(settle, settlement=settlement)
            await self._settlement_queue.store("request", store, reserved.reservation_id)

    def _count(self, settlement: GatewaySettlement) -> None:
        for use in settlement.uses:
            self._reply_counts.record(
                use.attempts,
                settlement.models,
                use.usage_cost,
                prompt_estimate=use.prompt_estimate,
                units=use.units,
                first_at=use.first_at,
            )

    def _lessons(self, request: GatewayRequest) -> list[Lesson]:
        """What the reported usage has taught about the models' tokens."""
        lessons = [
            self._token_weights.learn(
                meter.model, meter.attempts[-1], meter.prompt_counts, meter.reported_prompt
            )
            for meter in request.meters
            if meter.teaches and meter.model is not None and meter.prompt_counts is not None
        ]
        return [lesson for lesson in lessons if lesson is not None]


async def _nothing() -> None:
    """What is left to settle of a request that is over."""
