"""The output items of one response of a provider while they come: which item an event belongs to, and how
much of it has been said.

Servers differ. Some give each event of an item another id (GitHub Copilot), some give no ``output_index``,
or always the same one; some leave out the event that begins an item, or all that end it.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject

# items of one response that are told apart
_MOST = 4096
# the kinds of items that grow by deltas, by their type; the kind of all others is their type
KINDS = {
    "message": "text",
    "reasoning": "reasoning",
    "function_call": "call",
    "custom_tool_call": "call",
    "tool_search_call": "call",
}


class OutputItem(Struct):
    """An item while it grows. ``said`` counts the characters of its deltas, ``lengths`` those of each part.

    ``start`` is where a message's text begins in that of the response. ``slot`` numbers the tool calls;
    ``closing`` ends the arguments of a call. ``source`` is the field from which reasoning is read; ``part``
    is the last part of it.
    """

    kind: str
    id: str = ""
    index: object = None
    is_done: bool = False
    said: int = 0
    lengths: dict[int, int] = field(default_factory=dict)
    start: int | None = None
    cited: dict[int, int] = field(default_factory=dict)
    slot: int = 0
    name: str = ""
    closing: str = ""
    source: str = ""
    part: int = 0

    def count(self, part: int, text: str) -> None:
        """Count a further piece of a part."""
        self.said += len(text)
        self.lengths[part] = self.lengths.get(part, 0) + len(text)

    def start_of(self, part: int) -> int:
        """Where a part of a message begins in the text of the response."""
        before = sum(size for number, size in self.lengths.items() if number < part)
        return (self.start or 0) + before

    def rest(self, parts: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """What has not been said of the whole parts of an item, each with its number."""
        skipped = self.said
        for part, text in parts:
            if skipped < len(text):
                yield part, text[skipped:]
            skipped = max(0, skipped - len(text))


class OutputItems:
    """The items of one response, in order."""

    def __init__(self) -> None:
        self._items: list[OutputItem] = []
        self._by_place: dict[object, OutputItem] = {}
        self._slots = 0

    def __iter__(self) -> Iterator[OutputItem]:
        return iter(self._items)

    def begin(self, kind: str, index: object, item_id: str) -> OutputItem:
        """A new item."""
        item = OutputItem(kind, item_id, index if type(index) is int else None)
        if kind == "call":
            item.slot, self._slots = self._slots, self._slots + 1
        if len(self._items) < _MOST:
            self._items.append(item)
            for place in (item.index, item_id or None):
                if place is not None:
                    self._by_place[place] = item
        return item

    def of_event(self, kind: str, index: object, item_id: str) -> OutputItem:
        """The item of this kind that an event belongs to; a new one if it is none of those that are open."""
        item = self._at(index)
        if item is None or item.kind != kind or (item.is_done and item.id != item_id):
            item = self._by_place.get(item_id) if item_id else None
        if item is None or item.kind != kind:
            # with an index, the id of each event may be another
            is_new = self._at(index) is None if type(index) is int else bool(item_id)
            item = None if is_new else self._last_open(kind)
        return item or self.begin(kind, index, item_id)

    def _at(self, index: object) -> OutputItem | None:
        return self._by_place.get(index) if type(index) is int else None

    def _last_open(self, kind: str) -> OutputItem | None:
        open_ones = (item for item in reversed(self._items) if item.kind == kind and not item.is_done)
        return next(open_ones, None)

    def of_whole(self, outputs: object) -> Iterator[tuple[OutputItem, JsonObject]]:
        """The items of a whole ``output``, each with the one that it was while it came: by its id, else the
        next one of its kind whose id is not among them."""
        whole = [as_object(each) for each in outputs] if isinstance(outputs, list) else []
        by_id = {(item.kind, item.id): item for item in self._items if item.id}
        named = {id(item) for each in whole if (item := by_id.get(_key(each)))}
        waiting: dict[str, list[OutputItem]] = {}
        for item in reversed(self._items):
            if id(item) not in named:
                waiting.setdefault(item.kind, []).append(item)
        for output in whole:
            kind, item_id = _key(output)
            if (known := by_id.get((kind, item_id))) or (
                (same := waiting.get(kind)) and (known := same.pop())
            ):
                yield known, output
            elif kind:
                yield self.begin(kind, None, item_id), output


def _key(output: JsonObject) -> tuple[str, str]:
    return kind_of(output), as_string(output.get("id"))


def kind_of(output: JsonObject) -> str:
    """The kind of a whole item; empty for what is none. A search for tools may be the provider's own."""
    name = as_string(output.get("type"))
    if name == "tool_search_call" and output.get("execution") != "client":
        return name
    return KINDS.get(name, name)
