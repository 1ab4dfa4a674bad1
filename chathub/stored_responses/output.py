"""The response object that a log of events tells: as it is so far, or as it ended."""

from collections.abc import Iterable
from typing import Any

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
_ITEMS = ("response.output_item.added", "response.output_item.done")
_Key = tuple[Any, str, Any, str]


class Output:
    """Folds events into the response that they tell."""

    def __init__(self) -> None:
        self._response: JsonObject = {}
        self._items: dict[Any, JsonObject] = {}
        # text that is not in its part yet: appending to a long text copies it
        self._pieces: dict[_Key, list[str]] = {}

    def add(self, events: Iterable[JsonObject]) -> None:
        """Fold further events."""
        for event in events:
            self._add(event)

    def _add(self, event: JsonObject) -> None:
        kind, index = event.get("type"), event.get("output_index")
        if isinstance(response := event.get("response"), dict):
            self._response = response
        elif kind in _ITEMS and isinstance(item := event.get("item"), dict):
            self._items[index] = item
            self._forget(index)
        elif kind in _PARTS:
            self._put_part(event, *_PARTS[kind])
        elif kind in _DELTAS:
            holder, number, field = _DELTAS[kind]
            key = (index, holder, event.get(number), field)
            self._pieces.setdefault(key, []).append(str(event.get("delta", "")))

    def _put_part(self, event: JsonObject, holder: str, number: str) -> None:
        index, at = event.get("output_index"), event.get(number)
        parts = self._items.get(index, {}).setdefault(holder, [])
        if isinstance(parts, list) and isinstance(at, int) and isinstance(event.get("part"), dict):
            parts[at : at + 1] = [event["part"]]
            self._forget(index, holder, at)

    def _forget(self, *place: Any) -> None:
        """Forget the pieces of an item or a part that has come whole."""
        for key in [key for key in self._pieces if key[: len(place)] == place]:
            del self._pieces[key]

    def response(self) -> JsonObject:
        """The response so far. One that has not ended gets its output from the items."""
        if self._response.get("status") in ("queued", "in_progress"):
            return {**self._response, "output": self.items()}
        return self._response

    def items(self) -> list[JsonObject]:
        """The items so far."""
        for (index, holder, number, field), pieces in self._pieces.items():
            target = _part_of(self._items.get(index), holder, number)
            if target is not None:
                target[field] = str(target.get(field) or "") + "".join(pieces)
        self._pieces.clear()
        return list(self._items.values())


def _part_of(item: JsonObject | None, holder: str, number: Any) -> JsonObject | None:
    if item is None or not holder:
        return item
    parts = item.get(holder)
    part = parts[number] if isinstance(parts, list) and number in range(len(parts)) else None
    return part if isinstance(part, dict) else None


def ended(response: JsonObject, status: str, code: str, message: str) -> JsonObject:
    """A response that ended before it was whole: with its output so far."""
    items = incomplete(response.get("output") or [])
    error = {"code": code, "message": message} if status == "failed" else None
    return {**response, "status": status, "error": error, "output": items}


def incomplete(items: list[JsonObject]) -> list[JsonObject]:
    """Items of a response that has ended: those that were not done stay incomplete."""
    return [_incomplete(item) if isinstance(item, dict) else item for item in items]


def _incomplete(item: JsonObject) -> JsonObject:
    return {**item, "status": "incomplete"} if item.get("status") == "in_progress" else item
