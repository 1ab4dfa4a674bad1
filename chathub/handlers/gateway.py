"""How /v1 answers, whichever shape its client speaks: forwarded where the provider speaks the same,
translated where it does not."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web
from msgspec import Raw
from msgspec.structs import replace

from chathub.app_keys import CALLER, CONFIG, GATEWAY, RESOLVER
from chathub.errors import ChatHubError, NotFound, Unavailable, UnknownModel
from chathub.formats import forwarding
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Failure
from chathub.formats.failure_class import another_may_help, sentence_for
from chathub.formats.messages import Endpoint
from chathub.formats.quirks import Quirks
from chathub.gateway.gateway import Outgoing, estimate_request
from chathub.gateway.request import GatewayRequest
from chathub.gateway.usage_meter import EventQueue, UsageMeter
from chathub.handlers.client_format import ClientFormat, Writer, at_most, estimated
from chathub.handlers.http import off_loop, raw
from chathub.handlers.lazy_response import LazyResponse
from chathub.handlers.piping import TOO_LONG, pipe, without_key
from chathub.providers.resolver import NOTHING, Candidate, Candidates, Requirements
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed
from chathub.upstream.read_response import decoded, failure_in


async def answer(request: web.Request, client_format: ClientFormat) -> web.StreamResponse:
    """Answer with the model that was asked for, or with what it falls back on.

    Raises:
        ChatHubError: before anything was sent.
    """
    prompt = await off_loop(request, at_most, client_format)
    # nothing is awaited between the plan and the purchase: who removes a key of it must find it
    candidates = resolve(request, client_format.model)
    reserving = request.app[GATEWAY].metered(
        request[CALLER],
        candidates,
        "completion",
        prompt=prompt,
        answer=client_format.answer_length,
        choices=client_format.choices,
    )
    async with reserving as gateway_request:
        return await _answer(request, client_format, gateway_request, prompt)


async def _answer(
    request: web.Request, client_format: ClientFormat, gateway_request: GatewayRequest, prompt: int
) -> web.StreamResponse:
    candidates, response = gateway_request.candidates, LazyResponse(request)
    for number, candidate in enumerate(candidates.in_order, 1):
        same = all(endpoint.wire_format == client_format.wire_format for endpoint in candidate.endpoints)
        try:
            async with asyncio.timeout(request.app[CONFIG].reply_seconds):
                if same:
                    return await _forward(
                        request, client_format, candidate, response, gateway_request, prompt
                    )
                return await _translate(request, client_format, candidate, response, gateway_request)
        except TimeoutError:
            failure = Failure("回复时间过长，已中止", kind="timeout")
        except AttemptFailed as refused:
            failure = refused.failure
        if number == len(candidates.in_order) or not another_may_help(failure) or response.has_answer:
            told = fit_to_show(candidate, gateway_request.endpoint, failure)
            if not response.begun:
                raise error_for(candidate, told)
            # the head went out while it was silent: the failure is told as an event
            return await response.end(client_format.writer(candidate.model.name, 0).feed([told]))
    raise AssertionError("a plan has a route")


def resolve(request: web.Request, model: str, needs: Requirements = NOTHING) -> Candidates:
    """The plan for a program's request, for which an unknown model is a 404."""
    try:
        return request.app[RESOLVER].resolve(request[CALLER], model, needs)
    except UnknownModel as error:
        raise NotFound(error.sentence) from None


