"""Reading of a reply that goes to its client whole, in the provider's bytes."""

from typing import NamedTuple, Protocol

import aiohttp

from chathub.formats import sse
from chathub.formats.events import Event, Failure, Units, Usage
from chathub.formats.stream_decoder import StreamDecoder
from chathub.gateway.usage_meter import UsageMeter
from chathub.limits.reply_memory import MemoryLease
from chathub.upstream import http
from chathub.upstream.read_response import decoded, failure_in


class WholeReply(NamedTuple):
    """A reply's bytes, and its events."""

    body: bytes
    events: list[Event]


class WholeFormat(Protocol):
    """What is known of a reply that is read whole; see ``ClientFormat``."""

    def decode_body(self, body: bytes) -> list[Event]: ...

    def decoder(self, limit: int) -> StreamDecoder: ...


async def read_whole(
    response: aiohttp.ClientResponse,
    first: bytes,
    reply_format: WholeFormat,
    meter: UsageMeter,
    memory: MemoryLease,
    limit: int,
    *,
    may_grow: bool = False,
) -> WholeReply | Failure:
    """A reply that begins with ``first``. Its provider may send a stream all the same: if that fails or does
    not end, what came of it counts for ``meter``, as of any stream."""
    received = bytearray()
    body = await http.whole_body(response, limit, memory, first, may_grow=may_grow, received=received)
    if isinstance(body, bytes):
        received.clear()
        events = await decoded(reply_format.decode_body, body, len(body))
        if (failure := failure_in(events)) is None:
            return WholeReply(body, events)
    else:
        failure, body, events = body, bytes(received), []
    if sse.is_stream(body):
        decoder = meter.decoder = reply_format.decoder(limit)
        events = await decoded(decoder.feed, body, len(body)) + decoder.close()
    else:
        events = [event for event in events if isinstance(event, Usage | Units)]
    meter.feed(events)
    return failure
