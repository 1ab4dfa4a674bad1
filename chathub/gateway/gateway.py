"""Stateless chats for programs (/v1): nothing is stored but what was used.

Where client and provider speak the same dialect the bytes go through as they are and are only read in
passing; otherwise events go from one dialect to the other through an ``EventQueue``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import aiohttp
from msgspec.structs import replace

from chathub import redaction
from chathub.accounts.sessions import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.ledger import AttemptOwner
from chathub.billing.settlement_queue import SettlementQueue
from chathub.clock import Clock
from chathub.database.connection import Database
from chathub.disk import Disk
from chathub.errors import ChatHubError, Unavailable
from chathub.formats.client_request import ClientRequest
from chathub.formats.estimates import estimate_prompt
from chathub.formats.events import Failure
from chathub.formats.failure_class import another_may_help
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.quirk_learning import refuses_usage
from chathub.formats.quirks import Quirks
from chathub.gateway.request import GatewayRequest, Reserved, reserve, settle
from chathub.gateway.usage_meter import EventQueue, UsageMeter
from chathub.limits.reply_memory import ReplyMemory
from chathub.providers import key_pool
from chathub.providers.catalog import ChatModel
from chathub.providers.cooldowns import CallerCooldowns
from chathub.providers.resolver import Candidate, Candidates
from chathub.upstream import failover
from chathub.upstream.client import AttemptFailed, Client

T = TypeVar("T")


class Outgoing(NamedTuple):
    """A request as it goes to one endpoint; ``adds_usage``: it asks for the usage although its client does
    not."""

    request: UpstreamRequest
    adds_usage: bool = False


# makes the request for an endpoint in the form that it takes
Make = Callable[[Endpoint, Quirks], Outgoing]
# reads a response; raises Refused as long as nothing of it has gone to the client
Use = Callable[[aiohttp.ClientResponse], Awaitable[T]]


class Gateway:
    """Sends programs' requests on and books what they used."""

    def __init__(
        self,
        db: Database,
        disk: Disk,
        client: Client,
        clock: Clock,
        cooldowns: CallerCooldowns,
        holdings: ReplyMemory,
        settlement_queue: SettlementQueue,
    ) -> None:
        self._settlement_queue = settlement_queue
        self._disk = disk
        self._cooldowns = cooldowns
        self._holdings = holdings
        self._db = db
        self.client = client
        self._clock = clock
        self._requests: set[GatewayRequest] = set()
        self._idle = asyncio.Event()
        self._draining = False

    @asynccontextmanager
    async def metered(
        self,
        caller: Caller,
        candidates: Candidates,
        kind: Literal["completion", "embedding"],
        *,
        prompt: int,
        answer: int | None,
        choices: int = 1,
    ) -> AsyncIterator[GatewayRequest]:
        """Hold what a request may use for as long as this lasts, then book what it used, however it ended
        and even if the client left; ``prompt`` and ``answer`` are tokens, as for ``budgets.UsageBound``.

        Raises:
            Unavailable: the server is shutting down, or its database file is gone.
            DiskLow: there is hardly room left to book it.
            Unavailable: too much waits to be stored already.
            Unauthorized: the user was disabled meanwhile.
            TooManyRequests: the user has too many requests, or too little left.
        """
        if self._draining:
            raise Unavailable("服务器正在重启，请稍后再试", retry_after=5)
        self._db.condition.check()
        self._disk.check()
        self._settlement_queue.check()
        owner = BudgetOwner(caller.id, caller.token_id, self._clock.month())
        attempt_owner = AttemptOwner(kind=kind, user_id=caller.id, token_id=caller.token_id)
        gateway_request = GatewayRequest(
            attempt_owner, candidates, self._holdings.of(caller.id), is_bound=bool(caller.models)
        )
        # known from the moment it is planned: a key of the plan may go before it is used
        self._requests.add(gateway_request)
        self._idle.clear()
        bound, ended = UsageBound.of(candidates, prompt, answer, choices), self._settlement_queue.reservations
        reserving = asyncio.ensure_future(self._db.write(reserve, owner, bound, ended))
        try:
            reserved = await asyncio.shield(reserving)
            gateway_request.answer_limit = reserved.answer_limit
            gateway_request.is_bound |= reserved.is_money_bound
            yield gateway_request
        finally:
            gateway_request.holding.release()
            self._requests.discard(gateway_request)
            if not self._requests:
                self._idle.set()
            await self._settlement_queue.see_through(self._settle(reserving, gateway_request))

    async def _settle(self, reserving: asyncio.Future[Reserved], gateway_request: GatewayRequest) -> None:
        with contextlib.suppress(ChatHubError):
            reserved = await reserving
            for meter in gateway_request.meters:
                if meter.well_key is not None:
                    self._cooldowns.note_success(meter.well_key, gateway_request.attempt_owner.user_id)
            settlement = gateway_request.settlement(reserved.reservation_id, self._clock.month())
            booking = partial(settle, settlement=settlement)
            await self._settlement_queue.store("request", booking, reserved.reservation_id)

    async def drain(self, seconds: float) -> None:
        """Take no more requests and give the answers in the making some time to end."""
        self._draining = True
        if self._requests:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    def stop_key(self, key_id: int) -> None:
        """Break off the answers that come with a key that is gone; none may turn to it any more."""
        for gateway_request in self._requests:
            gateway_request.excluded_keys.add(key_id)
            if gateway_request.uses(key_id):
                gateway_request.break_off()

    def stop_user(self, user_id: int) -> None:
        """Break off the answers to a user whose account was disabled."""
        for gateway_request in self._requests:
            if gateway_request.attempt_owner.user_id == user_id:
                gateway_request.break_off()

    async def translate(
        self, candidate: Candidate, user_id: int, request: ClientRequest, queue: EventQueue
    ) -> Failure | None:
        """Have a user's request answered in whichever dialect its model speaks; gives how that failed."""
        queue.model = candidate.model
        call = _call(candidate.model, user_id, request, queue.answer_limit)

        async def report(endpoint: Endpoint, failure: Failure | None) -> None:
            await self._note(queue, endpoint, user_id, failure)

        try:
            return await failover.run(self.client, candidate.endpoints, call, queue, report)
        finally:
            queue.close()

    async def forward(
        self, candidate: Candidate, user_id: int, make: Make, meter: UsageMeter, use: Use[T]
    ) -> T:
        """What ``use`` makes of the provider's response to a user's body that goes on in its own format: of
        the first endpoint that takes it.

        Raises:
            Refused: none does.
        """
        meter.model = candidate.model
        failure = Failure("没有可用的接口", kind="unreachable")
        for endpoint in candidate.endpoints:
            if endpoint.key_id in meter.excluded_keys:
                continue
            try:
                with failover.attempted(meter.attempts, endpoint, candidate.model.name) as attempt:
                    async with AsyncExitStack() as stack:
                        at = await stack.enter_async_context(self.client.at_local(endpoint))
                        answer = await use(await self._sent(stack, at, candidate.model.name, user_id, make))
                if attempt.failure is not None:
                    # after its beginning, which the answer tells
                    await self._note(meter, endpoint, user_id, attempt.failure)
                return answer
            except AttemptFailed as refused:
                failure = attempt.failure = refused.failure
                meter.reset_attempt()
                await self._note(meter, endpoint, user_id, failure)
                if not another_may_help(failure):
                    break
        raise AttemptFailed(failure)

    async def _sent(
        self, stack: AsyncExitStack, endpoint: Endpoint, model: str, user_id: int, make: Make
    ) -> aiohttp.ClientResponse:
        """The response; a provider that refuses to be asked for the usage is asked without, and if it takes
        that, from then on."""
        quirks = self.client.quirks.quirks_for(endpoint, model, user_id)
        outgoing = make(endpoint, quirks)
        try:
            return await stack.enter_async_context(self.client.raw(endpoint, outgoing.request))
        except AttemptFailed as refused:
            told = refused.failure, outgoing.request.body
            if not (outgoing.adds_usage and await asyncio.to_thread(refuses_usage, *told)):
                raise
        other = replace(quirks, stream_options=False)
        response = await stack.enter_async_context(self.client.raw(endpoint, make(endpoint, other).request))
        self.client.quirks.note(endpoint, model, user_id, quirks, other)
        return response

    async def _note(
        self, meter: UsageMeter, endpoint: Endpoint, user_id: int, failure: Failure | None
    ) -> None:
        meter.well = failure is None
        if failure is not None and endpoint.key_id is not None:
            sentence = redaction.scrub(failure.message, [endpoint.api_key])
            now = self._clock.now()
            is_common = self._cooldowns.note_failure(endpoint, user_id, failure, now)
            told = endpoint.key_id, failure, sentence, now
            await self._settlement_queue.store_soon(
                "key's state", lambda tx: key_pool.note_failure(tx, *told, is_common=is_common)
            )


def estimate_request(request: ClientRequest) -> int:
    """About how many tokens a program's request is."""
    shape = request.params.get("response_format")
    return estimate_prompt(request.messages, request.tools, shape)


def _call(model: ChatModel, user_id: int, request: ClientRequest, limit: int | None) -> ChatRequest:
    params = request.params
    if limit is not None:
        lengths = (limit, params.get("max_tokens"), model.max_tokens)
        params = {**params, "max_tokens": min(length for length in lengths if length)}
    return ChatRequest(
        "",
        model.name,
        request.messages,
        stream=request.stream and model.supports_streaming,
        params=params,
        tools=request.tools,
        tool_choice=request.tool_choice,
        extra=request.extra,
        caller_id=user_id,
    )
