"""A provider's answer as its bytes come in: events out of them, and how it ended."""

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

# bytes of one network read, and of a whole stream whatever it holds
_LARGE_READ = 65_536
_LARGEST_STREAM = 1024 * 1024 * 1024


async def read(
    response: aiohttp.ClientResponse,
    provider_format: ProviderFormat,
    bounds: Bounds,
    take: Take,
    room: asyncio.Event | None,
    holding: http.MemoryLease | None,
) -> Failure | None:
    """Hand over the events of a 2xx answer; JSON where a stream was asked for is the whole answer."""
    splitter = ThinkSplitter()
    if response.content_type.endswith("json"):
        body = await http.whole_body(response, bounds.answer, holding)
        if isinstance(body, Failure):
            return body
        events = await decoded(provider_format.decode_body, body, len(body))
        take(_split(splitter, events, last=True))
        return failure_in(events)
    if http.is_packed(response):
        return Failure("上游返回了压缩的数据流", kind="cut", status=200)
    return await _read_stream(response, provider_format.Decoder(bounds.event), splitter, take, room)


async def decoded(decode: Callable[[bytes], list[Event]], data: bytes, size: int) -> list[Event]:
    """The events in some bytes; in a thread where ``size`` bytes are decoded at once and that is much."""
    if size <= http.LARGE:
        return decode(data)
    return await asyncio.to_thread(decode, data)


async def _read_stream(
    response: aiohttp.ClientResponse,
    decoder: StreamDecoder,
    splitter: ThinkSplitter,
    take: Take,
    room: asyncio.Event | None,
) -> Failure | None:
    failure, trouble, size = None, None, 0
    try:
        while data := await _next(response, room):
            size += len(data)
            if len(data) > _LARGE_READ:
                # what is in hand already comes without a pause: others want a turn too
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
            # not kept while the next read is waited for
            del data, events
    except TROUBLE as error:
        trouble = network_failure(error)
    except asyncio.CancelledError:
        # what was told of the usage so far is what the provider charges
        take([event for event in decoder.close() if isinstance(event, Usage)])
        raise
    events = decoder.close()
    take(_split(splitter, events, last=True))
    failure = failure or failure_in(events)
    # an answer that is whole stays so; of one that is not, the network knows the reason better
    told_less = failure is not None and (failure.kind == "empty" or (trouble and trouble.kind == "timeout"))
    return trouble if trouble and told_less else failure


async def _next(response: aiohttp.ClientResponse, room: asyncio.Event | None) -> bytes:
    """What is there, once there is room for it: what waits is in the system's buffers and not in ours."""
    if room is not None and not room.is_set():
        await room.wait()
    return await response.content.readany()


def failure_in(events: list[Event]) -> Failure | None:
    """The failure among some events."""
    for event in events:
        if type(event) is Failure:
            return event
    return None


def _split(splitter: ThinkSplitter, events: list[Event], *, last: bool = False) -> list[Event]:
    """Take ``<think>`` tags out of the text; once the provider tells thinking apart itself there are none."""
    if splitter.passing:
        return events
    out: list[Event] = []
    for event in events:
        if isinstance(event, Text):
            out.extend(splitter.feed(event.text))
        else:
            if last or isinstance(event, Reasoning):
                # what was held back came before this
                out.extend(splitter.close())
            out.append(event)
    if last:
        out.extend(splitter.close())
    return out
