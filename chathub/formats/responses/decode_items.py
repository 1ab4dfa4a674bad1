"""Decodes the output items of a response: what their deltas say, and what is known only when they are done.

A ``State`` follows each reasoning item with encrypted content: ``{"responses": {"encrypted_content": …}}``,
or what ChatHub itself has sealed in it. Items that no other format has (of the provider's own tools) are
``{"responses_item": {…}}``. The input of a custom tool is ``{"input": "…"}``, like the arguments of a
function with one text.
"""

import json

from chathub.formats import attachments, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Reasoning, Source, State, Text
from chathub.formats.failures import error_bodies
from chathub.formats.halves import Halves
from chathub.formats.openai.sources import Citations
from chathub.formats.responses.output_items import OutputItem, OutputItems, kind_of
from chathub.formats.responses.states import is_ours, state_in
from chathub.formats.responses.tools import SEARCH, KnownTool, name_of
from chathub.formats.stream_decoder import StreamDecoder
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

# the kind of item that a piece belongs to, by the field in which it is when the item is done
_KIND_OF_SOURCE = {
    **dict.fromkeys(("text", "refusal"), "text"),
    **dict.fromkeys(("summary", "content"), "reasoning"),
    **dict.fromkeys(("arguments", "input"), "call"),
}
# annotations of one response, and parts of one item that are told apart
_MOST_CITED, _MOST_PARTS = 1000, 1024
_BETWEEN_PARTS = "\n\n"