async def _forward(
    request: web.Request,
    client_format: ClientFormat,
    candidate: Candidate,
    response: LazyResponse,
    gateway_request: GatewayRequest,
    prompt: int,
) -> web.StreamResponse:
    """The provider's bytes as they are, read in passing."""
    gateway = request.app[GATEWAY]
    fields = fields_for(candidate, gateway_request, client_format.fields)
    meter = UsageMeter(0, request.app[CONFIG].reply_characters)
    headers = {name.lower(): value for name, value in request.headers.items()}
    bounds = http.USUAL_BOUNDS

    def make(endpoint: Endpoint, quirks: Quirks) -> Outgoing:
        nonlocal bounds
        bounds = http.bounds_for(quirks, asks_for_media=client_format.asks_for_media)
        limits = [limit for limit in (meter.answer_limit, candidate.model.max_tokens) if limit]
        limit = min(limits) if meter.answer_limit is not None else None
        return client_format.outgoing(fields, endpoint, candidate.model.name, headers, quirks, limit)

    async def use(upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        if upstream.content_type == "text/event-stream" and not http.is_packed(upstream):
            return await pipe(upstream, response, client_format, meter, bounds.event)
        body = await http.whole_body(upstream, bounds.answer, gateway_request.holding)
        if isinstance(body, Failure):
            raise AttemptFailed(body)
        events = await decoded(client_format.decode_body, body, len(body))
        if failure := failure_in(events):
            raise AttemptFailed(failure)
        meter.feed(events)
        meter.well = True
        body = without_key(body, meter)
        return await response.end(body) if response.begun else raw(body)

    gateway_request.count(meter)
    try:
        return await gateway.forward(candidate, request[CALLER].id, make, meter, use)
    finally:
        if meter.lacks_prompt:
            # read only now: the body's size counts its JSON as well
            meter.prompt_estimate = prompt
            with contextlib.suppress(ChatHubError):
                meter.prompt_estimate = await off_loop(request, estimated, client_format)


def fields_for(
    candidate: Candidate, gateway_request: GatewayRequest, fields: dict[str, Raw]
) -> dict[str, Raw]:
    """The fields of a body that may go to a model as they are. (Other formats have no words for the rest.)"""
    return fields if gateway_request.takes_extras(candidate.model) else forwarding.without_extras(fields)


async def _translate(
    request: web.Request,
    client_format: ClientFormat,
    candidate: Candidate,
    response: LazyResponse,
    gateway_request: GatewayRequest,
) -> web.StreamResponse:
    """From one dialect to the other; the client's leaving closes the connection to the provider."""
    gateway = request.app[GATEWAY]
    wanted, prompt = await off_loop(request, _read, client_format)
    _check(candidate, wanted)
    queue = EventQueue(prompt, request.app[CONFIG].reply_characters)
    queue.holding = gateway_request.holding
    if not wanted.stream:
        queue.keep(gateway_request.holding)
    gateway_request.count(queue)
    work = asyncio.get_running_loop().create_task(
        gateway.translate(candidate, request[CALLER].id, wanted, queue)
    )
    try:
        if wanted.stream:
            return await _stream(request, client_format, candidate, queue, work, response)
        if failure := await work:
            raise AttemptFailed(failure)
        if queue.too_long:
            raise AttemptFailed(TOO_LONG)
        return raw(client_format.whole(queue.rest(), candidate.model.name))
    finally:
        work.cancel()
        await asyncio.wait([work])


def _read(client_format: ClientFormat) -> tuple[ClientRequest, int]:
    """A request to be translated, and about how many tokens its prompt is."""
    wanted = client_format.read()
    return wanted, estimate_request(wanted)


async def _stream(
    request: web.Request,
    client_format: ClientFormat,
    candidate: Candidate,
    queue: EventQueue,
    work: asyncio.Task[Failure | None],
    response: LazyResponse,
) -> web.StreamResponse:
    """The head waits for the answer to begin, so that a refusal is a status; but not for ever."""
    seconds = request.app[CONFIG].heartbeat_seconds
    writer: Writer | None = None
    while True:
        finished = work.done()
        if events := queue.take():
            writer = writer or client_format.writer(candidate.model.name, queue.prompt_estimate)
            response.has_answer = True
            await response.write(writer.feed(events))
        elif finished:
            break
        else:
            await queue.wait(seconds)
            if not queue.has_events and not work.done():
                await response.write(client_format.heartbeat)
    failure = work.result() or (TOO_LONG if queue.too_long else None)
    if failure and writer is None:
        raise AttemptFailed(failure)
    writer = writer or client_format.writer(candidate.model.name, queue.prompt_estimate)
    if failure:
        failure = fit_to_show(candidate, queue.endpoint, failure)
    # a failure is told where it happened, as an event of the stream
    rest = [*queue.rest(), *([failure] if failure else [])]
    return await response.end(writer.feed(rest) + writer.end())


def _check(candidate: Candidate, wanted: ClientRequest) -> None:
    """What the model cannot take is refused before it is sent."""
    if wanted.tools and not candidate.model.supports_tools:
        raise AttemptFailed(Failure(f"模型 {candidate.model.name} 不支持工具调用", status=400))
    if any(message.images for message in wanted.messages) and not candidate.model.supports_vision:
        raise AttemptFailed(Failure(f"模型 {candidate.model.name} 不支持图片", status=400))


def error_for(candidate: Candidate, failure: Failure) -> ChatHubError:
    """A provider's refusal, fit to show, for a program: its own status where that tells the program what to
    do."""
    if failure.kind == "busy":
        return Unavailable(failure.message, retry_after=failure.retry_after)
    error = ChatHubError(
        f"{candidate.model.provider_name}: {failure.message}", retry_after=failure.retry_after
    )
    passed = failure.status in (400, 404, 413, 422, 429)
    error.status = failure.status if passed else 504 if failure.timed_out else 502
    return error


def fit_to_show(candidate: Candidate, endpoint: Endpoint | None, failure: Failure) -> Failure:
    """A failure at an endpoint as the caller may read it."""
    secrets = [each.api_key for each in candidate.endpoints]
    return replace(failure, message=sentence_for(failure, endpoint, secrets))
