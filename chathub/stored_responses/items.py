"""The items of stored responses, found by their ids: those of an input, and those of an ended output."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from chathub.database.rows.responses import ItemPlace
from chathub.database.transaction import Transaction
from chathub.errors import TooLarge
from chathub.formats.raw_json import ABSENT
from chathub.formats.responses.references import id_of, items_of
from chathub.stored_responses.events import unpacked
from chathub.stored_responses.request import unpacked_items

# bytes of the items that are looked through for one request
_LARGEST = 32 * 1024 * 1024
# responses that are considered for one item: the newest that have it
_MOST = 8


class _Event(Struct):
    response: Raw = ABSENT


_decode_event = msgspec.json.Decoder(_Event).decode


def _output_of(event: bytes) -> list[Raw]:
    """The items of the response that an ending event has, as it is framed."""
    return items_of(bytes(_decode_event(event.partition(b"\ndata: ")[2]).response))


def ids_in(event: bytes) -> list[str]:
    """The ids of the items of the response that an ending event has."""
    return list(map(id_of, _output_of(event)))


def remember(tx: Transaction, response_id: int, ids: Iterable[str], *, is_output: bool) -> None:
    """Remember where the items with these ids are."""
    place = {"response_id": response_id, "is_output": is_output}
    tx.many(tx.q.responses.insert_item, [place | {"digest": _digest(each)} for each in ids if each])


def _digest(item_id: str) -> int:
    return int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8], signed=True)


def find_places(tx: Transaction, user_id: int, ids: Sequence[str]) -> dict[str, list[ItemPlace]]:
    """Where a user's items may be, by id; the newest place first."""
    find = tx.q.responses.list_places
    return {each: tx.all(find, user_id=user_id, digest=_digest(each), most=_MOST) for each in ids}


def readable_places(
    places: Mapping[str, Sequence[ItemPlace]], may_read: Callable[[str], bool]
) -> dict[ItemPlace, list[str]]:
    """The newest place of each item in a response whose model may be read, with the ids that are there."""
    found: dict[ItemPlace, list[str]] = {}
    for item_id, rows in places.items():
        if place := next((row for row in rows if may_read(row.model)), None):
            found.setdefault(place, []).append(item_id)
    return found


def load(tx: Transaction, places: Mapping[ItemPlace, Sequence[str]]) -> dict[str, bytes]:
    """Items by id.

    Raises:
        TooLarge: they are among too many others.
    """
    found: dict[str, bytes] = {}
    size = 0
    for place, ids in places.items():
        wanted = set(ids)
        for item in _items_at(tx, place):
            size += memoryview(item).nbytes
            if (item_id := id_of(item)) in wanted:
                found[item_id] = bytes(item)
        if size > _LARGEST:
            raise TooLarge("body_too_large", most=_LARGEST)
    return found


def _items_at(tx: Transaction, place: ItemPlace) -> list[Raw]:
    """The items at a place; none of a response that was deleted meanwhile."""
    if place.is_output:
        rows = tx.all(tx.q.responses.get_last_events, response_id=place.response_id)
        return [item for row in rows for item in _output_of(unpacked(row).after(row.last - 1))]
    row = tx.one(tx.q.responses.get_input, response_id=place.response_id)
    return unpacked_items(row.input) if row else []
