"""How /v1 answers, whichever shape its client speaks: forwarded where the provider speaks the same,
translated where it does not."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web
from msgspec import Raw
from msgspec.structs import replace

from chathub.chat.plan import NOTHING, Needs, Plan, Route
from chathub.chat.purchase import Purchase
from chathub.chat.relay import Outgoing, estimate_request
from chathub.chat.tally import Outbox, Tally
from chathub.errors import ChatHubError, NotFound, Unavailable, UnknownModel
from chathub.fronts.request import Request
from chathub.handlers.common import off_loop, raw
from chathub.handlers.piping import TOO_LONG, pipe, without_key
from chathub.handlers.sending import Sending
from chathub.handlers.speech import Speech, Writer, at_most, estimated
from chathub.keys import CALLER, CONFIG, PLANNER, RELAY
from chathub.upstream import http, requests
from chathub.upstream.answers import decoded, failure_in
from chathub.upstream.client import Refused
from chathub.upstream.dialects.capabilities import Capabilities
from chathub.upstream.failure_class import another_may_help, sentence_for
from chathub.upstream.types import Endpoint, Failure


async def answer(request: web.Request, speech: Speech) -> web.StreamResponse:
    """Answer with the model that was asked for, or with what it falls back on.

    Raises:
        ChatHubError: before anything was sent.
    """
    prompt = await off_loop(request, at_most, speech)
    # nothing is awaited between the plan and the purchase: who removes a key of it must find it
    plan = plan_for(request, speech.model)
    buying = request.app[RELAY].bought(
        request[CALLER],
        plan,
        "completion",
        prompt=prompt,
        answer=speech.answer_length,
        choices=speech.choices,
    )
    async with buying as purchase:
        return await _answer(request, speech, purchase, prompt)


async def _answer(
    request: web.Request, speech: Speech, purchase: Purchase, prompt: int
) -> web.StreamResponse:
    plan, sending = purchase.plan, Sending(request)
    for number, route in enumerate(plan.routes, 1):
        same = all(endpoint.protocol == speech.protocol for endpoint in route.endpoints)
        try:
            async with asyncio.timeout(request.app[CONFIG].reply_seconds):
                if same:
                    return await _forward(request, speech, route, sending, purchase, prompt)
                return await _translate(request, speech, route, sending, purchase)
        except TimeoutError:
            failure = Failure("回复时间过长，已中止", kind="timeout")
        except Refused as refused:
            failure = refused.failure
        if number == len(plan.routes) or not another_may_help(failure) or sending.has_answer:
            told = fit_to_show(route, purchase.endpoint, failure)
            if not sending.begun:
                raise error_for(route, told)
            # the head went out while it was silent: the failure is told as an event
            return await sending.end(speech.writer(route.model.name, 0).feed([told]))
    raise AssertionError("a plan has a route")


def plan_for(request: web.Request, model: str, needs: Needs = NOTHING) -> Plan:
    """The plan for a program's request, for which an unknown model is a 404."""
    try:
        return request.app[PLANNER].plan(request[CALLER], model, needs)
    except UnknownModel as error:
        raise NotFound(error.sentence) from None


