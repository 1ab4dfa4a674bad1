"""References to items of earlier replies, which some clients send in place of the items: the AI SDK does so
unless it is told that nothing is stored."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw, Struct

from chathub.errors import TooLarge
from chathub.formats import sse
from chathub.formats.client_request import MESSAGES, refuse
from chathub.formats.raw_json import ABSENT, first_of, items, joined, look, value_of
from chathub.schemas.readable import readable

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


class _Request(Struct):
    input: Raw = ABSENT


_request = msgspec.json.Decoder(_Request)
_item = msgspec.json.Decoder(_Item)
_response = msgspec.json.Decoder(_Response)


def references_in(body: bytes) -> list[str]:
    """The ids of the items that a request refers to, each once; none of a body that is not valid."""
    if _REFERENCE not in body:
        return []
    found = value_of(Raw(readable(body)), _request)
    return list({each: None for _, each in _references(found.input)}) if found else []


def with_items(fields: dict[str, Raw], found: Mapping[str, bytes]) -> dict[str, Raw]:
    """The fields of a request with the items that it refers to, given by their ids.

    Raises:
        BadRequest: an item is not among them.
        TooLarge: together they are too large.
    """
    sent = fields.get("input", ABSENT)
    if _REFERENCE not in bytes(sent):
        return fields
    better, left = items(sent, MESSAGES), _MOST
    if better is None:
        return fields
    for number, item_id in _references(sent):
        if (item := found.get(item_id)) is None:
            refuse(f"input[{number}].id", "item_unknown")
        left -= len(item)
        if left < 0:
            raise TooLarge("body_too_large", most=_MOST)
        better[number] = Raw(item)
    return {**fields, "input": joined(better)}


def _references(sent: Raw) -> Iterator[tuple[int, str]]:
    """The references of an input: their places and the ids."""
    for number, each in enumerate(items(sent, MESSAGES) or []):
        known = look(each, _item)
        if known is not None and known.type == "item_reference":
            yield number, known.id


def id_of(item: Raw) -> str:
    """The id of an item; empty for what has none."""
    known = value_of(item, _item)
    return known.id if known else ""


def items_of(response: Raw) -> list[Raw]:
    """The items of a whole response."""
    found = value_of(response, _response)
    return (items(found.output, MESSAGES) or []) if found else []


class ItemReader:
    """Reads the items of a response while its stream is sent."""

    def __init__(self) -> None:
        self._parser: sse.Parser | None = sse.Parser()

    @property
    def pending(self) -> int:
        """The bytes of an event that is not complete."""
        return self._parser.pending if self._parser else 0

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
