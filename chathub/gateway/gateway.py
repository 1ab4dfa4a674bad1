"""The gateway: responds to stateless requests of programs (``/v1``) and stores only their usage.

``respond`` goes all the way of a request: resolve, reserve, try the candidates, write to the sink, settle.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from msgspec.structs import replace

from chathub.accounts.caller import Caller
from chathub.billing.token_weights import TokenWeights
from chathub.config import Config
from chathub.errors import NotFound, UnknownModel
from chathub.formats.affinity_hints import hint_of
from chathub.formats.client_format import ClientFormat, most_counts
from chathub.formats.events import Failure
from chathub.formats.messages import Endpoint
from chathub.formats.needs import needs_of
from chathub.formats.openai.media.request import MediaRequest
from chathub.gateway.exchange import Exchange
from chathub.gateway.failures import error_for, public_failure
from chathub.gateway.item_memory import ItemMemory
from chathub.gateway.media import MediaExchange
from chathub.gateway.metering import Metering
from chathub.gateway.prompt_counter import PromptCounter
from chathub.gateway.request import GatewayRequest
from chathub.gateway.responses_exchange import ResponsesExchange
from chathub.gateway.sink import DroppableSink, Sink
from chathub.gateway.thought_memory import ThoughtMemory
from chathub.gateway.token_counts import TokenCount, TokenCounts
from chathub.offload import Offload
from chathub.providers.candidates import Candidate, Candidates
from chathub.providers.requirements import Requirements
from chathub.providers.resolver import Resolver
from chathub.running.key_reports import KeyReports
from chathub.running.registry import Registry
from chathub.upstream import failover
from chathub.upstream.client import Client


class Gateway:
    """Responds to the requests of programs."""

    def __init__(
        self,
        client: Client,
        config: Config,
        resolver: Resolver,
        offload: Offload,
        key_reports: KeyReports,
        metering: Metering,
        registry: Registry,
        token_weights: TokenWeights,
    ) -> None:
        self._client = client
        self._config = config
        self._resolver = resolver
        self._offload = offload
        self._key_reports = key_reports
        self._metering = metering
        self._registry = registry
        self._token_weights = token_weights
        self._thoughts = ThoughtMemory()
        self.items = ItemMemory()
        self._token_counts = TokenCounts(client, offload, key_reports, token_weights)

    async def respond(
        self,
        caller: Caller,
        client_format: ClientFormat,
        headers: Mapping[str, str],
        sink: Sink,
        reserved: Callable[[GatewayRequest], Awaitable[None]] | None = None,
    ) -> bytes | None:
        """Respond to a request. Returns the whole body, or None if the reply went to the sink as a stream.
        ``reserved`` is called when the request may begin: its usage is reserved.

        Raises:
            ChatHubError: the request failed before anything was sent.
            ConnectionError: the client left.
        """
        size = len(client_format.body)
        counts = await self._offload.run(size, most_counts, client_format)
        candidates = await self._candidates(caller, client_format, headers)
        longest = self._token_weights.longest(candidates.models.values(), counts)
        metered = self._metering.metered(
            caller,
            candidates,
            "completion",
            prompt=longest,
            requested=client_format.max_tokens,
            choices=client_format.choices,
        )
        async with metered as request:
            if reserved is not None:
                await reserved(request)
            counter = PromptCounter(client_format, self._token_weights, self._offload, longest, caller.id)
            exchange = self._exchange_of(request, client_format, headers, sink, counter)
            work = self._exchanged(exchange, request, client_format, sink)
            return await request.attend(work, sink, self._registry.usage_seconds)

    def _exchange_of(
        self,
        request: GatewayRequest,
        client_format: ClientFormat,
        headers: Mapping[str, str],
        sink: Sink,
        counter: PromptCounter,
    ) -> Exchange:
        kind = ResponsesExchange if client_format.wire_format == "responses" else Exchange
        parts = (self._client, self._offload, self._config)
        return kind(*parts, request, client_format, headers, sink, counter, self._thoughts)

    async def _exchanged(
        self, exchange: Exchange, request: GatewayRequest, client_format: ClientFormat, sink: Sink
    ) -> bytes | None:
        """The body of the reply, or None if it went to the sink."""
        try:
            failure = await self._try(exchange.prepare, request)
        finally:
            await exchange.count_prompts()
        if failure is not None and not sink.has_ended:
            await request.settle()
            await _send_failure(failure, exchange.candidate, request.endpoint, client_format, sink)
        return exchange.body

    async def _try(
        self, prepare: Callable[[Candidate], Awaitable[failover.Trial]], request: GatewayRequest
    ) -> Failure | None:
        report = self._key_reports.for_request(request.user_id, request.candidates)
        try:
            async with asyncio.timeout(self._config.reply_seconds):
                return await failover.run(request.candidates.in_order, prepare, report)
        except TimeoutError:
            return Failure.found("reply_took_too_long", kind="timeout")

    async def count_tokens(
        self, caller: Caller, client_format: ClientFormat, headers: Mapping[str, str]
    ) -> TokenCount:
        """How many tokens the prompt of a request is.

        Raises:
            ChatHubError: the request failed.
        """
        candidates = await self._candidates(caller, client_format, headers)
        with self._metering.unmetered(caller, candidates) as request:
            recall = partial(self._thoughts.completed, caller.id)
            return await self._token_counts.count(request, client_format, headers, recall)

    async def forward_media(self, caller: Caller, media: MediaRequest, sink: DroppableSink) -> MediaExchange:
        """Forward a request as it is. A stream goes to the sink, a whole response is in the exchange.

        Raises:
            ChatHubError: the request failed before anything was sent.
            ConnectionError: the client left.
        """
        needs = Requirements(types=media.model_types, falls_back=media.falls_back, units=media.most)
        candidates = self._resolve(caller, media.model, needs)
        able = tuple(each for each in candidates.in_order if each.endpoints[0].wire_format == "openai")
        if not able:
            raise media.unsupported
        candidates = replace(candidates, in_order=able)
        counts_tokens = media.most is None or any(each.model.prices.has_any for each in able)
        metered = self._metering.metered(
            caller,
            candidates,
            media.kind,
            prompt=media.most_prompt if counts_tokens else 0,
            requested=media.requested if counts_tokens else 0,
            choices=media.choices,
            units=media.most,
            is_fixed=not media.takes_cap,
        )
        async with metered as request:
            limit = self._config.reply_characters
            exchange = MediaExchange(self._client, request, able[0], media, sink, limit)
            work = self._transferred(exchange, request, sink)
            return await request.attend(work, sink, self._registry.usage_seconds)

    async def _transferred(
        self, exchange: MediaExchange, request: GatewayRequest, sink: DroppableSink
    ) -> MediaExchange:
        failure = await self._try(exchange.prepare, request)
        if failure is not None and not sink.has_begun:
            raise error_for(failure, exchange.candidate, request.endpoint)
        if failure is not None and not sink.has_ended:
            sink.abort()
        return exchange

    async def _candidates(
        self, caller: Caller, client_format: ClientFormat, headers: Mapping[str, str]
    ) -> Candidates:
        """The candidates of a request. Nothing is awaited between resolving and registering: the removal of
        an API key must find the run."""
        size = len(client_format.body)
        needs = await self._offload.run(size, needs_of, client_format.fields, client_format.wire_format)
        hint = await self._offload.run(size, hint_of, client_format.fields, headers)
        return self._resolve(caller, client_format.model, Requirements(*needs), hint)

    def _resolve(self, caller: Caller, model: str, requirements: Requirements, hint: str = "") -> Candidates:
        """The candidates of a program's request; an unknown model is a 404."""
        try:
            return self._resolver.resolve(caller, model, requirements, hint)
        except UnknownModel as error:
            raise NotFound.of(error.reason) from None


async def _send_failure(
    failure: Failure, candidate: Candidate, endpoint: Endpoint | None, client_format: ClientFormat, sink: Sink
) -> None:
    """Send a failure as an event, if the head was sent while the provider was silent.

    Raises:
        ChatHubError: nothing was sent; the error is the response.
    """
    if sink.has_begun:
        public = public_failure(failure, candidate, endpoint)
        await sink.end(client_format.encoder(candidate.model_name, 0).feed([public]))
        return
    error = error_for(failure, candidate, endpoint)
    # an error inside a 200 came with the headers of that response
    error.headers = {**({} if failure.headers else sink.headers), **error.headers}
    raise error