async def _forward(
    request: web.Request, speech: Speech, route: Route, sending: Sending, purchase: Purchase, prompt: int
) -> web.StreamResponse:
    """The provider's bytes as they are, read in passing."""
    relay = request.app[RELAY]
    fields = fields_for(route, purchase, speech.fields)
    tally = Tally(0, request.app[CONFIG].reply_characters)
    headers = {name.lower(): value for name, value in request.headers.items()}
    bounds = http.USUAL_BOUNDS

    def make(endpoint: Endpoint, form: Capabilities) -> Outgoing:
        nonlocal bounds
        bounds = http.bounds_for(form, asks_for_media=speech.asks_for_media)
        limits = [limit for limit in (tally.answer_limit, route.model.max_tokens) if limit]
        limit = min(limits) if tally.answer_limit is not None else None
        return speech.outgoing(fields, endpoint, route.model.name, headers, form, limit)

    async def use(upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        if upstream.content_type == "text/event-stream" and not http.is_packed(upstream):
            return await pipe(upstream, sending, speech, tally, bounds.event)
        body = await http.whole_body(upstream, bounds.answer, purchase.holding)
        if isinstance(body, Failure):
            raise Refused(body)
        events = await decoded(speech.decode_body, body, len(body))
        if failure := failure_in(events):
            raise Refused(failure)
        tally.feed(events)
        tally.well = True
        body = without_key(body, tally)
        return await sending.end(body) if sending.begun else raw(body)

    purchase.count(tally)
    try:
        return await relay.forward(route, request[CALLER].id, make, tally, use)
    finally:
        if tally.lacks_prompt:
            # read only now: the body's size counts its JSON as well
            tally.prompt_estimate = prompt
            with contextlib.suppress(ChatHubError):
                tally.prompt_estimate = await off_loop(request, estimated, speech)


def fields_for(route: Route, purchase: Purchase, fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields of a body that may go to a model as they are. (Other formats have no words for the rest.)"""
    return fields if purchase.takes_extras(route.model) else requests.without_extras(fields)


async def _translate(
    request: web.Request, speech: Speech, route: Route, sending: Sending, purchase: Purchase
) -> web.StreamResponse:
    """From one dialect to the other; the client's leaving closes the connection to the provider."""
    relay = request.app[RELAY]
    wanted, prompt = await off_loop(request, _read, speech)
    _check(route, wanted)
    outbox = Outbox(prompt, request.app[CONFIG].reply_characters)
    outbox.holding = purchase.holding
    if not wanted.stream:
        outbox.keep(purchase.holding)
    purchase.count(outbox)
    work = asyncio.get_running_loop().create_task(relay.translate(route, request[CALLER].id, wanted, outbox))
    try:
        if wanted.stream:
            return await _stream(request, speech, route, outbox, work, sending)
        if failure := await work:
            raise Refused(failure)
        if outbox.too_long:
            raise Refused(TOO_LONG)
        return raw(speech.whole(outbox.rest(), route.model.name))
    finally:
        work.cancel()
        await asyncio.wait([work])


def _read(speech: Speech) -> tuple[Request, int]:
    """A request to be translated, and about how many tokens its prompt is."""
    wanted = speech.read()
    return wanted, estimate_request(wanted)


async def _stream(
    request: web.Request,
    speech: Speech,
    route: Route,
    outbox: Outbox,
    work: asyncio.Task[Failure | None],
    sending: Sending,
) -> web.StreamResponse:
    """The head waits for the answer to begin, so that a refusal is a status; but not for ever."""
    seconds = request.app[CONFIG].heartbeat_seconds
    writer: Writer | None = None
    while True:
        finished = work.done()
        if events := outbox.take():
            writer = writer or speech.writer(route.model.name, outbox.prompt_estimate)
            sending.has_answer = True
            await sending.write(writer.feed(events))
        elif finished:
            break
        else:
            await outbox.wait(seconds)
            if not outbox.has_events and not work.done():
                await sending.write(speech.heartbeat)
    failure = work.result() or (TOO_LONG if outbox.too_long else None)
    if failure and writer is None:
        raise Refused(failure)
    writer = writer or speech.writer(route.model.name, outbox.prompt_estimate)
    if failure:
        failure = fit_to_show(route, outbox.endpoint, failure)
    # a failure is told where it happened, as an event of the stream
    rest = [*outbox.rest(), *([failure] if failure else [])]
    return await sending.end(writer.feed(rest) + writer.end())


def _check(route: Route, wanted: Request) -> None:
    """What the model cannot take is refused before it is sent."""
    if wanted.tools and not route.model.calls_tools:
        raise Refused(Failure(f"模型 {route.model.name} 不支持工具调用", status=400))
    if any(message.images for message in wanted.messages) and not route.model.sees:
        raise Refused(Failure(f"模型 {route.model.name} 不支持图片", status=400))


def error_for(route: Route, failure: Failure) -> ChatHubError:
    """A provider's refusal, fit to show, for a program: its own status where that tells the program what to
    do."""
    if failure.kind == "busy":
        return Unavailable(failure.message, retry_after=failure.retry_after)
    error = ChatHubError(f"{route.model.provider_name}: {failure.message}", retry_after=failure.retry_after)
    passed = failure.status in (400, 404, 413, 422, 429)
    error.status = failure.status if passed else 504 if failure.timed_out else 502
    return error


def fit_to_show(route: Route, endpoint: Endpoint | None, failure: Failure) -> Failure:
    """A failure at an endpoint as the caller may read it."""
    secrets = [each.api_key for each in route.endpoints]
    return replace(failure, message=sentence_for(failure, endpoint, secrets))
