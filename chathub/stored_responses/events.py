"""The events of a stored response: numbered anew, and with the fields that only ChatHub knows."""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.database.rows.responses import StoredEvents
from chathub.formats import sse
from chathub.formats.raw_json import ABSENT, raw, value_of

# the events that end a response, with the status that it has then
ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
# bytes of one event: the last one has the whole response
_LARGEST = 64 * 1024 * 1024
_EVENT_END = b"\n\n"

Fields = dict[str, Raw]


class _Event(Struct):
    response: Raw = ABSENT


_decode_response = msgspec.json.Decoder(_Event).decode
_fields = msgspec.json.Decoder(Fields)
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode


class Batch(NamedTuple):
    """Events in a row: the sequence numbers of the first and the last, and their bytes."""

    first: int
    last: int
    data: bytes

    def after(self, number: int) -> bytes:
        """The bytes of the events behind a sequence number."""
        if number < self.first:
            return self.data
        return self.data.split(_EVENT_END, number - self.first + 1)[-1]


def unpacked(row: StoredEvents) -> Batch:
    """Stored events as their bytes."""
    return Batch(row.first, row.last, zlib.decompress(row.data))


def framed(event: Mapping[str, Any], number: int) -> bytes:
    """An event as its clients get it."""
    payload = msgspec.json.encode({**event, "sequence_number": number})
    kind = event["type"]
    name = bytes(kind).strip(b'"') if isinstance(kind, Raw) else str(kind).encode()
    return b"event: %b\n" % name + sse.frame(payload)


def events_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The events of a log, decoded one by one."""
    for block in data.split(_EVENT_END):
        if block:
            yield _decode_event(block.partition(b"\ndata: ")[2])


def response_in(event: bytes) -> Raw:
    """The response that an event has, as it is framed."""
    return _decode_response(event.partition(b"\ndata: ")[2]).response


class Rewriter:
    """Turns the bytes of a stream into numbered events; what is no event is left out, and what follows the
    end.

    ``fields`` replace those of every ``response`` object. ``status`` is how the response ended, once its last
    event has come. The first event of a response that has begun already is left out too.
    """

    def __init__(self, fields: Mapping[str, Any], number: int, *, has_begun: bool) -> None:
        self._fields = fields
        self._parser = sse.Parser(_LARGEST)
        self._number = number
        self._has_begun = has_begun
        self.status: str | None = None

    def feed(self, data: bytes) -> Batch | None:
        """The events that some bytes complete."""
        return self._batch(self._parser.feed(data))

    def close(self) -> Batch | None:
        """The event that lacks its end."""
        return self._batch(self._parser.close())

    def _batch(self, found: list[sse.Event]) -> Batch | None:
        first = self._number
        written = [each for name, payload in found if (each := self._rewritten(name, payload))]
        return Batch(first, self._number - 1, b"".join(written)) if written else None

    def _rewritten(self, name: str, payload: bytes) -> bytes:
        found = value_of(Raw(payload), _fields) if self.status is None else None
        if found is None:
            return b""
        event: dict[str, Any] = dict(found)
        kind = _text(event.get("type")) or name
        if not kind or (kind == "response.created" and self._has_begun):
            return b""
        event = {"type": kind, **{field: value for field, value in event.items() if field != "type"}}
        self.status = ENDS.get(kind)
        response = value_of(event.get("response", ABSENT), _fields)
        if response is None and self.status is not None:
            response = {"object": raw("response"), "status": raw(self.status)}
        if response is not None:
            event["response"] = {**response, **self._fields}
        self._number += 1
        return framed(event, self._number - 1)


def _text(raw: Raw | None) -> str:
    try:
        return msgspec.json.decode(raw, type=str) if raw is not None else ""
    except msgspec.MsgspecError:
        return ""
