"""Decodes responses of providers that have OpenAI's Responses.

Sources: OpenAI's API reference ("Responses", "Streaming events"), the types of its library, and the streams
that OpenRouter, xAI, LM Studio, vLLM, llama.cpp, Ollama and GitHub Copilot are known to send. A response is a
sequence of items: each is added, grows by deltas, and is done; the last event has all of them once more. Any
of these events may be missing, so what an item has said is counted, and a repetition says only the rest.
"""

import msgspec
from msgspec import Struct

from chathub.formats import large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.responses.decode_items import ItemDecoder
from chathub.formats.stream_decoder import BROKEN, BROKEN_OFF, CUT, UNREADABLE_ERRORS
from chathub.schemas.json import JsonObject

# the code of what is a reply of Chat Completions, from a server that has no Responses
NO_RESPONSE = "upstream_no_response_object"

_WORDS = {
    "completed": "stop",
    "steered": "stop",
    **dict.fromkeys(("incomplete", "max_output_tokens", "max_tokens", "max_messages"), "length"),
    "content_filter": "content_filter",
    **dict.fromkeys(("cancelled", "canceled"), BROKEN_OFF),
}
# the events that bring a further piece of an item, and those with the whole of a part: the field of the item
_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary",
    "response.reasoning_summary.delta": "summary",
    "response.reasoning_text.delta": "content",
    "response.reasoning.delta": "content",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_WHOLES = {f"{name.removesuffix('delta')}done": source for name, source in _DELTAS.items()}
_FAILED = "response.failed"
# the last events of a stream, and the status of the response if it has none
_ENDS = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    _FAILED: "failed",
    "response.cancelled": "cancelled",
}
# a response with one of these has not ended
_RUNNING = ("in_progress", "queued")

_PART: dict[str, large_json.Shape] = dict.fromkeys(
    ("type", "text", "refusal", "annotations", "image_url", "b64_json", "data", "format", "transcript")
)
_ITEM: large_json.Shape = {
    "content": [_PART],
    "summary": [_PART],
    **dict.fromkeys(
        ("type", "id", "status", "role", "call_id", "name", "namespace", "arguments", "input", "action")
        + ("encrypted_content", "result", "output_format", "revised_prompt", "output", "outputs", "results")
        + ("queries", "code", "container_id", "server_label", "operation", "error", "created_by", "tools")
        + ("execution",)
    ),
}
_RESPONSE: dict[str, large_json.Shape] = {
    "output": [_ITEM],
    **dict.fromkeys(
        ("id", "object", "created_at", "model", "status", "error", "incomplete_details", "usage")
    ),
}


class _PlainEvent(Struct, gc=False):
    type: str
    delta: str
    output_index: int
    content_index: int = 0
    item_id: str = ""
    sequence_number: int = -1


_decode_event = msgspec.json.Decoder(_PlainEvent).decode


class Decoder(ItemDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    After an error the stream is read on: the failed response follows it, which may have a usage. Only that is
    an end that clients know.
    """

    shape = {
        **large_json.ERRORS,
        **_RESPONSE,
        "sequence_number": None,
        **dict.fromkeys(("output_index", "content_index", "summary_index", "item_id", "delta", "name")),
        **dict.fromkeys(("text", "refusal", "arguments", "input", "annotation", "choices")),
        "response": _RESPONSE,
        "item": _ITEM,
        "part": _PART,
    }
    finish_words = _WORDS

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._name = ""  # of the event that is being decoded
        # the response as it began, and the number of the last event
        self.head: JsonObject = {}
        self.number = -1
        self._failed = False
        self._reported = Usage()

    @property
    def has_counted(self) -> bool:
        # the last event has the counts, also of a response that failed
        return self.done or super().has_counted

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        if self._failed or self._halves.waiting:
            return False
        try:
            event = _decode_event(payload)
        except UNREADABLE_ERRORS:
            return False
        if event.type != "response.output_text.delta" or not event.delta:
            return False
        item = self._items.of_event("text", event.output_index, event.item_id)
        if not item.is_done:
            self._say_text(item, event.content_index, event.delta, events)
        self._arrived = True
        self.number = max(self.number, event.sequence_number)
        return True

    def _take(self, name: str, payload: bytes, events: list[Event], last: bool = False) -> None:
        self._name = name
        super()._take(name, payload, events, last)

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        kind = fields.as_string(value.get("type")) or self._name
        response = fields.as_object(value.get("response"))
        self.head = self.head or response
        number = fields.as_count(value.get("sequence_number"))
        self.number = self.number if number is None else max(self.number, number)
        self._keep_counts(fields.as_object(response.get("usage")) or fields.as_object(value.get("usage")))
        if self._failed:
            if kind in _ENDS:
                # any other end is kept from the client: it would make the reply look whole
                self.shows_error = kind == _FAILED
                self._end(events)
        elif kind in _DELTAS:
            self._grow(_DELTAS[kind], value, value.get("delta"), events)
        elif kind in _WHOLES:
            self._take_part(_WHOLES[kind], value, events)
        elif kind in _ENDS:
            self._take_response(response or value, _ENDS[kind], events)
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._take_item(kind, value, fields.as_object(value.get("item")), events)
        elif kind == "response.output_text.annotation.added":
            self._take_annotation(value)
        elif not kind.startswith("response."):
            self._take_other(kind, value, events)

    def _take_other(self, kind: str, value: JsonObject, events: list[Event]) -> None:
        """A whole response, or what is none."""
        if value.get("object") == "response" or (not kind and isinstance(value.get("output"), list)):
            self._take_response(value, "", events)
        elif kind == "error" or value.get("error") or (not kind and error_bodies.is_error(value)):
            self._fail(events, fields.refusal(value, BROKEN))
        elif "choices" in value:
            self._keep_counts(fields.usage_object(value, {}))
            self._fail(events, Failure.found(NO_RESPONSE, status=200))

    def _take_response(self, response: JsonObject, ended: str, events: list[Event]) -> None:
        """The whole response, of a stream's last event or on its own; ``ended`` is the status that its event
        says, which counts more than one that is no end."""
        for item, whole in self._items.of_whole(response.get("output")):
            self._finish_item(item, whole, events)
        for item in self._items:
            self._close_call(item, events)
        status = fields.as_string(response.get("status"))
        if not status or (ended and status in _RUNNING):
            status = ended or "completed"
        if status == "failed" or (status != "completed" and response.get("error")):
            self.shows_error = self._streamed and ended == "failed"
            self._fail(events, fields.refusal({"error": response.get("error")}, BROKEN))
            self._end(events)
        elif status not in _RUNNING:
            details = fields.as_object(response.get("incomplete_details"))
            reason = fields.as_string(details.get("reason")) if status == "incomplete" else ""
            self._finish = reason if reason in _WORDS else status
            self._end_whole(events)

    def _end_whole(self, events: list[Event]) -> None:
        if self._streamed and self._has_output and not self._is_finished:
            # a mark of Chat Completions for the end, but not the event that has the response
            self._end(events, Failure.found(CUT, kind="cut", status=200))
        else:
            super()._end_whole(events)

    def _fail(self, events: list[Event], failure: Failure) -> None:
        self._conclude(events, self._after_output(failure))

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        if self._failed:
            if (usage := self._usage()) != self._reported:
                events.append(usage)
                self._reported = usage
            return
        events += self._halves.rest()
        super()._conclude(events, failure)
        if failure is not None:
            self._failed, self._reported = True, self._usage()

    def _usage(self) -> Usage:
        return fields.read_usage(self._counts)


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, in the order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)
