"""Streams of media: transcripts, speech and images as events with a type in each."""

from collections.abc import Callable

from chathub.formats import large_json
from chathub.formats import loose_json as fields
from chathub.formats.events import Attachment, Event, Failure, Text, Units, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.openai.encode_stream import Encoder
from chathub.formats.stream_decoder import StreamDecoder
from chathub.schemas.json import JsonObject

# the last event of a transcript, of speech and of an image
_LAST = (".done", ".completed")


class MediaDecoder(StreamDecoder):
    """Decodes a stream as far as its usage and its end. ``expected`` are its last events: an image has one
    each."""

    shape = {
        **large_json.ERRORS,
        "usage": None,
        "delta": None,
        "text": None,
        "size": None,
        "quality": None,
    }
    finish_words = {"stop": "stop"}

    def __init__(
        self, limit: int, units_of: Callable[[list[JsonObject]], Units | None], expected: int = 1
    ) -> None:
        super().__init__(limit)
        self._units_of = units_of
        self._expected = expected
        self._last_events: list[JsonObject] = []

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        kind = fields.as_string(value.get("type"))
        if not kind and error_bodies.is_error(value) or kind == "error":
            self.shows_error = True
            self._fail(events, fields.refusal(value, "upstream_broke_off"))
        elif kind.endswith(_LAST):
            self._take_last(value, events)
        elif kind.startswith("transcript."):
            self._say(Text, value.get("delta") or value.get("text"), events)
        elif kind:
            # its bytes are passed on without being decoded
            self._attach(Attachment("application/octet-stream"), events)

    def _take_last(self, value: JsonObject, events: list[Event]) -> None:
        self._finish, self._has_answer = "stop", True
        if not self._last_events:
            events.append(Attachment("application/octet-stream"))
        self._last_events.append(value)
        self._keep_counts(fields.as_object(value.get("usage")))
        if len(self._last_events) >= self._expected:
            self._end_whole(events)

    def _usage(self) -> Usage:
        return fields.read_usage(self._counts)

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        if self._usage() == Usage() and self._last_events:
            events.append(Usage(completion_tokens=0))
        units = self._units_of(self._last_events) if self._has_answer else None
        if units is not None:
            events.append(units)
        super()._conclude(events, failure)


class ErrorEncoder:
    """A failure as the event in which OpenAI's clients look for it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def feed(self, events: list[Event]) -> bytes:
        return b"".join([b"data: %b\n\n" % payload for payload in self._encoder.feed(events)])

    def end(self) -> bytes:
        return b""


def as_array(value: object) -> list[JsonObject]:
    """The objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