class ItemDecoder(StreamDecoder):
    """The part of the decoder that knows the items."""

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._items = OutputItems()
        self._halves = Halves()
        self._cited: list[tuple[OutputItem, int, object]] = []
        self._length = 0  # code points of the text

    def _take_annotation(self, value: JsonObject) -> None:
        item = self._item_of("text", value)
        self._cite(item, _part_number("text", value), [value.get("annotation")])

    def _item_of(self, kind: str, value: JsonObject) -> OutputItem:
        return self._items.of_event(kind, value.get("output_index"), fields.as_string(value.get("item_id")))

    def _take_item(self, event: str, value: JsonObject, whole: JsonObject, events: list[Event]) -> None:
        index, item_id = value.get("output_index"), fields.as_string(whole.get("id"))
        if not (kind := kind_of(whole)):
            return
        if event.endswith("done"):
            self._finish_item(self._items.of_event(kind, index, item_id), whole, events)
            return
        item = self._items.begin(kind, index, item_id)
        if kind == "call":
            self._begin_call(item, whole, events)

    def _grow(self, source: str, value: JsonObject, delta: object, events: list[Event]) -> None:
        """A further piece of an item."""
        item = self._item_of(_KIND_OF_SOURCE[source], value)
        text = fields.as_string(delta) or fields.as_string(fields.as_object(delta).get("text"))
        if item.is_done or not text:
            return
        if item.kind == "call":
            self._say_arguments(item, text, events)
        elif item.kind == "reasoning":
            self._say_reasoning(item, source, _part_number(source, value), text, events)
        else:
            is_refusal = source == "refusal"
            self._say_text(item, _part_number(source, value), text, events, is_refusal=is_refusal)

    def _take_part(self, source: str, value: JsonObject, events: list[Event]) -> None:
        """The whole of a part, after its deltas or in their place."""
        item = self._item_of(_KIND_OF_SOURCE[source], value)
        if item.kind == "call":
            if not item.name and source == "arguments":
                self._begin_call(item, value, events)
            said = item.said
        else:
            said = item.lengths.get(_part_number(source, value), 0)
        name = source if source in value else "text"
        self._grow(source, value, fields.as_string(value.get(name))[said:], events)

    def _finish_item(self, item: OutputItem, whole: JsonObject, events: list[Event]) -> None:
        """An item is done: say what was not said, and what is known only now."""
        if item.is_done:
            return
        if item.kind == "text":
            self._finish_text(item, whole, events)
        elif item.kind == "reasoning":
            self._finish_reasoning(item, whole, events)
        elif item.kind == "call":
            self._finish_call(item, whole, events)
        elif item.kind == "image_generation_call" and (image := attachments.in_part(whole)):
            self._attach(image, events)
        else:
            self._has_answer = True
            self._keep_state({"responses_item": whole}, events)
        item.is_done, item.id = True, fields.as_string(whole.get("id")) or item.id

    def _finish_text(self, item: OutputItem, whole: JsonObject, events: list[Event]) -> None:
        parts = list(enumerate(_parts(whole.get("content"))))
        texts = [(number, _text_of(part)) for number, part in parts]
        for number, rest in item.rest(texts):
            is_refusal = "refusal" in parts[number][1]
            self._say_text(item, number, rest, events, is_refusal=is_refusal)
        item.lengths |= {number: len(text) for number, text in texts}
        for number, part in parts:
            cited = part.get("annotations")
            self._cite(item, number, cited if isinstance(cited, list) else [], is_whole=True)
            if attachments.is_media(part) and (attachment := attachments.in_part(part)):
                self._attach(attachment, events)

    def _finish_reasoning(self, item: OutputItem, whole: JsonObject, events: list[Event]) -> None:
        sources = [item.source] if item.source else ["content", "summary"]
        for source in sources:
            parts = [(number, _text_of(part)) for number, part in enumerate(_parts(whole.get(source)))]
            for number, rest in item.rest(parts):
                self._say_reasoning(item, source, number, rest, events)
            if item.said:
                break
        encrypted = fields.as_string(whole.get("encrypted_content"))
        if is_ours(encrypted):
            self._keep_state(state_in(encrypted), events)
        elif encrypted:
            own: JsonObject = {"id": whole.get("id"), "encrypted_content": encrypted}
            self._keep_state({"responses": own}, events)

    def _finish_call(self, item: OutputItem, whole: JsonObject, events: list[Event]) -> None:
        if not item.name:
            self._begin_call(item, whole, events)
        arguments = whole.get("input" if whole.get("type") == "custom_tool_call" else "arguments")
        text = error_bodies.compact(arguments) if isinstance(arguments, dict) else fields.as_string(arguments)
        for _, rest in item.rest([(0, text)]):
            self._say_arguments(item, rest, events)
        self._close_call(item, events)

    # --- what is said

    def _say_text(
        self, item: OutputItem, part: int, text: str, events: list[Event], *, is_refusal: bool = False
    ) -> None:
        if item.start is None:
            item.start = self._length
        item.count(part, text)
        if said := self._halves.join(Text, text):
            events.append(Text(said, is_refusal))
            self._length += len(said)
        self._has_answer = True

    def _say_reasoning(
        self, item: OutputItem, source: str, part: int, text: str, events: list[Event]
    ) -> None:
        """Say reasoning. Of a summary and the reasoning itself the one that comes first is read."""
        item.source = item.source or source
        if source != item.source:
            return
        between = _BETWEEN_PARTS if item.said and part != item.part else ""
        item.part = part
        item.count(part, text)
        if said := self._halves.join(Reasoning, between + text):
            events.append(Reasoning(said))
        self._has_reasoning = True

    def _begin_call(self, item: OutputItem, whole: JsonObject, events: list[Event]) -> None:
        """A call whose name is known."""
        item.name = _called(whole)
        if item.name:
            call_id = fields.as_string(whole.get("call_id")) or item.id
            is_custom = whole.get("type") == "custom_tool_call"
            item.closing = '"}' if is_custom else ""
            self._call(item.slot, call_id, item.name, '{"input":"' if is_custom else "", events)

    def _say_arguments(self, item: OutputItem, text: str, events: list[Event]) -> None:
        """Say arguments, but not before the name of the call: then all come with its end."""
        if item.name:
            item.count(0, text)
            said = self._halves.join(item.slot, text)
            written = json.dumps(said, ensure_ascii=False)[1:-1] if item.closing else said
            self._call(item.slot, "", "", written, events)

    def _close_call(self, item: OutputItem, events: list[Event]) -> None:
        if item.closing:
            half = "\ufffd" if self._halves.waiting.pop(item.slot, "") else ""
            self._call(item.slot, "", "", half + item.closing, events)
            item.closing = ""

    def _keep_state(self, data: JsonObject, events: list[Event]) -> None:
        """A state, as long as there is room for it."""
        text = error_bodies.compact(data)
        if data and text and self._state_room.keep(text):
            events.append(State(json.loads(well_formed(text))))

    def _cite(
        self, item: OutputItem, part: int, annotations: list[object], *, is_whole: bool = False
    ) -> None:
        """Keep annotations of a part. ``is_whole``: all that it has, some of which may be known."""
        known = item.cited.get(part, 0)
        new = annotations[known:] if is_whole else annotations
        item.cited[part] = known + len(new)
        self._cited += [(item, part, each) for each in new[: _MOST_CITED - len(self._cited)]]

    def _sources(self) -> list[Source]:
        """The sources, whose places in their parts become places in the whole text."""
        citations = Citations()
        annotations = [_moved(each, item.start_of(part)) for item, part, each in self._cited]
        citations.take({}, {}, {"annotations": annotations})
        return citations.all()


def _parts(value: object) -> list[JsonObject]:
    return [fields.as_object(part) for part in value] if isinstance(value, list) else []


def _called(whole: JsonObject) -> str:
    """The name of the function that stands for the tool of a call; empty if it is not known."""
    if whole.get("type") == "tool_search_call":
        return SEARCH
    name, namespace = fields.as_string(whole.get("name")), fields.as_string(whole.get("namespace"))
    return name_of(KnownTool("function", name, namespace)) if name else ""


def _text_of(part: JsonObject) -> str:
    return fields.as_string(part.get("text")) or fields.as_string(part.get("refusal"))


def _part_number(source: str, value: JsonObject) -> int:
    number = value.get("summary_index" if source == "summary" else "content_index")
    return number if type(number) is int and 0 <= number < _MOST_PARTS else 0


def _moved(annotation: object, start: int) -> object:
    """An annotation with its place in the whole text."""
    value = {**fields.as_object(annotation)}
    for name in ("start_index", "end_index"):
        if type(value.get(name)) is int:
            value[name] += start
    return value
