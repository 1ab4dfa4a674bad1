"""Forwarding of a stream: the provider's bytes go to the client without the API key and without usage that
the client did not request, and are decoded only for their usage and their end."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohttp

from chathub.formats.events import Event, Failure
from chathub.formats.masking import masked
from chathub.formats.stream_decoder import StreamDecoder
from chathub.gateway.event_splitter import EventSplitter
from chathub.gateway.sink import Sink
from chathub.gateway.usage_meter import UsageMeter
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.read_response import decoded, failure_in

TOO_LONG = Failure.found("reply_too_long", kind="cut", status=502)
Settle = Callable[[], Awaitable[None]]
# bytes that are decoded at once
_BATCH = 65_536
# seconds in which the usage may follow an error
_AFTER_ERROR = 1


class StreamFormat(Protocol):
    """What is known of a stream that is forwarded; see ``ClientFormat``."""

    @property
    def strips_usage(self) -> bool: ...

    @property
    def last_event(self) -> bytes: ...

    @property
    def is_last_event(self) -> re.Pattern[bytes]: ...

    def decoder(self, limit: int) -> StreamDecoder: ...

    def failure_event(self, failure: Failure, decoder: StreamDecoder) -> bytes: ...


class _MeterFeed:
    """Decodes a stream for its meter, in batches: that costs a third of decoding each chunk."""

    def __init__(self, client_format: StreamFormat, meter: UsageMeter, limit: int) -> None:
        self.decoder = meter.decoder = client_format.decoder(limit)
        self._format = client_format
        self._meter = meter
        self._undecoded: list[bytes] = []
        self._size = 0
        # the provider's own error is in the bytes up to the failure, in a form that clients read
        self.shows_error = False

    @property
    def is_over(self) -> bool:
        """Whether the last event has come."""
        return self.decoder.done

    async def take(self, data: bytes, events: bytes = b"") -> Failure | None:
        """Decode some bytes, which complete ``events``; gives the failure after which nothing more may be
        forwarded: before the last event is forwarded, all up to it is decoded.

        Raises:
            AttemptFailed: a failure before the reply has begun.
        """
        self._undecoded.append(data)
        self._size += len(data)
        may_wait = self._meter.has_output and not self._meter.left.is_set()
        if may_wait and self._size <= _BATCH and self._format.last_event not in events:
            return None
        batch, self._undecoded, self._size = b"".join(self._undecoded), [], 0
        found = await decoded(self.decoder.feed, batch, self.decoder.pending + len(batch))
        if self._meter.feed(found):
            return TOO_LONG
        failure = self._failure_in(found)
        if failure is not None and not self._meter.has_output:
            raise AttemptFailed(failure)
        return failure

    def _failure_in(self, events: list[Event]) -> Failure | None:
        if (failure := failure_in(events)) is not None:
            self.shows_error = self.decoder.shows_error
        return failure

    def failure_event(self, failure: Failure) -> bytes:
        """The event that ends a stream which failed; none where the provider's own says so."""
        if self.shows_error:
            return b""
        # after an event that was forwarded in part it begins anew
        return b"\n\n" + self._format.failure_event(failure, self.decoder)

    def close(self) -> Failure | None:
        """Decode the rest; gives the failure with which the stream ended."""
        events = [*self.decoder.feed(b"".join(self._undecoded)), *self.decoder.close()]
        self._meter.feed(events)
        return self._failure_in(events)


async def pipe(
    upstream: aiohttp.ClientResponse,
    first: bytes,
    sink: Sink,
    client_format: StreamFormat,
    meter: UsageMeter,
    limit: int,
    public: Callable[[Failure], Failure],
    settle: Settle,
) -> Failure | None:
    """Forward a stream that begins with ``first``; gives its failure after the reply had begun. ``limit``:
    the most bytes of one event; ``public`` gives a failure as the client may see it. ``settle`` is called
    before the last event goes out.

    Raises:
        AttemptFailed: the stream failed before the reply had begun.
    """
    meter_feed = _MeterFeed(client_format, meter, limit)
    splitter = EventSplitter(strips_usage=client_format.strips_usage)
    try:
        unsent, failure = await _forward_events(upstream, first, sink, splitter, meter_feed, meter)
    finally:
        failure_at_end = meter_feed.close()
    if failure_at_end and not meter.is_committed:
        raise AttemptFailed(failure_at_end)
    is_cut = failure is not None or (failure_at_end is not None and not meter_feed.shows_error)
    # no client can read half an event
    unsent += b"" if is_cut else without_key(splitter.rest, meter)
    failure = failure or failure_at_end
    meter.complete(failure)
    if failure:
        # a reply that is not whole must not look so
        unsent = splitter.without(unsent, client_format.is_last_event)
        unsent += meter_feed.failure_event(public(failure))
    else:
        text, unsent = splitter.at(unsent, client_format.is_last_event)
        await sink.write(text)
    await settle()
    await sink.end(unsent)
    if meter_feed.is_over and not failure:
        await http.drain(upstream)
    return failure


async def _forward_events(
    upstream: aiohttp.ClientResponse,
    first: bytes,
    sink: Sink,
    splitter: EventSplitter,
    meter_feed: _MeterFeed,
    meter: UsageMeter,
) -> tuple[bytes, Failure | None]:
    """Forward whole events up to the last read; gives the bytes that were not sent, and the failure. Events
    before the reply begins are kept back, so that another attempt is possible after a failure."""
    unsent = b""
    try:
        while data := first or await upstream.content.readany():
            first = b""
            events = splitter.feed(data)
            failure = await meter_feed.take(data, events)
            # an API key may be split between two reads, but not between two events
            unsent += without_key(events, meter)
            if failure:
                if failure is not TOO_LONG:
                    await _read_on(upstream, meter_feed)
                return unsent, failure
            if meter_feed.is_over or (meter.left.is_set() and not meter.may_tell_usage):
                break
            if not meter.has_output and len(unsent) < _BATCH:
                continue
            meter.is_sent = True
            await sink.write(unsent)
            unsent = b""
    except TROUBLE as error:
        failure = network_failure(error)
        if not meter.has_output:
            raise AttemptFailed(failure) from None
        return unsent, failure
    return unsent, None


async def _read_on(upstream: aiohttp.ClientResponse, meter_feed: _MeterFeed) -> None:
    """Read what follows an error: OpenRouter sends the usage after it."""
    with contextlib.suppress(*TROUBLE, AttemptFailed):
        async with asyncio.timeout(_AFTER_ERROR):
            while not meter_feed.is_over and (data := await upstream.content.readany()):
                await meter_feed.take(data)


def without_key(data: bytes, meter: UsageMeter) -> bytes:
    """A provider's bytes without the API key that was sent with the request."""
    endpoint = meter.endpoint
    return masked(data, endpoint.api_key) if endpoint else data
