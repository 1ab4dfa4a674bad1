"""The shared part of the decoders of all provider formats: from pieces of a body to events, and the end.

A format's own ``Decoder`` says what its JSON objects mean.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import msgspec

from chathub.formats import failures, large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Finish, Reasoning, State, Text, ToolCallDelta, Usage
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

# codes of what is wrong with a stream
CUT = "upstream_cut"
EMPTY = "empty_reply"
UNREADABLE = "upstream_unreadable"
TOO_LONG = "upstream_event_too_large"
BROKEN = "upstream_broke_off"

# characters of state that is kept for one response; of more nothing is kept
STATE = 1024 * 1024
# bytes of the largest event that is decoded the fast way
_ORDINARY = 65_536

UNREADABLE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class StreamDecoder(ABC):
    """Decodes one streamed response: ``feed`` it every piece of the body, in order, then ``close`` it.

    The order of events, for all formats: ``Text``, ``Reasoning`` and ``ToolCallDelta`` come as they arrive.
    With the end (the format's last event, an error, ``close``) come ``Usage``, ``State`` and ``Finish``, each
    at most once, then a ``Failure`` if the response is not whole. After a ``Failure`` only a ``Usage`` may
    follow (OpenAI's format). Without a ``Failure`` the response is complete, also without a ``Finish``
    (Snowflake never sends one). No event holds half a surrogate pair.

    ``done``: the last event has come; what the provider still sends need not be waited for. Nothing raises.
    """

    # the fields that are read of a large object
    shape: ClassVar[large_json.Shape]

    def __init__(self, limit: int = sse.LIMIT) -> None:
        self._parser = sse.Parser(limit)
        self._emptiness = sse.Emptiness(limit)
        self._streamed = True
        self._arrived = False  # any data at all
        self._has_output = False  # some text, reasoning or tool call
        self._finish = ""  # the provider's word
        self._kept = 0  # characters of state
        self.done = False

    @property
    def pending(self) -> int:
        """The bytes of an event that has not come whole: large ones are decoded in a thread."""
        return self._parser.pending

    def feed(self, data: bytes) -> list[Event]:
        """The events in ``data``, a piece of the body as it came from the network."""
        events: list[Event] = []
        try:
            for name, payload in self._parser.feed(data):
                if self.done:
                    continue
                if len(payload) > _ORDINARY or not self._take_plain(name, payload, events):
                    self._take(name, payload, events)
            self._emptiness.count(len(data), brought_something=bool(events))
        except sse.TooLong:
            self._end(events, Failure.found(TOO_LONG, kind="cut", status=200))
        return events

    def close(self) -> list[Event]:
        """The events that the end of the body brings: whether the response was whole or cut off."""
        events: list[Event] = []
        try:
            for name, payload in self._parser.close():
                self._take(name, payload, events, last=True)
        except sse.TooLong:
            self._arrived = True
        if self._finish:
            self._end(events)
        elif self._arrived:
            self._end(events, Failure.found(CUT, kind="cut", status=200))
        else:
            self._end(events, Failure.found(EMPTY, kind="empty", status=200))
        return events

    def decode_body(self, body: bytes) -> list[Event]:
        """The events of a whole body. A stream that came although none was requested is decoded as one;
        blank lines before the JSON (DeepSeek, OpenRouter) are skipped."""
        text = body.decode("utf-8-sig", "replace").strip()
        if text.startswith(("data:", "event:", ":")):
            return self.feed(body.lstrip()) + self.close()
        self._streamed = False
        events: list[Event] = []
        self._take("", text.encode(), events)
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

    def _state(self) -> JsonObject:
        """The content of ``State``; empty for none."""
        return {}

    @abstractmethod
    def _reason(self, word: str) -> str:
        """The provider's word for the end in the words of ``Finish``."""

    def _take(self, name: str, payload: bytes, events: list[Event], last: bool = False) -> None:
        """The tolerant way. ``last``: the event lacked its end, so half a JSON text is no surprise."""
        text = payload.decode("utf-8", "replace").strip()
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
        if name == "error" and not (isinstance(value, dict) and value.get("error")):
            self._fail(events, fields.refusal(value, BROKEN))
        else:
            self._take_value(value, events)

    def _take_value(self, value: object, events: list[Event]) -> None:
        if isinstance(value, dict):
            self._take_object(value, events)
        elif value is not None:
            self._fail(events, fields.refusal(value, UNREADABLE, "cut"))

    def _take_unreadable(self, name: str, text: str, last: bool, events: list[Event]) -> None:
        if last and (name != "error" or text[0] in "{["):
            return
        if name == "error":
            self._fail(events, fields.refusal(text, BROKEN))
        elif self._is_ours(name, text):
            self._fail(events, Failure.found(UNREADABLE, kind="cut", status=200))

    def _is_ours(self, name: str, text: str) -> bool:
        """Whether an event must be readable: the content of an event of another name may be anything."""
        return not name or text[0] in "{["

    def _keep(self, text: object) -> str:
        """A piece of the state; empty once there is too much of it."""
        kept = well_formed(fields.as_string(text))
        self._kept += len(kept)
        return kept if self._kept < STATE else ""

    def _say(self, kind: type[Text] | type[Reasoning], text: object, events: list[Event]) -> str:
        said = well_formed(fields.as_string(text))
        if said:
            self._has_output = True
            events.append(kind(said))
        return said

    def _call(self, index: int, call_id: str, name: str, arguments: str, events: list[Event]) -> None:
        self._has_output = True
        if call_id or name or arguments:
            events.append(
                ToolCallDelta(index, well_formed(call_id), well_formed(name), well_formed(arguments))
            )

    def _end_whole(self, events: list[Event]) -> None:
        """The provider says that the response is over, or it came in one piece."""
        whole = self._has_output or self._finish
        self._end(events, None if whole else Failure.found(EMPTY, kind="empty", status=200))

    def _fail(self, events: list[Event], failure: Failure) -> None:
        """An error in the middle of a response: in most formats its end."""
        self._end(events, failure)

    def _end(self, events: list[Event], failure: Failure | None = None) -> None:
        if not self.done:
            self.done = True
            self._conclude(events, failure)

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        """The events of the end, in their order."""
        if (usage := self._usage()) != Usage():
            events.append(usage)
        if state := self._state():
            events.append(State(state))
        if self._finish:
            events.append(Finish(failures.short_word(self._reason(self._finish))))
        if failure is not None:
            events.append(failure)
