"""Reads a provider's response: decodes its bytes into events as they arrive."""

import asyncio
from collections.abc import Callable

import aiohttp

from chathub.formats.events import Event, Failure, Reasoning, Text, Usage
from chathub.formats.masking import Take
from chathub.formats.registry import ProviderFormat
from chathub.formats.stream_decoder import StreamDecoder
from chathub.formats.think import ThinkSplitter
from chathub.upstream import http
from chathub.upstream.http import Bounds
from chathub.upstream.network_failures import TROUBLE, network_failure

# bytes of a large network read, and of the largest stream
_LARGE_READ = 65_536
_LARGEST_STREAM = 1024 * 1024 * 1024


async def read(
    response: aiohttp.ClientResponse,
    provider_format: ProviderFormat,
    bounds: Bounds,
    take: Take,
    room: asyncio.Event | None,
    memory: http.MemoryLease | None,
) -> Failure | None:
    """Give ``take`` the events of a 2xx response; JSON in place of a stream is the whole response."""
    first = await http.first_bytes(response)
    if isinstance(first, Failure):
        return first
    if http.is_whole(response, first):
        body = await http.whole_body(response, bounds.body, memory, first)
        if isinstance(body, Failure):
            return body
        events = await decoded(provider_format.decode_body, body, len(body))
        take(_split(ThinkSplitter(is_whole=True), events, last=True))
        return failure_in(events)
    if http.is_packed(response):
        return Failure.found("upstream_stream_compressed", kind="cut", status=200)
    return await _read_stream(response, first, provider_format.Decoder(bounds.event), take, room)


async def decoded(decode: Callable[[bytes], list[Event]], data: bytes, size: int) -> list[Event]:
    """The events in ``data``; decoded in a thread if the ``size`` bytes that are decoded at once are many."""
    if size <= http.LARGE:
        return decode(data)
    return await asyncio.to_thread(decode, data)


async def _read_stream(
    response: aiohttp.ClientResponse,
    first: bytes,
    decoder: StreamDecoder,
    take: Take,
    room: asyncio.Event | None,
) -> Failure | None:
    splitter = ThinkSplitter()
    failure, trouble, size = None, None, 0
    try:
        while data := first or await _next(response, room):
            first = b""
            size += len(data)
            if len(data) > _LARGE_READ:
                # data that has arrived is read without a pause: let other tasks run
                await asyncio.sleep(0)
            if size > _LARGEST_STREAM:
                return http.TOO_LONG
            if events := await decoded(decoder.feed, data, decoder.pending + len(data)):
                failure = failure or failure_in(events)
                if take(_split(splitter, events)):
                    return failure
            if decoder.done:
                await http.drain(response)
                break
            # free the memory during the next read
            del data, events
    except TROUBLE as error:
        trouble = network_failure(error)
    except asyncio.CancelledError:
        # the provider charges for the usage so far
        take([event for event in decoder.close() if isinstance(event, Usage)])
        raise
    events = decoder.close()
    take(_split(splitter, events, last=True))
    failure = failure or failure_in(events)
    # a complete response stays one; of an incomplete one, network trouble gives a better reason
    is_vague = failure is not None and (failure.kind == "empty" or (trouble and trouble.kind == "timeout"))
    return trouble if trouble and is_vague else failure


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


def _split(splitter: ThinkSplitter, events: list[Event], *, last: bool = False) -> list[Event]:
    """Turn the text between ``<think>`` tags into reasoning."""
    if splitter.passing:
        return events
    out: list[Event] = []
    for event in events:
        if isinstance(event, Text) and not event.is_refusal:
            out.extend(splitter.feed(event.text))
        else:
            if last or not isinstance(event, Usage):
                # the text that was kept back came before this event
                out.extend(splitter.close())
            splitter.separates |= isinstance(event, Reasoning)
            out.append(event)
    if last:
        out.extend(splitter.close())
    return out
