"""A forwarded stream: the provider's bytes as they are, and what they say of the answer read in passing."""

import aiohttp
from aiohttp import web

from chathub.formats.events import Failure
from chathub.formats.masking import masked
from chathub.gateway.usage_meter import UsageMeter
from chathub.handlers.client_format import ClientFormat
from chathub.handlers.event_splitter import EventSplitter
from chathub.handlers.lazy_response import LazyResponse
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.read_response import decoded, failure_in

TOO_LONG = Failure("回复过长，已中止", kind="cut", status=502)
# bytes that wait to be read for the usage
_BATCH = 65_536


class _Reading:
    """Reads a stream for its tally, in batches: many chunks at once cost a third of what they cost one by
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
        """Read some bytes; gives why nothing more may be passed on.

        Raises:
            Refused: a failure before the answer has begun.
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
        """Read what is left; gives how the answer failed, if its end tells so."""
        events = [*self._decoder.feed(b"".join(self._unread)), *self._decoder.close()]
        self._meter.feed(events)
        return failure_in(events)


async def pipe(
    upstream: aiohttp.ClientResponse,
    response: LazyResponse,
    client_format: ClientFormat,
    meter: UsageMeter,
    limit: int,
) -> web.StreamResponse:
    """Bytes through, usage out of them; ``limit`` is that of one event.

    Raises:
        Refused: the stream failed before its answer had begun.
    """
    reading, whole = (
        _Reading(client_format, meter, limit),
        EventSplitter(strips_usage=client_format.strips_usage),
    )
    # what came before the answer: a failure after it leaves room for another attempt
    held, failure = b"", None
    try:
        while data := await upstream.content.readany():
            if failure := await reading.take(data):
                break
            # a key may come in two halves, but not in two events
            data = without_key(whole.feed(data), meter)
            if not meter.has_output and len(held) < _BATCH:
                held += data
                continue
            response.has_answer = True
            await response.write(held + data)
            held = b""
            if reading.is_over:
                await http.drain(upstream)
                break
    except TROUBLE as error:
        if response.is_lost:
            raise
        failure = network_failure(error)
        if not meter.has_output:
            raise AttemptFailed(failure) from None
    finally:
        told = reading.close()
    if told and not meter.has_output and not response.has_answer:
        raise AttemptFailed(told)
    meter.end(failure or told)
    rest = held + (b"" if failure else without_key(whole.rest, meter))
    # of a cut the provider's own bytes say no word
    if failure := failure or (told if told and told.kind == "cut" else None):
        # an event of its own, also behind one that was passed on in part
        rest += b"\n\n" + client_format.writer(client_format.model, 0).feed([failure])
    return await response.end(rest)


def without_key(data: bytes, meter: UsageMeter) -> bytes:
    """A provider's bytes without the key they were asked for with."""
    return masked(data, meter.endpoint.api_key) if meter.endpoint else data
