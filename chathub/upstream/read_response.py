"""Reads a provider's response: decodes its bytes into events as they arrive."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import aiohttp

from chathub.formats.events import Attachment, Event, Failure, Usage
from chathub.formats.masking import Take
from chathub.formats.reasoning.think_events import ThinkEvents
from chathub.formats.registry import ProviderFormat
from chathub.formats.stream_decoder import StreamDecoder
from chathub.upstream import http
from chathub.upstream.http import Bounds
from chathub.upstream.network_failures import TROUBLE, network_failure

# stores an attachment before anything after it is read; gives the events that come in its place
Keep = Callable[[Attachment], Awaitable[list[Event]]]
AsyncTake = Callable[[list[Event]], Awaitable[bool]]

# bytes of a large network read, and of the largest stream
_LARGE_READ = 65_536
_LARGEST_STREAM = 1024 * 1024 * 1024


class Taker(Protocol):
    """What takes in the events of an attempt.

    Nothing is read while ``room`` is not set; ``memory`` counts a response or an event that arrives whole.
    Once its client has ``left``, a stream is read up to its usage only. ``decoder`` is that of a stream.
    """

    room: asyncio.Event | None
    memory: http.MemoryLease | None
    left: asyncio.Event
    decoder: StreamDecoder | None

    def feed(self, events: list[Event]) -> bool:
        """Take in the events of one network read; true if no more are needed."""

    def mark_sent(self) -> None:
        """Record that the request is sent."""


def taking(take: Take, keep: Keep | None) -> AsyncTake:
    """``take``, but attachments go to ``keep`` (None: to ``take``, too)."""

    async def take_all(events: list[Event]) -> bool:
        if keep is None:
            return take(events)
        run: list[Event] = []
        for event in events:
            if not isinstance(event, Attachment):
                run.append(event)
            elif take(run):
                return True
            else:
                run = await keep(event)
        return take(run)

    return take_all


async def read(
    response: aiohttp.ClientResponse,
    provider_format: ProviderFormat,
    bounds: Bounds,
    take: AsyncTake,
    taker: Taker,
) -> Failure | None:
    """Give ``take`` the events of a 2xx response for ``taker``; JSON in place of a stream is the whole
    response."""
    first = await http.first_bytes(response)
    if isinstance(first, Failure):
        return first
    if http.is_whole(response, first):
        body = await http.whole_body(response, bounds.body, taker.memory, first, may_grow=True)
        if isinstance(body, Failure):
            return body
        events = await decoded(provider_format.decode_body, body, len(body))
        await take(ThinkEvents(is_whole=True).split(events, last=True))
        return failure_in(events)
    if http.is_packed(response):
        return Failure.found("upstream_stream_compressed", kind="cut", status=200)
    decoder = taker.decoder = provider_format.Decoder(bounds.event)
    with _counted(decoder, taker.memory) as count:
        return await _read_stream(response, first, decoder, take, taker, count)


async def decoded(decode: Callable[[bytes], list[Event]], data: bytes, size: int) -> list[Event]:
    """The events in ``data``; decoded in a thread if the ``size`` bytes that are decoded at once are many."""
    if size <= http.LARGE:
        return decode(data)
    return await asyncio.to_thread(decode, data)


async def _read_stream(
    response: aiohttp.ClientResponse,
    first: bytes,
    decoder: StreamDecoder,
    take: AsyncTake,
    taker: Taker,
    count: Callable[[], None],
) -> Failure | None:
    splitter = ThinkEvents()
    failure, trouble, size = None, None, 0
    try:
        while data := first or await _next(response, taker.room):
            first = b""
            size += len(data)
            if len(data) > _LARGE_READ:
                # data that has arrived is read without a pause: let other tasks run
                await asyncio.sleep(0)
            if size > _LARGEST_STREAM:
                return http.TOO_LONG
            if events := await decoded(decoder.feed, data, decoder.pending + len(data)):
                failure = failure or failure_in(events)
                if await take(splitter.split(events)):
                    return failure
            count()
            if decoder.done:
                await http.drain(response)
                break
            if taker.left.is_set() and decoder.has_told_usage:
                break
            # free the memory during the next read
            del data, events
    except TROUBLE as error:
        trouble = network_failure(error)
    except asyncio.CancelledError:
        # the provider charges for the usage so far
        await take([event for event in decoder.close() if isinstance(event, Usage)])
        raise
    events = decoder.close()
    await take(splitter.split(events, last=True))
    return _better_reason(failure or failure_in(events), trouble)


def _better_reason(failure: Failure | None, trouble: Failure | None) -> Failure | None:
    """A complete response stays one; of an incomplete one, network trouble may give a better reason."""
    is_vague = failure is not None and (failure.kind == "empty" or (trouble and trouble.kind == "timeout"))
    return trouble if trouble and is_vague else failure


@contextlib.contextmanager
def _counted(decoder: StreamDecoder, memory: http.MemoryLease | None) -> Iterator[Callable[[], None]]:
    """Counts the bytes of an event that has not come whole, if they are many, each time it is called."""
    counted = 0

    def count(pending: int) -> None:
        nonlocal counted
        if memory is not None and (pending > _LARGE_READ or counted):
            memory.grow(pending - counted)
            counted = pending

    try:
        yield lambda: count(decoder.pending)
    finally:
        count(0)


async def _next(response: aiohttp.ClientResponse, room: asyncio.Event | None) -> bytes:
    """The bytes that have arrived, once there is room: until then they stay in the system's buffers."""
    if room is not None and not room.is_set():
        await room.wait()
    return await response.content.readany()


def failure_in(events: list[Event]) -> Failure | None:
    """The first ``Failure`` among the events."""
    for event in events:
        if type(event) is Failure:
            return event
    return None
