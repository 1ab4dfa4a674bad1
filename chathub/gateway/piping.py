"""A forwarded stream: the provider's bytes go through as they are, and are decoded only for their usage."""

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

TOO_LONG = Failure("回复过长，已中止", kind="cut", status=502)
# bytes that wait to be decoded for the usage
_BATCH = 65_536


class _Metering:
    """Decodes a stream for its meter, in batches: many chunks at once cost a third of what they cost one by
    one."""

    def __init__(self, client_format: ClientFormat, meter: UsageMeter, limit: int) -> None:
        self._decoder = client_format.decoder(limit)
        self._last_event = client_format.last_event
        self._meter = meter
        self._unread: list[bytes] = []
        self._size = 0

    @property
    def is_over(self) -> bool:
        """Whether the last event has come."""
        return self._decoder.done

    async def take(self, data: bytes) -> Failure | None:
        """Decode some bytes; gives why nothing more may be passed on.

        Raises:
            AttemptFailed: a failure before the reply has begun.
        """
        self._unread.append(data)
        self._size += len(data)
        if self._size <= _BATCH and self._meter.has_output and self._last_event not in data:
            return None
        batch, self._unread, self._size = b"".join(self._unread), [], 0
        events = await decoded(self._decoder.feed, batch, self._decoder.pending + len(batch))
        if self._meter.feed(events):
            return TOO_LONG
        failure = failure_in(events)
        if failure is not None and not self._meter.has_output:
            raise AttemptFailed(failure)
        # a cut within a stream that goes on: an event, or what comes without one, is too long
        return failure if failure is not None and failure.kind == "cut" and self.is_over else None

    def close(self) -> Failure | None:
        """Decode what is left; gives how the reply failed, if its end tells so."""
        events = [*self._decoder.feed(b"".join(self._unread)), *self._decoder.close()]
        self._meter.feed(events)
        return failure_in(events)


async def pipe(
    upstream: aiohttp.ClientResponse, sink: Sink, client_format: ClientFormat, meter: UsageMeter, limit: int
) -> Failure | None:
    """Pass a stream on; gives how it failed after the reply had begun. ``limit``: the bytes of one event.

    Raises:
        AttemptFailed: the stream failed before the reply had begun.
    """
    metering = _Metering(client_format, meter, limit)
    splitter = EventSplitter(strips_usage=client_format.strips_usage)
    try:
        held, failure = await _pass_on(upstream, sink, splitter, metering, meter)
    finally:
        at_end = metering.close()
    if at_end and not meter.is_committed:
        raise AttemptFailed(at_end)
    meter.complete(failure or at_end)
    rest = held + (b"" if failure else without_key(splitter.rest, meter))
    # the provider's own bytes do not tell of a cut
    if told := failure or (at_end if at_end and at_end.kind == "cut" else None):
        # an event of its own, also behind one that was passed on in part
        rest += b"\n\n" + client_format.encoder(client_format.model, 0).feed([told])
    await sink.end(rest)
    return failure or at_end


async def _pass_on(
    upstream: aiohttp.ClientResponse,
    sink: Sink,
    splitter: EventSplitter,
    metering: _Metering,
    meter: UsageMeter,
) -> tuple[bytes, Failure | None]:
    """Pass whole events on until the last one; gives what is held back, and how the stream failed. What came
    before the reply is held: a failure after it leaves room for another attempt."""
    held = b""
    try:
        while data := await upstream.content.readany():
            if failure := await metering.take(data):
                return held, failure
            # a key may come in two halves, but not in two events
            data = without_key(splitter.feed(data), meter)
            if not meter.has_output and len(held) < _BATCH:
                held += data
                continue
            meter.is_sent = True
            await sink.write(held + data)
            held = b""
            if metering.is_over:
                await http.drain(upstream)
                break
    except TROUBLE as error:
        if sink.is_lost:
            raise
        failure = network_failure(error)
        if not meter.has_output:
            raise AttemptFailed(failure) from None
        return held, failure
    return held, None


def without_key(data: bytes, meter: UsageMeter) -> bytes:
    """A provider's bytes without the API key that was sent with the request."""
    return masked(data, meter.endpoint.api_key) if meter.endpoint else data
