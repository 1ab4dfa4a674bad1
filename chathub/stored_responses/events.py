"""The events of a stored response: numbered anew, and with the fields that only ChatHub knows."""

import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.database.rows.responses import StoredEvents
from chathub.formats import sse
from chathub.formats.raw_json import ABSENT, first_of, is_null, is_readable, on_one_line, raw, value_of
from chathub.schemas.readable import readable

# the events that end a response, with the status that it has then
ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
# what some servers send in their place; the response's status says which one it is
_DONE = "response.done"
_KIND = re.compile(r"[\w.:-]{1,100}", re.ASCII)
# bytes of one event: the last one has the whole response
_LARGEST = 64 * 1024 * 1024
_EVENT_END = b"\n\n"

Fields = dict[str, Raw]


class _Event(Struct):
    response: Raw = ABSENT


_decode_response = msgspec.json.Decoder(_Event).decode
_fields = msgspec.json.Decoder(Fields)
_text = msgspec.json.Decoder(str)
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

    @property
    def last_event(self) -> bytes:
        """The last of the events."""
        return self.data.removesuffix(_EVENT_END).rpartition(_EVENT_END)[2] + _EVENT_END


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
    """The events of a log, decoded one by one. One that cannot be read is left out: the others must not be
    lost with it."""
    for block in data.split(_EVENT_END):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield _decode_event(block.partition(b"\ndata: ")[2])


def response_in(event: bytes) -> Raw:
    """The response that an event has, as it is framed."""
    return _decode_response(event.partition(b"\ndata: ")[2]).response


class Rewriter:
    """Turns the bytes of a stream into numbered events; heartbeats are left out, what follows the end, and
    what cannot be read: without its end a response is one that was cut off.

    ``fields`` replace those of every ``response`` object. ``status`` is how the response ended, once its last
    event has come. The first event of a response that has begun already is left out too.
    """

    def __init__(self, fields: Mapping[str, Any], number: int, *, has_begun: bool) -> None:
        self._fields = fields
        self._parser = sse.Parser(_LARGEST)
        self._number = number
        self._has_begun = has_begun
        self.status: str | None = None

    @property
    def pending(self) -> int:
        """The bytes of an event that is not complete."""
        return self._parser.pending

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
        event = None if self.status is not None else _event_in(payload)
        kind = _kind_of(event, name) if event else ""
        if event is None or not kind or (kind == "response.created" and self._has_begun):
            return b""
        event = {"type": kind, **{field: value for field, value in event.items() if field != "type"}}
        if kind in ENDS or not is_null(event.get("response", ABSENT)):
            response = value_of(event.get("response", ABSENT), _fields)
            if response is None:
                return b""
            status = {"status": raw(ENDS[kind])} if kind in ENDS else {}
            event["response"] = {**response, **self._fields, **status}
        self.status = ENDS.get(kind)
        self._number += 1
        return framed(event, self._number - 1)


def _event_in(payload: bytes) -> dict[str, Any] | None:
    """The fields of an event as it can be stored; None for one that cannot be read."""
    event = Raw(readable(payload.strip()))
    return value_of(on_one_line(event), _fields) if first_of(event) == b"{" and is_readable(event) else None


def _kind_of(event: Mapping[str, Raw], name: str) -> str:
    """The type of an event; empty for what is none."""
    kind = value_of(event.get("type", ABSENT), _text) or name
    if kind == _DONE:
        response = value_of(event.get("response", ABSENT), _fields) or {}
        status = value_of(response.get("status", ABSENT), _text)
        kind = f"response.{status}" if f"response.{status}" in ENDS else "response.completed"
    return kind if _KIND.fullmatch(kind) else ""
