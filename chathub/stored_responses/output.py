"""The response object that a log of events tells: as it is so far, or as it ended."""

from collections.abc import Iterable

from chathub.formats.loose_json import as_string
from chathub.formats.responses.open_calls import cut_item
from chathub.schemas.json import JsonObject

# the events that bring a piece of text: the list in the item that has the part, the field of the event that
# numbers it (none: the item itself), and the field that grows
_DELTAS = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
    "response.function_call_arguments.delta": ("", "", "arguments"),
    "response.custom_tool_call_input.delta": ("", "", "input"),
}
# those that bring a part of an item
_PARTS = {
    "response.content_part.added": ("content", "content_index"),
    "response.content_part.done": ("content", "content_index"),
    "response.reasoning_summary_part.added": ("summary", "summary_index"),
    "response.reasoning_summary_part.done": ("summary", "summary_index"),
}
_ADDED = "response.output_item.added"
_ITEMS = (_ADDED, "response.output_item.done")
# the status of a response that has not ended
_RUNNING = ("queued", "in_progress")
# a part of an item: the list that has it, and its number; the item itself has no list
_Place = tuple[str, int]


class Output:
    """Folds events into the response that they tell; ``head`` is that of one without events. Events are a
    provider's: one that does not say where it belongs is left out."""

    def __init__(self, head: JsonObject | None = None) -> None:
        self._response: JsonObject = head or {}
        self._items: dict[int, JsonObject] = {}
        # the items that are not done
        self._open: set[int] = set()
        # texts that are not in their place yet, by item, place and field: appending to a long text copies it
        self._pieces: dict[int, dict[_Place, dict[str, list[str]]]] = {}

    def add(self, events: Iterable[JsonObject]) -> None:
        """Fold further events."""
        for event in events:
            if isinstance(response := event.get("response"), dict):
                self._response = response
            elif (index := _number_in(event, "output_index")) is not None:
                self._add(event, index)

    def _add(self, event: JsonObject, index: int) -> None:
        kind = as_string(event.get("type"))
        if kind in _ITEMS and isinstance(item := event.get("item"), dict):
            self._items[index] = item
            (self._open.add if kind == _ADDED else self._open.discard)(index)
            self._pieces.pop(index, None)
        elif kind in _PARTS:
            holder, number = _PARTS[kind]
            self._put_part(index, holder, _number_in(event, number), event.get("part"))
        elif kind in _DELTAS:
            holder, number, field = _DELTAS[kind]
            at = _number_in(event, number) if holder else 0
            if at is not None and isinstance(delta := event.get("delta"), str):
                texts = self._pieces.setdefault(index, {}).setdefault((holder, at), {})
                texts.setdefault(field, []).append(delta)

    def _put_part(self, index: int, holder: str, at: int | None, part: object) -> None:
        parts = self._items.get(index, {}).setdefault(holder, [])
        if at is not None and isinstance(parts, list) and isinstance(part, dict):
            parts[at : at + 1] = [part]
            self._pieces.get(index, {}).pop((holder, at), None)

    def response(self) -> JsonObject:
        """The response so far. One that has not ended gets its output from the items, and so does one that
        ended without: it was cut off, or its provider does not repeat them."""
        if self._has_output or not self._response:
            return self._response
        self._write_texts()
        return {**self._response, "output": [self._items[index] for index in sorted(self._items)]}

    def ended(self) -> JsonObject:
        """The response, none of whose items can grow any more."""
        if self._has_output:
            return self._response
        self._write_texts()
        is_cut = self._response.get("status") != "completed"
        items = [
            item
            for index in sorted(self._items)
            if (item := self._ended_item(index, is_cut=is_cut)) is not None
        ]
        return {**self._response, "output": items}

    @property
    def _has_output(self) -> bool:
        """Whether the response has ended, with its output."""
        output = self._response.get("output")
        return self._response.get("status") not in _RUNNING and isinstance(output, list) and bool(output)

    def _ended_item(self, index: int, *, is_cut: bool) -> JsonObject | None:
        item: JsonObject | None = self._items[index]
        if is_cut and item is not None and index in self._open:
            item = cut_item(item)
        if item is not None and item.get("status") == "in_progress":
            item["status"] = "incomplete"
        return item

    def _write_texts(self) -> None:
        for index, places in self._pieces.items():
            for (holder, at), texts in places.items():
                target = _part_of(self._items.get(index), holder, at)
                if target is not None:
                    for field, pieces in texts.items():
                        target[field] = str(target.get(field) or "") + "".join(pieces)
        self._pieces.clear()


def _number_in(event: JsonObject, name: str) -> int | None:
    number = event.get(name)
    return number if type(number) is int and number >= 0 else None


def _part_of(item: JsonObject | None, holder: str, at: int) -> JsonObject | None:
    if item is None or not holder:
        return item
    parts = item.get(holder)
    part = parts[at] if isinstance(parts, list) and at < len(parts) else None
    return part if isinstance(part, dict) else None
