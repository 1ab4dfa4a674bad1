"""References to items of earlier replies, which some clients send in place of the items: the AI SDK does so
unless it is told that nothing is stored."""

from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from chathub.formats import sse
from chathub.formats.client_request import MESSAGES
from chathub.formats.raw_json import ABSENT, are_same, first_of, items, joined, look, value_of

# bytes of all items that one request refers to
_MOST = 16 * 1024 * 1024
_REFERENCE = b'"item_reference"'
_DONE = b"response.output_item.done"


class _Item(Struct):
    type: str = ""
    id: str = ""


class _Response(Struct):
    item: Raw = ABSENT
    output: Raw = ABSENT


_item = msgspec.json.Decoder(_Item)
_response = msgspec.json.Decoder(_Response)


def with_items(fields: dict[str, Raw], find: Callable[[str], bytes | None]) -> dict[str, Raw]:
    """The fields of a request with the items that it refers to; ``find`` gives one by its id. What is not
    found stays a reference. The same object if nothing changes."""
    sent = fields.get("input", ABSENT)
    if _REFERENCE not in bytes(sent):
        return fields
    listed = items(sent, MESSAGES) or []
    better, left = [], _MOST
    for each in listed:
        known = look(each, _item)
        item = find(known.id) if known and known.type == "item_reference" else None
        if item is not None and len(item) <= left:
            left -= len(item)
            each = Raw(item)
        better.append(each)
    return fields if are_same(better, listed) else {**fields, "input": joined(better)}


def id_of(item: Raw) -> str:
    """The id of an item; empty for what has none."""
    known = look(item, _item)
    return known.id if known else ""


def items_of(response: bytes) -> list[Raw]:
    """The items of a whole response."""
    found = value_of(Raw(response), _response)
    return (items(found.output, MESSAGES) or []) if found else []


class ItemReader:
    """Reads the items of a response while its stream is sent."""

    def __init__(self) -> None:
        self._parser: sse.Parser | None = sse.Parser()

    def feed(self, data: bytes) -> list[Raw]:
        """The items that are done with these bytes; none after what cannot be read."""
        if self._parser is None:
            return []
        try:
            done = [text for _, text in self._parser.feed(data) if _DONE in text]
        except sse.TooLong:
            self._parser = None
            return []
        found = [value_of(Raw(text), _response) for text in done]
        return [each.item for each in found if each and first_of(each.item) == b"{"]
