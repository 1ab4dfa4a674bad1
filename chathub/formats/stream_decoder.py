"""The shared part of the decoders of all provider formats: from pieces of a body to events, and the end.

A format's own ``Decoder`` says what its JSON objects mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from chathub.formats import large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import (
    Event,
    Failure,
    Finish,
    Source,
    Usage,
)
from chathub.formats.failures import error_bodies
from chathub.formats.output_notes import OutputNotes
from chathub.formats.state_room import StateRoom
from chathub.schemas.json import JsonObject

# codes of what is wrong with a stream
CUT = "upstream_cut"
EMPTY = "empty_reply"
UNREADABLE = "upstream_unreadable"
TOO_LONG = "upstream_event_too_large"
BROKEN = "upstream_broke_off"
# in ``finish_words``: the model did not end, its server did
BROKEN_OFF = "broken_off"

# bytes of the largest event that is decoded the fast way
_ORDINARY = 65_536

# the names of events that are errors
_ERRORS = ("error", sse.ERROR_FIELD)

UNREADABLE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class StreamDecoder(OutputNotes, ABC):
    """Decodes one streamed response: ``feed`` it every piece of the body, in order, then ``close`` it.

    The order of events, for all formats: ``Text``, ``Reasoning``, ``ToolCallDelta``, ``State`` and
    ``Attachment`` come as they arrive (a recording in pieces comes with the end). With the end (the format's
    last event, an error, ``close``) come the ``Source`` events, then ``Usage`` and ``Finish``, each at most
    once, then a ``Failure`` if the response is not whole. After a ``Failure`` only a ``Usage`` may follow
    (OpenAI's format). Without a ``Failure`` the response is complete, also without a ``Finish`` (Snowflake
    never sends one). No event holds half a surrogate pair.

    A response has ended if it says so: by the word for the end or by the format's last event. Reasoning alone
    is no reply: nobody asked for it.

    ``done``: the last event has come; what the provider still sends need not be waited for. ``shows_error``:
    an error has come in the form that this format's clients read. ``is_behind``: output has come since the
    usage was told last. Nothing raises.
    """

    # the fields that are read of a large object
    shape: ClassVar[large_json.Shape]
    # the provider's documented words for the end: in those of ``Finish``, or BROKEN_OFF
    finish_words: ClassVar[Mapping[str, str]]

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__()
        self._parser = sse.Parser(limit)
        self._emptiness = sse.Emptiness(limit)
        self._streamed = True
        self._arrived = False  # any data at all
        self._finish = ""  # the provider's word
        self._state_room = StateRoom()
        self._counts: dict[str, int] = {}  # the usage in the provider's words
        self._has_new_counts = False  # in the event that is being decoded
        self._count_before: int | None = None  # of the output, before there was any
        self.is_behind = False
        self.shows_error = False
        self.done = False

    @property
    def pending(self) -> int:
        """The bytes of an event that has not come whole: large ones are decoded in a thread."""
        return self._parser.pending

    @property
    def has_finish(self) -> bool:
        """Whether the provider has said that its reply is over; the usage may follow."""
        return self._is_finished

    @property
    def has_told_usage(self) -> bool:
        """Whether the reply is over and its usage has come."""
        return self._is_finished and bool(self._usage().completion_tokens)

    @property
    def has_counted(self) -> bool:
        """Whether a count of the output that has come is one: Anthropic's streams begin with one."""
        return self._is_finished or self._usage().completion_tokens != self._count_before

    def feed(self, data: bytes) -> list[Event]:
        """The events in ``data``, a piece of the body as it came from the network."""
        events: list[Event] = []
        try:
            for name, payload in self._parser.feed(data):
                if self.done:
                    continue
                known, self._has_new_counts = len(events), False
                if len(payload) > _ORDINARY or not self._take_plain(name, payload, events):
                    self._take(name, payload, events)
                if self._has_new_counts:
                    self.is_behind = False
                elif len(events) > known:
                    self.is_behind = True
                if not self._has_answer and not self._has_reasoning:
                    self._count_before = self._usage().completion_tokens
            self._emptiness.count(len(data), brought_something=bool(events) or self._parser.in_media)
        except sse.TooLong:
            self._end(events, Failure.found(TOO_LONG, kind="cut", status=200))
        return events

    def close(self) -> list[Event]:
        """The events that the end of the body brings: whether the response was whole or cut off."""
        events: list[Event] = []
        if self.done:
            # what came behind the end may be large
            return events
        try:
            for name, payload in self._parser.close():
                self._take(name, payload, events, last=True)
        except sse.TooLong:
            self._arrived = True
        if self._is_finished:
            self._end_whole(events)
        elif self._arrived:
            self._end(events, Failure.found(CUT, kind="cut", status=200))
        else:
            self._end(events, Failure.found(EMPTY, kind="empty", status=200))
        return events

    def decode_body(self, body: bytes) -> list[Event]:
        """The events of a whole body. A stream that came although none was requested is decoded as one;
        blank lines before the JSON (DeepSeek, OpenRouter) are skipped."""
        if sse.is_stream(body):
            return self.feed(body.lstrip()) + self.close()
        self._streamed = False
        events: list[Event] = []
        if len(body) > _ORDINARY or not self._take_plain("", body, events):
            self._take("", body.decode("utf-8-sig", "replace").strip().encode(), events)
        self._end_whole(events)
        return events

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        """The fast way: ``False``, and nothing done, for an object that is anything but ordinary."""
        return False

    @abstractmethod
    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        """Any object of the stream, or a whole body, as decoded JSON of any content."""

    @abstractmethod
    def _usage(self) -> Usage:
        """The usage as far as the provider has reported it."""

    def _keep_counts(self, usage: JsonObject) -> None:
        """Keep the counts of a usage object; those that it lacks stay."""
        if usage:
            self._has_new_counts = True
            fields.update_counts(self._counts, usage)

    def _sources(self) -> list[Source]:
        """What the response cites."""
        return []

    def _take(self, name: str, payload: bytes, events: list[Event], last: bool = False) -> None:
        """The tolerant way. ``last``: the event lacked its end, so half a JSON text is no surprise."""
        # its beginning is enough; an image may have many megabytes
        text = payload.lstrip()[:_ORDINARY].decode("utf-8", "replace").rstrip()
        if self.done or not text:
            return
        self._arrived = True
        if text.startswith("[DONE]"):  # OpenAI's; OpenRouter and other relays add it to every format
            self._end_whole(events)
            return
        try:
            value: object = large_json.loads(payload, self.shape)
        except (ValueError, RecursionError):
            self._take_unreadable(name, text, last, events)
            return
        if name in _ERRORS and not (isinstance(value, dict) and value.get("error")):
            self._fail(events, fields.refusal(value, BROKEN))
        else:
            self._take_value(value, events)
        # no client reads llama.cpp's field
        self.shows_error &= name != sse.ERROR_FIELD

    def _take_value(self, value: object, events: list[Event]) -> None:
        if isinstance(value, dict):
            self._take_object(value, events)
        elif value is not None:
            self._fail(events, fields.refusal(value, UNREADABLE, "cut"))

    def _take_unreadable(self, name: str, text: str, last: bool, events: list[Event]) -> None:
        if last and (name not in _ERRORS or text[0] in "{["):
            return
        if name in _ERRORS:
            self._fail(events, fields.refusal(text, BROKEN))
        elif self._is_ours(name, text):
            self._fail(events, Failure.found(UNREADABLE, kind="cut", status=200))

    def _is_ours(self, name: str, text: str) -> bool:
        """Whether an event must be readable: the content of an event of another name may be anything."""
        return not name or text[0] in "{["

    @property
    def _is_finished(self) -> bool:
        """Whether the provider has given a word for the end."""
        return bool(self._finish)

    @property
    def _reason(self) -> str:
        """The provider's word for the end in the words of ``Finish``; empty without one."""
        word = self._finish
        return self.finish_words.get(word) or self.finish_words.get(word.lower(), "stop") if word else ""

    def _end_whole(self, events: list[Event]) -> None:
        """The provider says that the response is over, or it came in one piece."""
        reason = self._reason
        if reason == BROKEN_OFF:
            self._end(events, self._after_output(Failure.found(BROKEN, status=200)))
        elif self._has_answer or reason not in ("", "stop", "tool_calls"):
            self._end(events)
        else:
            is_charged = bool(reason) or self._has_reasoning
            self._end(events, Failure.found(EMPTY, kind="blank" if is_charged else "empty", status=200))

    def _fail(self, events: list[Event], failure: Failure) -> None:
        """An error in the middle of a response: in most formats its end."""
        self._end(events, self._after_output(failure))

    def _after_output(self, failure: Failure) -> Failure:
        """An error as what it is after some output: the response is cut."""
        return replace(failure, kind="cut") if self._has_output else failure

    def _end(self, events: list[Event], failure: Failure | None = None) -> None:
        if not self.done:
            self.done = True
            self._conclude(events, failure)

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        """The events of the end, in their order."""
        events += self._sources()
        if (usage := self._usage()) != Usage():
            events.append(usage)
        if self._finish and self._reason != BROKEN_OFF:
            events.append(self._finish_event(is_whole=failure is None))
        if failure is not None:
            events.append(failure)

    def _finish_event(self, *, is_whole: bool) -> Finish:
        reason, word = self._reason, self._finish
        is_known = word in self.finish_words or word.lower() in self.finish_words
        if is_whole and reason in ("stop", "tool_calls"):
            # some providers end their calls with another word, or have none
            reason = "tool_calls" if self._has_calls else "stop"
        return Finish(reason, "" if is_known else error_bodies.short_word(word))
