"""The attempts of a gateway request: forwarded or translated, with the reply written to a sink.

If client and provider have the same format, the bytes are forwarded nearly unchanged and decoded only for
their usage (``piping``). Otherwise the request is translated: the events are decoded from one format and
encoded in the other.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import ParamSpec, TypeVar

import aiohttp
from msgspec.structs import replace

from chathub.billing.caps import gateway_cap
from chathub.config import Config
from chathub.formats.client_format import (
    ClientFormat,
    StreamEncoder,
    as_requested,
    counts_of_request,
)
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event, Failure, size_beside_text
from chathub.formats.messages import ChatRequest, Endpoint, Message
from chathub.formats.own_tools import plain_parts
from chathub.formats.passed_headers import passed_headers
from chathub.formats.reasoning.effort import lowered, smaller_budgets
from chathub.gateway.event_splitter import EventSplitter
from chathub.gateway.failures import public_failure, without_secrets
from chathub.gateway.forwarded_request import ForwardedRequest
from chathub.gateway.piping import TOO_LONG, pipe, without_key
from chathub.gateway.prompt_counter import PromptCounter
from chathub.gateway.request import GatewayRequest
from chathub.gateway.sink import Sink
from chathub.gateway.thought_memory import ThoughtMemory
from chathub.gateway.usage_meter import EventQueue, UsageMeter
from chathub.gateway.whole_replies import read_whole
from chathub.offload import Offload
from chathub.providers.candidates import Candidate
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed, Client
from chathub.upstream.failover import Trial

P = ParamSpec("P")
T = TypeVar("T")


class Exchange:
    """The attempts of one request. ``body`` is the reply if it is a whole body and no stream; ``candidate``
    is the candidate that was tried last.

    ``prompts`` counts the prompt's tokens; ``headers`` are the client's, in lower case.
    """

    def __init__(
        self,
        client: Client,
        offload: Offload,
        config: Config,
        request: GatewayRequest,
        client_format: ClientFormat,
        headers: Mapping[str, str],
        sink: Sink,
        prompts: PromptCounter,
        thoughts: ThoughtMemory,
    ) -> None:
        self._client = client
        self._thoughts = thoughts
        self._offload = offload
        self._config = config
        self._request = request
        self._format = client_format
        self._headers = headers
        self._sink = sink
        self._prompts = prompts
        self.body: bytes | None = None
        self.candidate = request.candidates.in_order[0]

    async def prepare(self, candidate: Candidate) -> Trial:
        """The trial of a candidate: forwarded, or translated.

        Raises:
            BadRequest: the request must be translated, and its format does not allow that.
        """
        if all(endpoint.wire_format == self._format.wire_format for endpoint in candidate.endpoints):
            self.candidate, meter = candidate, UsageMeter(0, self._config.reply_characters)
            self._add_meter(meter)
            return Trial(meter, partial(self._forward if self._streams else self._forward_slowly, meter))
        request = await self._off_loop(self._decoded_request)
        self.candidate = candidate
        queue = self._queue()
        await self._expect(queue, request)
        return Trial(queue, partial(self._translate, queue, request))

    def _queue(self) -> EventQueue:
        """The queue of the events of the candidate's reply."""
        queue = EventQueue(0, self._config.reply_characters)
        queue.memory = self._request.memory
        self._add_meter(queue)
        return queue

    async def _expect(self, queue: EventQueue, request: ClientRequest) -> None:
        """Count the prompt of a request that is translated, and prepare the queue for its reply."""
        counts = queue.prompt_counts = await self._off_loop(counts_of_request, request)
        queue.prompt_estimate = self._prompts.expected(self.candidate.model, counts)
        if not request.stream:
            queue.collect(self._request.memory)

    def _decoded_request(self) -> ClientRequest:
        """The client's request, with the reasoning of earlier replies that it did not send back."""
        request = self._format.decode_request()
        return replace(request, messages=list(map(self._recall, request.messages)))

    def _recall(self, message: Message) -> Message:
        return self._thoughts.completed(self._request.user_id, message)

    def _add_meter(self, meter: UsageMeter) -> None:
        meter.is_streamed = self._format.stream and self._streams
        meter.longest_prompt = self._prompts.longest
        meter.thoughts = self._thoughts.recorder(self._request.user_id, self.candidate.model.upstream_name)
        self._request.add_meter(meter, self.candidate.model)

    @property
    def _streams(self) -> bool:
        """Whether the provider is to send what the client requested; a stream of some models is not."""
        return self.candidate.model.supports_streaming or not self._format.stream

    async def count_prompts(self) -> None:
        """Count what the prompt is made of, for the meters that need it."""
        await self._prompts.count(self._request.meters)

    async def _settle(self) -> None:
        """Settle the request: its usage is in the ledger before its client has the last byte."""
        await self.count_prompts()
        await self._request.settle()

    async def _off_loop(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._offload.run(len(self._format.body), fn, *args, **kwargs)

    # --- the same format

    async def _forward(self, meter: UsageMeter, endpoint: Endpoint) -> Failure | None:
        """One attempt with the client's own body. The client gets a stream or a whole reply as it requested,
        also from a provider that always sends the other one."""
        async with AsyncExitStack() as stack:
            leased = await stack.enter_async_context(self._client.lease(endpoint))
            response, bounds = await self._send(stack, leased, meter)
            self._pass_headers(leased, response.headers)
            first = await http.first_bytes(response)
            if isinstance(first, Failure):
                return first
            is_whole = http.is_whole(response, first)
            if self._format.stream and not is_whole and not http.is_packed(response):
                public = partial(public_failure, candidate=self.candidate, endpoint=endpoint)
                limit, settle = bounds.event, self._settle
                return await pipe(response, first, self._sink, self._format, meter, limit, public, settle)
            limit = bounds.body if is_whole else http.LARGE_BOUNDS.body
            reply = await read_whole(response, first, self._format, meter, self._request.memory, limit)
            if isinstance(reply, Failure):
                raise AttemptFailed(reply)
        await self._send_whole(meter, *reply)
        return None

    async def _send_whole(self, meter: UsageMeter, body: bytes, events: list[Event]) -> None:
        """Send a reply that has come whole."""
        meter.feed(events)
        meter.complete(None)
        body = without_key(body, meter)
        model = self.candidate.model_name
        body = await self._offload.run(len(body), as_requested, self._format, body, events, model)
        if self._format.stream:
            # it may have been a compressed stream
            splitter = EventSplitter(strips_usage=self._format.strips_usage)
            await self._settle()
            await self._sink.end(splitter.feed(body) + splitter.rest)
        else:
            self.body = body

    def _pass_headers(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """Pass on the provider's request id and rate limits."""
        self._sink.headers = without_secrets(passed_headers(headers), [endpoint.api_key])

    async def _forward_slowly(self, meter: UsageMeter, endpoint: Endpoint) -> Failure | None:
        """One attempt with a model that cannot stream, for a client that requested a stream: it gets
        heartbeats until the reply is whole."""
        forwarding = asyncio.ensure_future(self._forward(meter, endpoint))
        try:
            while not (await asyncio.wait([forwarding], timeout=self._config.heartbeat_seconds))[0]:
                await self._sink.write(self._format.heartbeat)
            return forwarding.result()
        finally:
            forwarding.cancel()
            await asyncio.wait([forwarding])

    async def _send(
        self, stack: AsyncExitStack, endpoint: Endpoint, meter: UsageMeter
    ) -> tuple[aiohttp.ClientResponse, http.Bounds]:
        """Send the client's body, written anew with the endpoint's quirks."""
        model, user_id = self.candidate.model, self._request.user_id
        quirks = self._client.quirks.quirks_for(endpoint, model.upstream_name, user_id)
        bounds = http.bounds_for(quirks, requests_media=self._format.requests_media)
        forwarded = ForwardedRequest(
            self._format, self._request, self.candidate, self._headers, self._recall, self._offload
        )
        fetched = stack.enter_context(self._client.lease_media())
        sending = forwarded.sending(endpoint, fetched)
        response = self._client.forward(endpoint, sending, quirks, meter.mark_sent)
        return await stack.enter_async_context(response), bounds

    # --- from one format to the other

    async def _translate(
        self, queue: EventQueue, request: ClientRequest, endpoint: Endpoint
    ) -> Failure | None:
        """One attempt in the provider's format; its connection is closed if the client leaves."""
        chat_request = self._chat_request(request)
        queue.begin_attempt()
        take_head = partial(self._pass_headers, endpoint)
        reading = asyncio.ensure_future(self._client.call(endpoint, chat_request, queue, take_head))
        reading.add_done_callback(lambda _: queue.end_attempt())
        try:
            if request.stream:
                return await self._pump(queue, reading)
            failure = await reading or (TOO_LONG if queue.is_too_long else None)
            if failure is None and not self._sink.is_lost:
                events = queue.take_rest()
                encode, model = self._format.encode_body, self.candidate.model_name
                self.body = await _encoded(queue.attached, encode, events, model)
            return failure
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def _chat_request(self, request: ClientRequest) -> ChatRequest:
        model, params, extra = self.candidate.model, request.params, request.extra
        asked = params.get("max_tokens")
        cap = gateway_cap(asked, self._request.reply_cap, model.max_tokens)
        if cap is not None and cap != asked:
            params, extra = lowered(params, cap), smaller_budgets(extra, cap)
        tools = request.tools
        if not self._request.takes_extras(model):
            tools, extra = plain_parts(tools, extra)
        return ChatRequest(
            "",
            model.upstream_name,
            request.messages,
            stream=request.stream and model.supports_streaming,
            params=params,
            tools=tools,
            tool_choice=request.tool_choice,
            extra=extra,
            caller_id=self._request.user_id,
        )

    async def _pump(self, queue: EventQueue, reading: asyncio.Future[Failure | None]) -> Failure | None:
        """Write the queue's events to the sink. The head is sent when the reply begins, so that an earlier
        failure can become a status, but at the latest with the first heartbeat."""
        model, encoder = self.candidate.model_name, None
        while True:
            is_finished = reading.done()
            if events := queue.take():
                encoder = encoder or self._format.encoder(model, queue.prompt_estimate)
                if not self._sink.is_lost:
                    size = sum(map(size_beside_text, events))
                    await self._sink.write(await _encoded(size, encoder.feed, events))
            elif is_finished:
                break
            else:
                await queue.wait(self._config.heartbeat_seconds)
                if not queue.has_events and not reading.done():
                    await self._sink.write(self._format.heartbeat)
        failure = reading.result() or (TOO_LONG if queue.is_too_long else None)
        if failure and encoder is None:
            return failure
        queue.complete(failure)
        await self._settle()
        await self._end(queue, encoder or self._format.encoder(model, queue.prompt_estimate), failure)
        return failure

    async def _end(self, queue: EventQueue, encoder: StreamEncoder, failure: Failure | None) -> None:
        """Write the remaining events and the end of the stream; a failure is an event of the stream."""
        failures = [public_failure(failure, self.candidate, queue.endpoint)] if failure else []
        events = [*queue.take_rest(), *failures]
        # the end may repeat all of the reply
        rest = await _encoded(queue.attached, lambda: encoder.feed(events) + encoder.end())
        await self._sink.end(rest)


async def _encoded(size: int, encode: Callable[P, bytes], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """``encode(…)``; where there is much besides text, in a thread."""
    if size <= http.LARGE:
        return encode(*args, **kwargs)
    return await asyncio.to_thread(encode, *args, **kwargs)
