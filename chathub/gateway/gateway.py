"""The gateway: stateless requests of programs (``/v1``). Only what they used is stored.

``respond`` is the whole way of a request: resolve, reserve, try the candidates, write to the sink, settle.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

from chathub.accounts.caller import Caller
from chathub.billing.budgets import BudgetOwner, UsageBound
from chathub.billing.ledger import AttemptOwner
from chathub.billing.settlement_queue import SettlementQueue
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.disk import Disk
from chathub.errors import BadRequest, ChatHubError, NotFound, UnknownModel
from chathub.formats.client_format import ClientFormat, longest_prompt
from chathub.formats.events import Failure
from chathub.gateway.embeddings import EmbeddingExchange, EmbeddingRequest
from chathub.gateway.exchange import Exchange
from chathub.gateway.failures import error_for, shown
from chathub.gateway.request import GatewayRequest, Reserved, reserve, settle
from chathub.gateway.sink import Sink
from chathub.limits.reply_memory import ReplyMemory
from chathub.offload import Offload
from chathub.providers.resolver import NOTHING, Candidates, Requirements, Resolver
from chathub.running.key_reports import KeyReports
from chathub.running.registry import Registry
from chathub.upstream import failover
from chathub.upstream.client import AttemptFailed, Client


class Gateway:
    """Replies to programs' requests and settles what they used."""

    def __init__(
        self,
        db: Database,
        disk: Disk,
        client: Client,
        clock: Clock,
        config: Config,
        resolver: Resolver,
        offload: Offload,
        key_reports: KeyReports,
        holdings: ReplyMemory,
        settlement_queue: SettlementQueue,
        registry: Registry,
    ) -> None:
        self._registry = registry
        self._settlement_queue = settlement_queue
        self._disk = disk
        self._config = config
        self._resolver = resolver
        self._offload = offload
        self._key_reports = key_reports
        self._holdings = holdings
        self._db = db
        self.client = client
        self._clock = clock

    async def respond(
        self, caller: Caller, client_format: ClientFormat, headers: Mapping[str, str], sink: Sink
    ) -> bytes | None:
        """Reply to a request; gives the reply's whole body, or None if it went to the sink as a stream.

        Raises:
            ChatHubError: before anything was sent.
            ConnectionError: the client left.
        """
        longest = await self._offload.run(len(client_format.body), longest_prompt, client_format)
        # nothing is awaited between resolving and reserving: the removal of an API key must find the request
        candidates = self._resolve(caller, client_format.model)
        reserving = self.metered(
            caller,
            candidates,
            "completion",
            prompt=longest,
            answer=client_format.max_tokens,
            choices=client_format.choices,
        )
        async with reserving as request:
            exchange = Exchange(
                self.client, self._offload, self._config, request, client_format, headers, sink, longest
            )
            failure = await self._try(exchange, request)
            if failure is None or sink.has_ended:
                return exchange.body
            told = shown(failure, exchange.candidate, request.endpoint)
            if not sink.has_begun:
                raise error_for(told, exchange.candidate)
            # the head went out while the provider was silent: the failure is told as an event
            await sink.end(client_format.encoder(exchange.candidate.model_name, 0).feed([told]))
            return None

    async def _try(self, exchange: Exchange, request: GatewayRequest) -> Failure | None:
        report = self._key_reports.for_caller(request.user_id)
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                return await failover.run(request.candidates.in_order, exchange.prepare, report)
        except TimeoutError:
            return Failure("回复时间过长，已中止", kind="timeout")
        except AttemptFailed as failed:
            return failed.failure
        finally:
            await exchange.estimate_prompts()

    async def embed(self, caller: Caller, request: EmbeddingRequest) -> bytes:
        """The provider's reply to a request for embeddings.

        Raises:
            ChatHubError: there is none.
        """
        candidates = self._resolve(caller, request.model, Requirements(embeddings=True))
        # vectors of another model are of no use: there is no fallback
        candidate = candidates.in_order[0]
        if candidate.endpoints[0].wire_format != "openai":
            raise BadRequest(f"模型 {request.model} 的提供商不支持 embeddings 接口")
        reserving = self.metered(caller, candidates, "embedding", prompt=request.tokens, answer=0)
        async with reserving as gateway_request:
            exchange = EmbeddingExchange(self.client, gateway_request, candidate, request)
            report = self._key_reports.for_caller(caller.id)
            failure = await failover.run([candidate], exchange.prepare, report)
            if failure is not None:
                raise error_for(shown(failure, candidate, gateway_request.endpoint), candidate)
            return exchange.body

    def _resolve(self, caller: Caller, model: str, requirements: Requirements = NOTHING) -> Candidates:
        """The candidates of a program's request, for which an unknown model is a 404."""
        try:
            return self._resolver.resolve(caller, model, requirements)
        except UnknownModel as error:
            raise NotFound(error.sentence) from None

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
        self._registry.check_open()
        self._db.condition.check()
        self._disk.check()
        self._settlement_queue.check()
        owner = BudgetOwner(caller.id, caller.token_id, self._clock.month())
        attempt_owner = AttemptOwner(kind=kind, user_id=caller.id, token_id=caller.token_id)
        gateway_request = GatewayRequest(
            attempt_owner, candidates, self._holdings.of(caller.id), is_bound=bool(caller.models)
        )
        # known from the moment it is planned: a key of the plan may go before it is used
        self._registry.add(gateway_request)
        bound, ended = UsageBound.of(candidates, prompt, answer, choices), self._settlement_queue.reservations
        reserving = asyncio.ensure_future(self._db.write(reserve, owner, bound, ended))
        try:
            reserved = await asyncio.shield(reserving)
            gateway_request.answer_limit = reserved.answer_limit
            gateway_request.is_bound |= reserved.is_money_bound
            yield gateway_request
        finally:
            gateway_request.holding.release()
            self._registry.remove(gateway_request)
            await self._settlement_queue.finish(self._settle(reserving, gateway_request))

    async def _settle(self, reserving: asyncio.Future[Reserved], gateway_request: GatewayRequest) -> None:
        with contextlib.suppress(ChatHubError):
            reserved = await reserving
            for meter in gateway_request.meters:
                if meter.well_key is not None:
                    self._key_reports.note_success(meter.well_key, gateway_request.user_id)
            settlement = gateway_request.settlement(reserved.reservation_id, self._clock.month())
            booking = partial(settle, settlement=settlement)
            await self._settlement_queue.store("request", booking, reserved.reservation_id)
