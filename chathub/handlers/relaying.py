"""How /v1 answers, whichever shape its client speaks: forwarded where the provider speaks the same,
translated where it does not."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from aiohttp import web

from chathub.chat.plan import Route
from chathub.chat.relay import Outbox, Outgoing, Tally
from chathub.errors import ChatHubError
from chathub.fronts.request import Request
from chathub.handlers.common import raw
from chathub.handlers.usage_filter import UsageFilter
from chathub.keys import CALLER, CONFIG, PLANNER, RELAY, STREAMING
from chathub.upstream import failures, http
from chathub.upstream.client import Refused, failure_in
from chathub.upstream.dialects import StreamDecoder
from chathub.upstream.types import Endpoint, Event, Failure
from chathub.upstream.verdicts import verdict

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
# bytes of a forwarded stream that wait to be read for its usage
_BATCH = 65_536


class Writer(Protocol):
    """Events as bytes of the client's stream."""

    def feed(self, events: list[Event]) -> bytes: ...

    def end(self) -> bytes: ...


class Speech(Protocol):
    """A request in one of the shapes that clients speak, and how it is answered."""

    protocol: str
    heartbeat: bytes
    model: str
    stream: bool
    # tokens, out of the body's size: forwarding does not read it
    prompt_estimate: int
    # the provider is asked for the usage although the client did not
    strips_usage: bool

    def read(self) -> Request: ...

    def outgoing(
        self, endpoint: Endpoint, model: str, headers: dict[str, str], wants_usage: bool
    ) -> Outgoing: ...

    def decoder(self) -> StreamDecoder: ...

    def decode_body(self, body: bytes) -> list[Event]: ...

    def writer(self, model: str, prompt_tokens: int) -> Writer: ...

    def whole(self, events: list[Event], model: str) -> bytes: ...


async def answer(request: web.Request, speech: Speech) -> web.StreamResponse:
    """Answer with the model that was asked for, or with what it falls back on.

    Raises:
        ChatHubError: before anything was sent.
    """
    plan = request.app[PLANNER].plan(request[CALLER], speech.model)
    for number, route in enumerate(plan.routes, 1):
        same = all(endpoint.protocol == speech.protocol for endpoint in route.endpoints)
        try:
            return await (_forward if same else _translate)(request, speech, route)
        except Refused as refused:
            if number == len(plan.routes) or verdict(refused.failure) == "request":
                raise error_for(route, refused.failure) from None
    raise AssertionError("a plan has a route")


async def _forward(request: web.Request, speech: Speech, route: Route) -> web.StreamResponse:
    """The provider's bytes as they are, read in passing."""
    relay, caller = request.app[RELAY], request[CALLER]
    tally = Tally(speech.prompt_estimate)
    relay.admit()
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        async with (
            asyncio.timeout(request.app[CONFIG].reply_seconds),
            relay.forward(
                route,
                lambda endpoint, usage: speech.outgoing(endpoint, route.model.name, headers, usage),
                tally,
            ) as upstream,
        ):
            if upstream.content_type != "text/event-stream":
                body = await http.whole_body(upstream)
                if isinstance(body, Failure):
                    raise Refused(body)
                events = speech.decode_body(body)
                tally.feed(events)
                tally.well = failure_in(events) is None
                return raw(body)
            response = await _begin(request)
            tally.well = await _pipe(upstream.content.readany, response, speech, tally)
            return response
    except TimeoutError:
        raise Refused(Failure("回复时间过长，已中止", kind="timeout")) from None
    finally:
        relay.release()
        await relay.book(caller, tally)


async def _pipe(read: Any, response: web.StreamResponse, speech: Speech, tally: Tally) -> bool:
    """Bytes through, usage out of them; whether the answer came whole."""
    decoder, usage_filter = speech.decoder(), UsageFilter() if speech.strips_usage else None
    unread: list[bytes] = []
    size = 0
    try:
        while data := await read():
            # many chunks read at once cost a third of what they cost one by one
            unread.append(data)
            size += len(data)
            if size > _BATCH:
                tally.feed(decoder.feed(b"".join(unread)))
                unread, size = [], 0
            if usage_filter is not None:
                data = usage_filter.feed(data)
            if data:
                await response.write(data)
        if usage_filter is not None:
            await response.write(usage_filter.close())
    except http.TROUBLE as error:
        if isinstance(error, ConnectionError):
            raise
        failure = http.network_failure(error)
        await response.write(speech.writer(speech.model, 0).feed([failure]))
    finally:
        events = [*decoder.feed(b"".join(unread)), *decoder.close()]
        tally.feed(events)
    await response.write_eof()
    return failure_in(events) is None


async def _translate(request: web.Request, speech: Speech, route: Route) -> web.StreamResponse:
    """From one dialect to the other; the client's leaving closes the connection to the provider."""
    relay, caller = request.app[RELAY], request[CALLER]
    wanted = speech.read()
    _check(route, wanted)
    outbox = Outbox(0)
    relay.admit()
    work = asyncio.get_running_loop().create_task(relay.translate(route, wanted, outbox))
    try:
        if wanted.stream:
            return await _stream(request, speech, route, outbox, work)
        failure = await work
        events = outbox.take()
        if failure is not None:
            raise Refused(failure)
        return raw(speech.whole(events, route.model.name))
    finally:
        relay.release()
        work.cancel()
        await asyncio.wait([work])
        await relay.book(caller, outbox)


async def _stream(
    request: web.Request, speech: Speech, route: Route, outbox: Outbox, work: asyncio.Task[Failure | None]
) -> web.StreamResponse:
    """The head waits for the first event, so that a refusal is a status; but not for ever."""
    seconds = request.app[CONFIG].heartbeat_seconds
    await outbox.wait(seconds)
    if not outbox.begun and work.done() and (failure := work.result()):
        raise Refused(failure)
    response = await _begin(request)
    writer = speech.writer(route.model.name, outbox.prompt_estimate)
    while True:
        finished = work.done()
        if data := writer.feed(outbox.take()):
            await response.write(data)
        elif finished:
            break
        else:
            await outbox.wait(seconds)
            if not outbox.has_events and not work.done():
                await response.write(speech.heartbeat)
    failure = work.result()
    # a failure is told where it happened, as an event of the stream
    rest = writer.feed([failure]) if failure else b""
    await response.write(rest + writer.end())
    await response.write_eof()
    return response


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=_HEADERS)
    request[STREAMING] = True
    await response.prepare(request)
    return response


def _check(route: Route, wanted: Request) -> None:
    """What the model cannot take is refused before it is sent."""
    if wanted.tools and not route.model.calls_tools:
        raise Refused(Failure(f"模型 {route.model.name} 不支持工具调用", status=400))
    if any(message.images for message in wanted.messages) and not route.model.sees:
        raise Refused(Failure(f"模型 {route.model.name} 不支持图片", status=400))


def error_for(route: Route, failure: Failure) -> ChatHubError:
    """A provider's refusal for a program: its own status where that tells the program what to do."""
    secrets = [endpoint.api_key for endpoint in route.endpoints]
    error = ChatHubError(
        f"{route.model.provider_name}: {failures.scrub(failure.message, secrets)}",
        retry_after=failure.retry_after,
    )
    passed = failure.status in (400, 404, 413, 422, 429)
    error.status = failure.status if passed else 504 if failure.kind == "timeout" else 502
    return error
