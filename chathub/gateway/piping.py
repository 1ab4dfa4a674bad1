"""Forwarding of a stream: the provider's bytes go to the client without the API key and without usage that
the client did not request, and are decoded only for their usage."""

import aiohttp

from chathub.formats.client_format import ClientFormat
from chathub.formats.events import Failure
from chathub.formats.masking import masked
from chathub.gateway.event_splitter import EventSplitter
from chathub.gateway.sink import Sink
from chathub.gateway.usage_meter import UsageMeter
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.read_response import decoded, failure_in

TOO_LONG = Failure.found("reply_too_long", kind="cut", status=502)
# bytes that are decoded at once
_BATCH = 65_536


class _MeterFeed:
    """Decodes a stream for its meter, in batches: that costs a third of decoding each chunk."""

    def __init__(self, client_format: ClientFormat, meter: UsageMeter, limit: int) -> None:
        self._decoder = client_format.decoder(limit)
        self._last_event = client_format.last_event
        self._meter = meter
        self._undecoded: list[bytes] = []
        self._size = 0

    @property
    def is_over(self) -> bool:
        """Whether the last event has come."""
        return self._decoder.done

    async def take(self, data: bytes) -> Failure | None:
        """Decode some bytes; gives the failure after which nothing more may be forwarded.

        Raises:
            AttemptFailed: a failure before the reply has begun.
        """
        self._undecoded.append(data)
        self._size += len(data)
        if self._size <= _BATCH and self._meter.has_output and self._last_event not in data:
            return None
        batch, self._undecoded, self._size = b"".join(self._undecoded), [], 0
        events = await decoded(self._decoder.feed, batch, self._decoder.pending + len(batch))
        if self._meter.feed(events):
            return TOO_LONG
        failure = failure_in(events)
        if failure is not None and not self._meter.has_output:
            raise AttemptFailed(failure)
        # the decoder has cut the stream: an event, or data that is no event, is too long
        return failure if failure is not None and failure.kind == "cut" and self.is_over else None

    def close(self) -> Failure | None:
        """Decode the rest; gives the failure with which the stream ended."""
        events = [*self._decoder.feed(b"".join(self._undecoded)), *self._decoder.close()]
        self._meter.feed(events)
        return failure_in(events)


async def pipe(
    upstream: aiohttp.ClientResponse, sink: Sink, client_format: ClientFormat, meter: UsageMeter, limit: int
) -> Failure | None:
    """Forward a stream; gives its failure after the reply had begun. ``limit``: the most bytes of one event.

    Raises:
        AttemptFailed: the stream failed before the reply had begun.
    """
    meter_feed = _MeterFeed(client_format, meter, limit)
    splitter = EventSplitter(strips_usage=client_format.strips_usage)
    try:
        unsent, failure = await _forward_events(upstream, sink, splitter, meter_feed, meter)
    finally:
        failure_at_end = meter_feed.close()
    if failure_at_end and not meter.is_committed:
        raise AttemptFailed(failure_at_end)
    meter.complete(failure or failure_at_end)
    unsent += b"" if failure else without_key(splitter.rest, meter)
    # a cut is not in the provider's own bytes
    is_cut = failure_at_end is not None and failure_at_end.kind == "cut"
    if added := failure or (failure_at_end if is_cut else None):
        # a separate event, even after an event that was forwarded in part
        unsent += b"\n\n" + client_format.encoder(client_format.model, 0).feed([added])
    await sink.end(unsent)
    return failure or failure_at_end


async def _forward_events(
    upstream: aiohttp.ClientResponse,
    sink: Sink,
    splitter: EventSplitter,
    meter_feed: _MeterFeed,
    meter: UsageMeter,
) -> tuple[bytes, Failure | None]:
    """Forward whole events up to the last one; gives the bytes that were not sent, and the failure. Events
    before the reply begins are kept back, so that another attempt is possible after a failure."""
    unsent = b""
    try:
        while data := await upstream.content.readany():
            if failure := await meter_feed.take(data):
                return unsent, failure
            # an API key may be split between two reads, but not between two events
            data = without_key(splitter.feed(data), meter)
            if not meter.has_output and len(unsent) < _BATCH:
                unsent += data
                continue
            meter.is_sent = True
            await sink.write(unsent + data)
            unsent = b""
            if meter_feed.is_over:
                await http.drain(upstream)
                break
    except TROUBLE as error:
        if sink.is_lost:
            raise
        failure = network_failure(error)
        if not meter.has_output:
            raise AttemptFailed(failure) from None
        return unsent, failure
    return unsent, None


def without_key(data: bytes, meter: UsageMeter) -> bytes:
    """A provider's bytes without the API key that was sent with the request."""
    return masked(data, meter.endpoint.api_key) if meter.endpoint else data
